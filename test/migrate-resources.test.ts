/** Resources that move to another vault with their backups: the data moves, and nothing is lost on the way. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { OperationLog, Vault } from '@opencbr/contract'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'

const VAULTS = '/v3/{project_id}/vaults'

interface World { readonly source: string, readonly target: string, readonly mail: string, readonly wiki: string, readonly checkpoint: string, readonly later: string }

/** A vault with two resources, backed up together and then one of them again; and an empty one. */
async function makeWorld({ root, steps, service }: BackupService): Promise<World> {
  const resources: string[] = []
  for (const name of ['mail', 'wiki']) {
    await fs.mkdir(join(root, name))
    await fs.writeFile(join(root, name, 'file'), `${name} at first`)
    resources.push(await steps.declare(join(root, name)))
  }
  const [mail = '', wiki = ''] = resources
  const source = await steps.createVault('turbo', resources, 'source')
  const target = await steps.createVault('turbo', [], 'target')
  const first = await steps.backUp(source)
  service.clock.advanceSeconds(60)
  await fs.writeFile(join(root, 'mail', 'file'), 'mail later')
  const later = await steps.backUp(source, { resources: [mail] })
  return { source, target, mail, wiki, checkpoint: first[0]?.checkpoint_id ?? '', later: later[0]?.id ?? '' }
}

async function migrate({ service, steps }: BackupService, source: string, target: string, ids: readonly string[]): Promise<OperationLog> {
  // The newest task is this one; of two that began at the same moment either would be listed first.
  service.clock.tick()
  const answer = await service.call('POST', `${VAULTS}/${source}/migrateresources`, { destination_vault_id: target, resource_ids: ids })
  assert.deepEqual(answer.body, { migrated_resources: ids })
  const [task] = await steps.tasks('operation_type=copy')
  return steps.taskEnd(task?.id ?? '')
}

function restic(kit: { repository: string, password: string }, ...args: string[]): string {
  const program = process.env['OPENCBR_TEST_RESTIC']?.split(':')[0]
  assert.ok(program !== undefined, 'OPENCBR_TEST_RESTIC names stock restic')
  const run = spawnSync(program, ['-r', kit.repository, '--no-cache', ...args], { env: { ...process.env, RESTIC_PASSWORD: kit.password }, encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
  return run.stdout
}

function snapshotsOf(kit: { repository: string, password: string }): { id: string, tags: string[] }[] {
  return JSON.parse(restic(kit, 'snapshots', '--json')) as { id: string, tags: string[] }[]
}

test('a resource moves with its backups, which keep their ids and are restored from where they are now', async () => {
  await using backup = await startBackupService()
  const { service, steps, root } = backup
  const { source, target, mail, wiki, checkpoint, later } = await makeWorld(backup)
  const before = await steps.get<{ backups: { id: string }[] }>(`/v3/{project_id}/backups?resource_id=${mail}`)
  const task = await migrate(backup, source, target, [mail])
  assert.equal(task.status, 'success', JSON.stringify(task.error_info))
  assert.equal(task.extra_info.resource?.id, mail)

  const after = await steps.get<{ backups: { id: string, vault_id: string, status: string, name: string }[] }>(`/v3/{project_id}/backups?resource_id=${mail}`)
  assert.deepEqual(after.backups.map((each) => each.id), before.backups.map((each) => each.id))
  for (const each of after.backups) assert.deepEqual([each.vault_id, each.status], [target, 'available'])
  const vaults = (await service.call<{ vaults: Vault[] }>('GET', VAULTS)).body.vaults
  const inside = (id: string) => vaults.find((vault) => vault.id === id)?.resources.map((resource) => [resource.id, resource.backup_count, resource.protect_status])
  assert.deepEqual(inside(source), [[wiki, 1, 'available']])
  assert.deepEqual(inside(target), [[mail, 2, 'available']])

  // Stock restic agrees: what moved is in the target, whole, and not in the source any more.
  const [fromKit, toKit] = [await steps.recoveryKit(source), await steps.recoveryKit(target)]
  const has = (kit: typeof fromKit, id: string) => snapshotsOf(kit).filter((snapshot) => snapshot.tags.includes(`opencbr:resource=${id}`)).length
  assert.deepEqual([has(fromKit, mail), has(fromKit, wiki), has(toKit, mail), has(toKit, wiki)], [0, 1, 2, 0])
  for (const kit of [fromKit, toKit]) restic(kit, 'check', '--read-data')
  assert.ok((vaults.find((vault) => vault.id === target)?.billing.used ?? 0) > 0)

  assert.equal((await steps.restore(later, { details: { destination_path: join(root, 'restored') } })).status, 'success')
  assert.equal(await fs.readFile(join(root, 'restored', 'file'), 'utf8'), 'mail later')
  // The run that was torn apart stays with what is left, and outlives the vault that it was made in.
  assert.equal((await steps.checkpointEnd(checkpoint)).status, 'available')
  assert.equal((await service.call('DELETE', `${VAULTS}/${source}`)).status, 204)
  await until('the source is gone', async () => (await service.call('GET', `${VAULTS}/${source}`)).status === 404 ? true : undefined)
  assert.equal((await service.call('GET', `/v3/{project_id}/checkpoints/${checkpoint}`)).status, 200)
  assert.equal((await steps.backUp(target)).length, 1)
})

test('a resource without backups moves, too', async () => {
  await using backup = await startBackupService()
  const { steps } = backup
  const resource = randomUUID()
  const source = await steps.createVault('turbo', [resource], 'source')
  const target = await steps.createVault('turbo', [], 'target')
  assert.equal((await migrate(backup, source, target, [resource])).status, 'success')
  assert.deepEqual((await steps.vault(target)).resources.map((each) => each.id), [resource])
  assert.deepEqual((await steps.vault(source)).resources, [])
})

test('what cannot be moved is refused with its code, and nothing changes', async () => {
  await using backup = await startBackupService(undefined, { agent: 'none' })
  const { service, steps } = backup
  const [resource, stranger] = [randomUUID(), randomUUID()]
  const source = await steps.createVault('turbo', [resource], 'source')
  const target = await steps.createVault('turbo', [], 'target')
  const disks = await steps.createVault('disk', [], 'disks')
  const { db } = service.service.deps
  const refused = async (code: string, vaultId: string, destination: string, ids: string[], text = /./): Promise<void> => {
    const answer = await service.call<{ error_code: string, error_msg: string }>('POST', `${VAULTS}/${vaultId}/migrateresources`, { destination_vault_id: destination, resource_ids: ids })
    assert.equal(answer.body.error_code, `BackupService.${code}`, JSON.stringify(answer.body))
    assert.match(answer.body.error_msg, text)
  }
  await refused('6105', randomUUID(), target, [resource])
  await refused('6120', source, randomUUID(), [resource])
  await refused('9900', source, source, [resource], /destination_vault_id/)
  await refused('9900', source, target, [], /resource_ids/)
  await refused('9900', source, 'x', [resource], /destination_vault_id/)
  await refused('6135', source, target, [resource, stranger], new RegExp(stranger))
  await refused('6102', source, disks, [resource])
  const usage = { vault_id: source, resource_id: resource, project_id: service.projectId, resource_type: 'OS::Sfs::Turbo', resource_name: '', backup_count: 1, stored_bytes: 101 * 1024 ** 3 }
  await db.insertInto('vault_usage').values(usage as never).execute()
  await refused('6129', source, target, [resource], /103424 MB are needed/)
  await db.deleteFrom('vault_usage').execute()
  await db.updateTable('vaults').set({ status: 'frozen' }).where('id', '=', target as never).execute()
  await refused('6112', source, target, [resource])
  await db.updateTable('vaults').set({ status: 'available', locked: 1 }).execute()
  await refused('6110', source, target, [resource], /locked for good, so its resources and their backups stay in it/)
  await db.updateTable('vaults').set({ locked: 0 }).execute()
  await steps.startCheckpoint(source)
  await refused('6125', source, target, [resource])
  await db.deleteFrom('jobs').execute()
  await db.updateTable('vault_resources').set({ protect_status: 'available' }).execute()
  assert.equal((await service.call('POST', `${VAULTS}/${source}/migrateresources`, { destination_vault_id: target, resource_ids: [resource] })).status, 200)
  await refused('6134', source, target, [resource])
  // Neither vault goes while something moves between them.
  for (const id of [source, target]) {
    const answer = await service.call<{ error_code: string }>('DELETE', `${VAULTS}/${id}`)
    assert.equal(answer.body.error_code, 'BackupService.6112')
  }
  const list = await steps.get<{ backups: { id: string }[] }>(`/v3/{project_id}/backups?resource_id=${resource}`)
  assert.equal(list.backups.length, 1)
})

test('a migration that does not fit leaves everything where it was, and takes back what it had copied', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { source, target, mail } = await makeWorld(backup)
  const { db } = service.service.deps
  // The figure by which it is judged is too small, as after the loss of the counters: the agent finds out.
  await db.updateTable('vault_usage').set({ stored_bytes: 0 }).execute()
  await db.updateTable('vaults').set({ shared_bytes: 100 * 1024 ** 3 - 100 }).where('id', '=', target as never).execute()
  const task = await migrate(backup, source, target, [mail])
  assert.equal(task.status, 'failed')
  assert.equal(task.error_info.code, 'BackupService.6114')
  const { resources } = await steps.vault(source)
  assert.deepEqual(resources.map((resource) => resource.protect_status), ['available', 'available'])
  for (const each of (await steps.get<{ backups: { vault_id: string }[] }>('/v3/{project_id}/backups')).backups) assert.equal(each.vault_id, source)
  await until('the target is cleaned up', async () => (await db.selectFrom('jobs').select('id').where('status', 'in', ['waiting', 'leased']).execute()).length === 0 ? true : undefined)
  assert.deepEqual(snapshotsOf(await steps.recoveryKit(target)), [])
  await db.updateTable('vaults').set({ shared_bytes: 0 }).execute()
  assert.equal((await migrate(backup, source, target, [mail])).status, 'success')
})
