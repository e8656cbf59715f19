/** A test service with folders and disks on this machine to back up, and the steps that tests repeat. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Checkpoint, OperationLog } from '@opencbr/contract'
import { startTestService, type TestService, type TestServiceOptions } from '@opencbr/testkit'

/** The calls that steps need; a service in this process offers them, and so does one in its own. */
export interface Caller {
  readonly call: <Body = Record<string, unknown>>(method: string, path: string, body?: unknown) => Promise<{ status: number, body: Body }>
}

export interface BackupService extends AsyncDisposable {
  readonly service: TestService
  readonly steps: Steps
  /** An allowed root: sources and destinations go here. */
  readonly root: string
  readonly dataDir: string
  /** Ends the service and starts another on the same data. */
  readonly restart: () => Promise<BackupService>
}

export async function startBackupService(
  places?: { readonly root: string, readonly dataDir: string }, options: Omit<TestServiceOptions, 'dataDir'> = {},
): Promise<BackupService> {
  const base = places === undefined ? await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-runs-'))) : undefined
  const { root, dataDir } = places ?? { root: join(base ?? '', 'root'), dataDir: join(base ?? '', 'data') }
  await fs.mkdir(root, { recursive: true })
  const service = await startTestService({ ...options, dataDir, config: { allowPaths: [root], ...options.config } })
  let handedOver = false
  const own: BackupService = {
    service,
    steps: stepsOf(service),
    root,
    dataDir,
    async restart() {
      handedOver = true
      await service[Symbol.asyncDispose]()
      const next = await startBackupService({ root, dataDir }, options)
      return {
        ...next,
        async [Symbol.asyncDispose]() {
          await next[Symbol.asyncDispose]()
          if (base !== undefined) await fs.rm(base, { recursive: true, force: true })
        },
      }
    },
    async [Symbol.asyncDispose]() {
      if (handedOver) return
      await service[Symbol.asyncDispose]()
      if (base !== undefined) await fs.rm(base, { recursive: true, force: true })
    },
  }
  return own
}

export interface BackupView {
  readonly id: string
  readonly name: string
  readonly status: string
  readonly checkpoint_id: string
  readonly resource_id: string
  readonly resource_size: number
  readonly protected_at: string | null
  readonly extend_info: Readonly<Record<string, unknown>>
}

export interface VaultView {
  readonly id: string
  readonly name: string
  readonly billing: { readonly status: string, readonly used: number }
  readonly resources: readonly { readonly id: string, readonly protect_status: string, readonly backup_count: number, readonly size: number }[]
}

export type Steps = ReturnType<typeof stepsOf>

const WAIT_MS = 60_000
const POLL_MS = 25

/** Polls what somebody else changes; the deadline only keeps a broken test from hanging. */
export async function until<Found>(what: string, look: () => Promise<Found | undefined>): Promise<Found> {
  const deadline = performance.now() + WAIT_MS
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error(`Waited in vain: ${what}`)
    await sleep(POLL_MS)
  }
}

/** What every test does with the API: each step fails the test unless it is answered as it should be. */
export function stepsOf({ call }: Caller) {
  async function get<Body>(path: string): Promise<Body> {
    const answer = await call<Body>('GET', path)
    assert.equal(answer.status, 200, `${path}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  async function send<Body>(method: string, path: string, body: unknown, status: number): Promise<Body> {
    const answer = await call<Body>(method, path, body)
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  const steps = {
    async declare(path: string, type: 'OS::Sfs::Turbo' | 'OS::Cinder::Volume' = 'OS::Sfs::Turbo'): Promise<string> {
      const { resource } = await send<{ resource: { id: string } }>('POST', '/x/v1/{project_id}/resources', { resource: { type, path } }, 201)
      return resource.id
    },

    async createVault(objectType: 'turbo' | 'disk', resources: readonly string[], name = 'vault'): Promise<string> {
      const type = objectType === 'turbo' ? 'OS::Sfs::Turbo' : 'OS::Cinder::Volume'
      const { vault } = await send<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
        vault: {
          name,
          billing: { consistent_level: 'crash_consistent', object_type: objectType, protect_type: 'backup', size: 100 },
          resources: resources.map((id) => ({ id, type })),
        },
      }, 200)
      return vault.id
    },

    async startCheckpoint(vaultId: string, parameters: object = {}): Promise<Checkpoint> {
      const { checkpoint } = await send<{ checkpoint: Checkpoint }>('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vaultId, parameters } }, 200)
      return checkpoint
    },

    /** Runs a checkpoint to its end, and answers with its backups by name. */
    async backUp(vaultId: string, parameters: object = {}): Promise<BackupView[]> {
      const { id } = await steps.startCheckpoint(vaultId, parameters)
      await steps.checkpointEnd(id)
      return steps.backupsOf(id)
    },

    checkpointEnd: (id: string): Promise<Checkpoint> => until(`the end of checkpoint ${id}`, async () => {
      const { checkpoint } = await get<{ checkpoint: Checkpoint }>(`/v3/{project_id}/checkpoints/${id}`)
      return checkpoint.status === 'protecting' ? undefined : checkpoint
    }),

    async backupsOf(checkpointId: string): Promise<BackupView[]> {
      return (await get<{ backups: BackupView[] }>(`/v3/{project_id}/backups?checkpoint_id=${checkpointId}&sort=name:asc`)).backups
    },

    async backup(id: string): Promise<BackupView> {
      return (await get<{ backup: BackupView }>(`/v3/{project_id}/backups/${id}`)).backup
    },

    async vault(id: string): Promise<VaultView> {
      return (await get<{ vault: VaultView }>(`/v3/{project_id}/vaults/${id}`)).vault
    },

    async tasks(query = ''): Promise<OperationLog[]> {
      return (await get<{ operation_logs: OperationLog[] }>(`/v3/{project_id}/operation-logs?${query}`)).operation_logs
    },

    async taskOf(checkpointId: string, resourceId?: string): Promise<OperationLog> {
      const found = (await steps.tasks(resourceId === undefined ? '' : `resource_id=${resourceId}`)).find((task) => task.checkpoint_id === checkpointId)
      assert.ok(found !== undefined, `checkpoint ${checkpointId} has no task`)
      return found
    },

    taskEnd: (id: string): Promise<OperationLog> => until(`the end of task ${id}`, async () => {
      const { operation_log: task } = await get<{ operation_log: OperationLog }>(`/v3/{project_id}/operation-logs/${id}`)
      return task.status === 'waiting' || task.status === 'running' ? undefined : task
    }),

    async startRestore(backupId: string, restore: object): Promise<string> {
      const { job_id } = await send<{ job_id: string }>('POST', `/v3/{project_id}/backups/${backupId}/restore`, { restore }, 202)
      return job_id
    },

    async restore(backupId: string, restore: object): Promise<OperationLog> {
      return steps.taskEnd(await steps.startRestore(backupId, restore))
    },

    async recoveryKit(vaultId: string): Promise<{ repository: string, password: string }> {
      return (await get<{ recovery_kit: { repository: string, password: string } }>(`/x/v1/{project_id}/vaults/${vaultId}/recovery-kit`)).recovery_kit
    },

    get,
    send,
  }
  return steps
}
