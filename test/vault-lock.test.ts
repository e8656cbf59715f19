/** The WORM lock against everything that could take an automatic backup out of a locked vault. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Vault } from '@opencbr/contract'
import { startBackupService, type BackupService } from './support/backup-service.ts'

const VAULTS = '/v3/{project_id}/vaults'
const cli = join(import.meta.dirname, '../packages/cli/bin/opencbr.mjs')

function repositoryCommand(kit: { repository: string, password: string }, ...args: string[]): { status: number | null, text: string } {
  const [verb = '', ...rest] = args
  const words = verb.split(' ')
  const run = spawnSync(process.execPath, [cli, 'repository', ...words, kit.repository, ...rest], {
    env: { ...process.env, RESTIC_PASSWORD: kit.password }, encoding: 'utf8',
  })
  return { status: run.status, text: run.stdout + run.stderr }
}

async function refused({ service }: BackupService, code: string, text: RegExp, method: string, path: string, body?: unknown): Promise<void> {
  const answer = await service.call<{ error_code: string, error_msg: string }>(method, path, body)
  assert.equal(answer.body?.error_code, `BackupService.${code}`, `${method} ${path}: ${JSON.stringify(answer.body)}`)
  assert.match(answer.body.error_msg, text)
}

async function makeVault(backup: BackupService): Promise<{ vaultId: string, resource: string, manual: string, automatic: string }> {
  const { root, steps } = backup
  const tree = join(root, 'tree')
  await fs.mkdir(tree)
  await fs.writeFile(join(tree, 'file'), 'content')
  const resource = await steps.declare(tree)
  const vaultId = await steps.createVault('turbo', [resource])
  const [manual] = await steps.backUp(vaultId)
  backup.service.clock.advanceSeconds(60)
  const [automatic] = await steps.backUp(vaultId, { auto_trigger: true })
  assert.ok(manual !== undefined && automatic !== undefined)
  return { vaultId, resource, manual: manual.id, automatic: automatic.id }
}

test('a locked vault keeps its automatic backups against every call, and says until when', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { vaultId, resource, manual, automatic } = await makeVault(backup)
  const { db } = service.service.deps
  const end = Date.UTC(2027, 0, 1) * 1000
  await db.updateTable('backups').set({ expired_at: end }).where('id', '=', automatic as never).execute()
  const lock = await service.call<{ vault: Vault }>('PUT', `${VAULTS}/${vaultId}`, { vault: { locked: true } })
  assert.equal(lock.body.vault.locked, true)

  const until = /2027-01-01T00:00:00\.000000/
  await refused(backup, '6220', until, 'DELETE', `/v3/{project_id}/backups/${automatic}`)
  await refused(backup, '6111', until, 'DELETE', `${VAULTS}/${vaultId}`)
  await refused(backup, '6110', until, 'POST', `${VAULTS}/${vaultId}/removeresources`, { resource_ids: [resource] })
  await refused(backup, '6110', /vault not support to modify locked attribute from true to false\./, 'PUT', `${VAULTS}/${vaultId}`, { vault: { locked: false } })
  await db.updateTable('backups').set({ expired_at: null }).where('id', '=', automatic as never).execute()
  await refused(backup, '6220', /when its policy keeps enough newer ones/, 'DELETE', `/v3/{project_id}/backups/${automatic}`)
  await refused(backup, '6111', /1 of them have no end of their own/, 'DELETE', `${VAULTS}/${vaultId}`)

  // What the lock does not protect.
  assert.equal((await service.call('DELETE', `/v3/{project_id}/backups/${manual}`)).status, 204)
  const [task] = await steps.tasks('operation_type=delete')
  assert.equal((await steps.taskEnd(task?.id ?? '')).status, 'success')
  assert.equal((await steps.backup(automatic)).status, 'available')
  assert.equal((await steps.backUp(vaultId)).length, 1)
  // Without automatic backups, the vault may go.
  await db.updateTable('backups').set({ auto_trigger: 0 }).execute()
  assert.equal((await service.call('DELETE', `${VAULTS}/${vaultId}`)).status, 204)
})

test('a policy of a locked vault is not unbound, replaced, deleted, or changed to keep less', async () => {
  await using backup = await startBackupService(undefined, { agent: 'none' })
  const { service, steps } = backup
  const vaultId = await steps.createVault('turbo', [])
  const policy = async (name: string): Promise<string> => (await service.call<{ policy: { id: string } }>('POST', '/v3/{project_id}/policies', {
    policy: {
      name, enabled: true, operation_type: 'backup', operation_definition: { retention_duration_days: 30 },
      trigger: { properties: { pattern: ['FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00'] } },
    },
  })).body.policy.id
  const [bound, other] = [await policy('bound'), await policy('other')]
  assert.equal((await service.call('POST', `${VAULTS}/${vaultId}/associatepolicy`, { policy_id: bound })).status, 200)
  await service.call('PUT', `${VAULTS}/${vaultId}`, { vault: { locked: true } })
  await refused(backup, '6110', /locked for good/, 'POST', `${VAULTS}/${vaultId}/dissociatepolicy`, { policy_id: bound })
  await refused(backup, '6110', /locked for good/, 'POST', `${VAULTS}/${vaultId}/associatepolicy`, { policy_id: other })
  await refused(backup, '6110', /locked for good/, 'DELETE', `/v3/{project_id}/policies/${bound}`)
  await refused(backup, '6110', /locked for good/, 'PUT', `/v3/{project_id}/policies/${bound}`, { policy: { operation_definition: { retention_duration_days: 29 } } })
  const more = await service.call('PUT', `/v3/{project_id}/policies/${bound}`, { policy: { operation_definition: { retention_duration_days: 31 } } })
  assert.equal(more.status, 200, JSON.stringify(more.body))
})

test('the repository commands take nothing out of a locked vault, from the lock on', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { vaultId } = await makeVault(backup)
  const kit = await steps.recoveryKit(vaultId)
  assert.equal(repositoryCommand(kit, 'prune', '--dry-run').status, 0)
  assert.equal((await service.call('PUT', `${VAULTS}/${vaultId}`, { vault: { locked: true } })).status, 200)
  for (const args of [['forget', 'latest'], ['forget', '--keep-last', '1', '--prune'], ['prune'], ['repair snapshots', '--forget'], ['key remove', 'ab']]) {
    const { status, text } = repositoryCommand(kit, ...args)
    assert.equal(status, 1, `${args.join(' ')}: ${text}`)
    assert.match(text, /locked for good \(WORM\)/, args.join(' '))
  }
  for (const args of [['snapshots'], ['forget', 'latest', '--dry-run'], ['check']]) assert.equal(repositoryCommand(kit, ...args).status, 0, args.join(' '))
  // The agent brings the note up to date when it opens the repository, and puts it there when it is missing.
  await fs.rm(join(kit.repository, 'opencbr-guard'), { recursive: true })
  assert.equal((await steps.backUp(vaultId)).length, 1)
  const { status, text } = repositoryCommand(kit, 'prune', '--json')
  assert.equal(status, 1)
  assert.match(text, /repository\.guarded/)
  const restic = process.env['OPENCBR_TEST_RESTIC']?.split(':')[0]
  if (restic === undefined) return
  const check = spawnSync(restic, ['-r', kit.repository, 'check'], { env: { ...process.env, RESTIC_PASSWORD: kit.password }, encoding: 'utf8' })
  assert.equal(check.status, 0, check.stderr)
})

test('a note of a vault that is not locked goes when the agent opens the repository', async () => {
  await using backup = await startBackupService()
  const { steps } = backup
  const { vaultId } = await makeVault(backup)
  const kit = await steps.recoveryKit(vaultId)
  await fs.mkdir(join(kit.repository, 'opencbr-guard'))
  await fs.writeFile(join(kit.repository, 'opencbr-guard', 'left.json'), '{}')
  assert.equal(repositoryCommand(kit, 'prune').status, 1)
  await steps.backUp(vaultId)
  assert.equal(repositoryCommand(kit, 'prune').status, 0)
})
