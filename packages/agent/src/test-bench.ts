/** For tests: a directory to back up, and a vault without a repository yet. */
import { randomBytes, randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BackupAssignment } from './protocol.ts'
import type { WorkContext } from './vault-repository.ts'

export interface Bench {
  readonly source: string
  readonly job: BackupAssignment
  readonly context: WorkContext
}

export async function withBench(work: (bench: Bench) => Promise<void>): Promise<void> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-backup-')))
  const source = join(base, 'source')
  const [projectId, vaultId] = [randomBytes(16).toString('hex'), randomUUID()]
  const job: BackupAssignment = {
    kind: 'backup', jobId: 'job', backupId: randomUUID(), checkpointId: randomUUID(), resourceId: randomUUID(), takenAtMs: Date.UTC(2026, 0, 15),
    vault: {
      projectId, vaultId, address: join(base, 'vaults', projectId, vaultId), storageKeys: {}, password: randomBytes(16).toString('hex'), repositoryExpected: false,
    },
    source: { kind: 'directory', path: source }, allowedRoots: [base], incremental: true, expectedBytes: 0,
  }
  const context: WorkContext = {
    settings: {
      snapshotHostname: 'here', installation: 'one', hasFellows: false, forbiddenPaths: [], scratchDir: join(base, 'scratch'), jobsMax: 1,
      lockPatienceMs: 1000, pruneGraceMs: 0, programVersion: 'test', aliveEveryMs: 1000,
    },
    signal: new AbortController().signal,
    describe: () => ({ code: 'unknown', message: '' }),
  }
  try {
    await fs.mkdir(source)
    await work({ source, job, context })
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
}
