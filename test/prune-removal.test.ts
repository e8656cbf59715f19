/** What a vault gives back when backups are taken out of it, with the real service and its agent. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'
import { compareTrees } from './support/compare-trees.ts'
import { restic, resticBinaries } from './support/restic.ts'

const MEBIBYTE = 1024 * 1024

/** A folder of which half stays the same and the other half, 4 MiB, is new each time. */
async function changeFolder(folder: string, version: number): Promise<void> {
  await fs.mkdir(folder, { recursive: true })
  await fs.writeFile(join(folder, 'changing'), randomBytes(4 * MEBIBYTE))
  await fs.writeFile(join(folder, `small ${version}`), `version ${version}\n`)
  if (version === 1) await fs.writeFile(join(folder, 'lasting'), randomBytes(4 * MEBIBYTE))
}

async function packBytes(repository: string): Promise<number> {
  let bytes = 0
  for (const entry of await fs.readdir(join(repository, 'data'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await fs.stat(join(entry.parentPath, entry.name))).size
  }
  return bytes
}

/** Deletes a backup and answers with its task. */
async function deleteBackup({ steps }: BackupService, id: string) {
  await steps.send('DELETE', `/v3/{project_id}/backups/${id}`, undefined, 204)
  const task = await until(`the task of deleting ${id}`, async () =>
    (await steps.tasks('operation_type=delete')).find(({ extra_info }) => extra_info.delete?.backup_id === id))
  return steps.taskEnd(task.id)
}

test('deleting a backup gives its space back, and what is left is whole', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const folder = join(root, 'mail')
  await changeFolder(folder, 1)
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  const [first] = await steps.backUp(vaultId, { name: 'first' })
  await changeFolder(folder, 2)
  const [second] = await steps.backUp(vaultId, { name: 'second' })
  assert.ok(first !== undefined && second !== undefined)
  const { repository, password } = await steps.recoveryKit(vaultId)
  const before = await packBytes(repository)
  assert.ok(before > 12 * MEBIBYTE)
  assert.equal((await steps.vault(vaultId)).billing.used, Math.ceil(before / MEBIBYTE))

  const task = await deleteBackup(world, first.id)
  assert.equal(task.status, 'success', JSON.stringify(task))
  const { freed_bytes: freed, ...deleted } = task.extra_info.delete ?? {}
  assert.deepEqual(deleted, { backup_id: first.id, backup_name: 'first', pending_bytes: 0 })
  assert.ok(typeof freed === 'number' && freed > 4 * MEBIBYTE, `${freed} were freed`)
  const after = await packBytes(repository)
  assert.ok(before - after > 4 * MEBIBYTE && after > 8 * MEBIBYTE, `${before} before, ${after} after`)
  assert.equal((await steps.vault(vaultId)).billing.used, Math.ceil(after / MEBIBYTE))
  for (const binary of resticBinaries()) {
    const judge = restic(binary, repository, password)
    judge.run('check', '--read-data')
    assert.match(judge.run('prune', '--dry-run').stdout.toString(), /total prune: +0 blobs \/ 0 B/)
  }
  const restored = await steps.restore(second.id, { details: { destination_path: join(root, 'back') } })
  assert.equal(restored.status, 'success')
  assert.deepEqual(compareTrees(folder, join(root, 'back')), [])

  // Whatever comes next builds on what is left.
  await changeFolder(folder, 3)
  const [third] = await steps.backUp(vaultId, { name: 'third' })
  assert.equal(third?.status, 'available')
  assert.equal((await deleteBackup(world, second.id)).status, 'success')
  // What a writer left that was killed two days ago goes along.
  const leftover = join(repository, 'data', '00', `${'0'.repeat(64)}-tmp-0123456789abcdef`)
  await fs.mkdir(dirname(leftover), { recursive: true })
  await fs.writeFile(leftover, 'half a pack')
  const twoDaysAgo = Date.now() / 1000 - 2 * 24 * 3600
  await fs.utimes(leftover, twoDaysAgo, twoDaysAgo)
  assert.equal((await deleteBackup(world, third.id)).status, 'success')
  assert.equal(await packBytes(repository), 0)
  assert.equal((await steps.vault(vaultId)).billing.used, 0)
})

test('a backup is deleted even when its space cannot be given back, and the task says so', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const folders = [join(root, 'a'), join(root, 'b')]
  for (const folder of folders) await changeFolder(folder, 1)
  const vaultId = await steps.createVault('turbo', [await steps.declare(folders[0] ?? '')])
  const [damaged] = await steps.backUp(vaultId, { name: 'damaged' })
  const { repository } = await steps.recoveryKit(vaultId)
  // The disk loses a pack that only this backup needs.
  const [lost] = (await fs.readdir(join(repository, 'data'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  assert.ok(damaged !== undefined && lost !== undefined)
  await steps.send('POST', `/v3/{project_id}/vaults/${vaultId}/addresources`, {
    resources: [{ id: await steps.declare(folders[1] ?? ''), type: 'OS::Sfs::Turbo' }],
  }, 200)
  const both = await steps.backUp(vaultId, { name: 'both' })
  const own = both.find(({ resource_id: resourceId }) => resourceId !== damaged.resource_id)
  assert.ok(own !== undefined)
  await fs.rm(join(lost.parentPath, lost.name))
  const before = await packBytes(repository)

  const task = await deleteBackup(world, own.id)
  assert.equal(task.status, 'success', JSON.stringify(task))
  assert.equal(task.extra_info.delete?.warning_count, 1)
  assert.match(task.extra_info.delete?.warnings?.[0]?.message ?? '', /space has not been given back.*check the repository/)
  assert.equal((await world.service.call('GET', `/v3/{project_id}/backups/${own.id}`)).status, 404)
  assert.equal(await packBytes(repository), before, 'nothing is removed from a damaged repository')

  // Without the damaged backups nothing damaged is needed any more, and all the space comes back.
  for (const { id } of [damaged, ...both]) if (id !== own.id) await deleteBackup(world, id)
  assert.equal(await packBytes(repository), 0)
})

test('with a prune grace the space of a deleted backup comes back with the first deletion after it', async () => {
  await using world = await startBackupService(undefined, { config: { pruneGraceMs: 24 * 3600_000 } })
  const { steps, root } = world
  const folder = join(root, 'mail')
  await changeFolder(folder, 1)
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  const [first] = await steps.backUp(vaultId, { name: 'first' })
  await changeFolder(folder, 2)
  const [second] = await steps.backUp(vaultId, { name: 'second' })
  await changeFolder(folder, 3)
  const [third] = await steps.backUp(vaultId, { name: 'third' })
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  const { repository, password } = await steps.recoveryKit(vaultId)
  const before = await packBytes(repository)

  const { extra_info: { delete: deleted } } = await deleteBackup(world, first.id)
  assert.ok(deleted?.freed_bytes === 0 && (deleted.pending_bytes ?? 0) > 4 * MEBIBYTE, JSON.stringify(deleted))
  assert.ok(await packBytes(repository) >= before, 'nothing is gone yet')
  const marks = join(repository, 'opencbr-tombstones')
  assert.ok((await fs.readdir(marks)).length > 0)
  for (const binary of resticBinaries()) restic(binary, repository, password).run('check', '--read-data')

  // A day goes by, as far as the storage knows.
  const twoDaysAgo = Date.now() / 1000 - 2 * 24 * 3600
  for (const name of await fs.readdir(marks)) await fs.utimes(join(marks, name), twoDaysAgo, twoDaysAgo)
  const { extra_info: { delete: next } } = await deleteBackup(world, second.id)
  assert.ok((next?.freed_bytes ?? 0) > 4 * MEBIBYTE, JSON.stringify(next))
  assert.ok((next?.pending_bytes ?? 0) > 4 * MEBIBYTE, JSON.stringify(next))
  const restored = await steps.restore(third.id, { details: { destination_path: join(root, 'back') } })
  assert.equal(restored.status, 'success')
  assert.deepEqual(compareTrees(folder, join(root, 'back')), [])
  for (const binary of resticBinaries()) restic(binary, repository, password).run('check', '--read-data')
})
