/** A migration whose processes are killed: nothing is lost, nothing is in two places for good, and it goes on. */
import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { OperationLog, Vault } from '@opencbr/contract'
import { until } from './support/backup-service.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { startServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024

async function countFiles(directory: string): Promise<number> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isFile()).length
}

function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
  }
}

function ended(task: OperationLog | undefined): boolean {
  return task?.status === 'success' || task?.status === 'failed'
}

test('a migration survives the death of agent and server, whenever it comes', async () => {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-move-')))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  const folder = join(root, 'folder')
  await fs.mkdir(folder, { recursive: true })
  for (let n = 0; n < 12; n += 1) await fs.writeFile(join(folder, `f${n}`), randomFillSync(Buffer.alloc(4 * MIB)))
  let server = await startServerProcess({ dataDir, allowPaths: [root] })
  try {
    const resource = await server.steps.declare(folder)
    const vaults = [await server.steps.createVault('turbo', [resource], 'one'), await server.steps.createVault('turbo', [], 'two')]
    await server.steps.backUp(vaults[0] ?? '')
    await fs.writeFile(join(folder, 'f0'), 'changed')
    await server.steps.backUp(vaults[0] ?? '')
    const placeOf = async (id: string) => (await server.steps.recoveryKit(id)).repository
    const moments: [victim: 'agent' | 'server' | 'both', files: number][] = [['agent', 0], ['server', 3], ['both', 6], ['agent', 8], ['server', 12]]
    for (const [round, [victim, files]] of moments.entries()) {
      const [from = '', to = ''] = round % 2 === 0 ? vaults : vaults.toReversed()
      const target = await placeOf(to)
      const before = await countFiles(target)
      const started = await server.call('POST', `/v3/{project_id}/vaults/${from}/migrateresources`, { destination_vault_id: to, resource_ids: [resource] })
      assert.equal(started.status, 200, JSON.stringify(started.body))
      const [task] = await server.steps.tasks('operation_type=copy')
      await until(`${files} files were copied`, async () => (
        await countFiles(target) >= before + files || ended((await server.steps.tasks('operation_type=copy'))[0]) ? true : undefined
      ))
      if (victim !== 'server') for (const pid of server.agentPids()) killHard(pid)
      if (victim !== 'agent') {
        server.signal('SIGKILL')
        await server.ended
        server = await startServerProcess({ dataDir, allowPaths: [root] })
      }
      const end = await server.steps.taskEnd(task?.id ?? '')
      const what = `round ${round}: ${victim} after ${files} files`
      assert.equal(end.status, 'success', `${what}: ${JSON.stringify(end.error_info)}`)
      const { vault } = await server.steps.get<{ vault: Vault }>(`/v3/{project_id}/vaults/${to}`)
      assert.deepEqual(vault.resources.map((each) => [each.id, each.protect_status, each.backup_count]), [[resource, 'available', 2]], what)
      const catalogue = new DatabaseSync(join(dataDir, 'catalogue.db'), { readOnly: true })
      assert.deepEqual(catalogue.prepare(`select status from jobs where status in ('waiting', 'leased')`).all(), [], what)
      const rows = catalogue.prepare('select id, vault_id, status, snapshot_id from backups').all()
      catalogue.close()
      const kits = { [from]: await server.steps.recoveryKit(from), [to]: await server.steps.recoveryKit(to) }
      const snapshotsIn = (id: string): string[] => {
        const program = restic(resticBinaries().at(-1) ?? 'restic', kits[id]?.repository ?? '', kits[id]?.password ?? '')
        program.run('check', '--no-lock', '--read-data')
        return (JSON.parse(program.run('snapshots', '--no-lock', '--json').stdout.toString()) as { id: string }[]).map((each) => each.id).toSorted()
      }
      assert.deepEqual(snapshotsIn(from), [], `${what}: nothing stays in the source`)
      assert.deepEqual(snapshotsIn(to), rows.map((row) => String(row['snapshot_id'])).toSorted(), what)
      for (const row of rows) assert.deepEqual([row['vault_id'], row['status']], [to, 'available'], what)
    }
  } finally {
    await server[Symbol.asyncDispose]()
    await fs.rm(base, { recursive: true, force: true })
  }
})
