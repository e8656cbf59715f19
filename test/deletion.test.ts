/** Backups and checkpoints that leave, with the real agent: their states on the way, and the space that comes back. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openRepository } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { startBackupService, until } from './support/backup-service.ts'

const MIB = 1024 * 1024

async function makeFolder(root: string, name: string): Promise<string> {
  const folder = join(root, name)
  await fs.mkdir(folder)
  await fs.writeFile(join(folder, 'content'), randomBytes(4 * MIB))
  return folder
}

test('a checkpoint is deleting with its last backups, and gone with them; the task tells what space came back', async () => {
  await using world = await startBackupService()
  const { steps, service } = world
  const resources = [await steps.declare(await makeFolder(world.root, 'one')), await steps.declare(await makeFolder(world.root, 'two'))]
  const vaultId = await steps.createVault('turbo', resources)
  const checkpoint = await steps.startCheckpoint(vaultId)
  await steps.checkpointEnd(checkpoint.id)
  const [first, second] = await steps.backupsOf(checkpoint.id)
  assert.ok(first !== undefined && second !== undefined)
  const path = `/v3/{project_id}/checkpoints/${checkpoint.id}`
  const status = async () => (await steps.get<{ checkpoint: { status: string } }>(path)).checkpoint.status
  const deletion = async (backupId: string) => (await steps.tasks('operation_type=delete')).find((task) => task.extra_info.delete?.backup_id === backupId)

  await steps.send('DELETE', `/v3/{project_id}/backups/${first.id}`, undefined, 204)
  const task = await steps.taskEnd((await deletion(first.id))?.id ?? '')
  assert.ok((task.extra_info.delete?.freed_bytes ?? 0) > 4 * MIB - 64 * 1024, JSON.stringify(task.extra_info))
  assert.equal(typeof task.extra_info.delete?.pending_bytes, 'number')
  assert.equal(await status(), 'available')

  // Somebody else's lock keeps the deletion from ending while the test looks.
  const { repository: place, password } = await steps.recoveryKit(vaultId)
  {
    await using repository = await openRepository(localStorage(place), { password })
    await using _lock = await repository.lock({ exclusive: false, hostname: 'elsewhere' })
    await steps.send('DELETE', `/v3/{project_id}/backups/${second.id}`, undefined, 204)
    assert.equal(await status(), 'deleting')
    await until('the deletion', async () => ((await steps.backup(second.id)).status === 'deleting' ? true : undefined))
    assert.equal(await status(), 'deleting')
    const again = await service.call<{ error_code: string }>('DELETE', `/v3/{project_id}/backups/${second.id}`)
    assert.deepEqual([again.status, again.body.error_code], [400, 'BackupService.6201'])
  }
  await steps.taskEnd((await deletion(second.id))?.id ?? '')
  const gone = await service.call<{ error_code: string }>('GET', path)
  assert.deepEqual([gone.status, gone.body.error_code], [404, 'BackupService.6217'])
})

test('a deletion that fails leaves a checkpoint in error-deleting, and can be asked for again', async () => {
  await using world = await startBackupService(undefined, { agent: { lockPatienceMs: 300 } })
  const { steps } = world
  const vaultId = await steps.createVault('turbo', [await steps.declare(await makeFolder(world.root, 'one'))])
  const [backup] = await steps.backUp(vaultId)
  assert.ok(backup !== undefined)
  const path = `/v3/{project_id}/checkpoints/${backup.checkpoint_id}`
  const { repository: place, password } = await steps.recoveryKit(vaultId)
  let failed: string
  {
    await using repository = await openRepository(localStorage(place), { password })
    await using _lock = await repository.lock({ exclusive: false, hostname: 'elsewhere' })
    await steps.send('DELETE', `/v3/{project_id}/backups/${backup.id}`, undefined, 204)
    const [task] = await steps.tasks('operation_type=delete')
    failed = task?.id ?? ''
    assert.equal((await steps.taskEnd(failed)).status, 'failed')
    assert.equal((await steps.get<{ checkpoint: { status: string } }>(path)).checkpoint.status, 'error-deleting')
    assert.equal((await steps.backup(backup.id)).status, 'error')
  }
  const { operation_log: again } = await steps.send<{ operation_log: { id: string } }>('POST', `/x/v1/{project_id}/tasks/${failed}/retry`, undefined, 202)
  assert.equal((await steps.taskEnd(again.id)).status, 'success')
  assert.equal((await world.service.call('GET', path)).status, 404)
})

test('a run leaves out what is being restored into, and says so', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { steps, service } = world
  const [one, two] = [await makeFolder(world.root, 'one'), await makeFolder(world.root, 'two')]
  const resources = [await steps.declare(one), await steps.declare(two)]
  const vaultId = await steps.createVault('turbo', resources)
  const other = await steps.createVault('turbo', [await steps.declare(await makeFolder(world.root, 'three'))], 'other')
  const checkpoint = await steps.startCheckpoint(other)
  const [backup] = await steps.backupsOf(checkpoint.id)
  assert.ok(backup !== undefined)
  // As if it had run: there is no agent here.
  const { db } = service.service.deps
  await db.updateTable('backups').set({ status: 'available', snapshot_id: 'a'.repeat(64), source_path: '/x' }).execute()
  await db.updateTable('vault_resources').set({ protect_status: 'available' }).execute()
  await db.updateTable('jobs').set({ status: 'succeeded' }).execute()
  await steps.startRestore(backup.id, { details: { destination_path: join(one, 'inside') } })
  const run = await steps.startCheckpoint(vaultId)
  assert.deepEqual(run.vault.resources.map((each) => each.id), [resources[1]])
  assert.deepEqual(run.vault.skipped_resources.map(({ id, code }) => [id, code]), [[resources[0], 'BackupService.6215']])
})

test('neither a vault nor a resource goes while an image or a restore needs one of their backups', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { steps, service } = world
  const resource = await steps.declare(await makeFolder(world.root, 'one'))
  const vaultId = await steps.createVault('turbo', [resource])
  await steps.startCheckpoint(vaultId)
  const { db } = service.service.deps
  await db.updateTable('vault_resources').set({ protect_status: 'available' }).execute()
  await db.updateTable('jobs').set({ status: 'succeeded' }).execute()
  const refused = async (code: string): Promise<void> => {
    const vault = await service.call<{ error_code: string }>('DELETE', `/v3/{project_id}/vaults/${vaultId}`)
    const removal = await service.call<{ error_code: string }>('POST', `/v3/{project_id}/vaults/${vaultId}/removeresources`, { resource_ids: [resource] })
    assert.deepEqual([vault.body.error_code, removal.body.error_code], [`BackupService.${code}`, `BackupService.${code}`])
  }
  await db.updateTable('backups').set({ status: 'available', os_images_data: '[{"image_id":"5f0c"}]' }).execute()
  await refused('6204')
  // As when a project that it is shared with restores it.
  await db.updateTable('backups').set({ status: 'restoring', os_images_data: null }).execute()
  await refused('6216')
  await db.updateTable('backups').set({ status: 'available', os_images_data: '[]' }).execute()
  assert.equal((await service.call('DELETE', `/v3/{project_id}/vaults/${vaultId}`)).status, 204)
})
