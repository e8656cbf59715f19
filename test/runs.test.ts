/**
 * Runs of the real service with its real agent process: what goes well, and everything that can go
 * wrong with a source, a vault or a target while somebody backs up, restores or deletes.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomFillSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'
import { compareTrees } from './support/compare-trees.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { startServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024

async function makeFolder(root: string, name: string, files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const folder = join(root, name)
  await fs.mkdir(folder, { recursive: true })
  for (const [path, content] of Object.entries(files)) {
    await fs.mkdir(dirname(join(folder, path)), { recursive: true })
    await fs.writeFile(join(folder, path), content)
  }
  return folder
}

/** Content that no compression and no deduplication makes smaller. */
async function makeBigFolder(root: string, name: string, mebibytes: number): Promise<string> {
  const folder = await makeFolder(root, name, {})
  const content = Buffer.alloc(8 * MIB)
  for (let at = 0; at < mebibytes; at += 8) await fs.writeFile(join(folder, `part-${at}`), randomFillSync(content))
  return folder
}

async function refused(world: BackupService, method: string, path: string, body: unknown, status: number, code: string, words = /./): Promise<void> {
  const answer = await world.service.call<{ error_code: string, error_msg: string }>(method, path, body)
  assert.deepEqual([answer.status, answer.body.error_code], [status, `BackupService.${code}`], `${method} ${path}: ${answer.body.error_msg}`)
  assert.match(answer.body.error_msg, words)
}

test('a folder comes back as it was, and a second run stores only what is new', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const folder = await makeFolder(root, 'mail', { 'inbox/1': randomBytes(3 * MIB), 'inbox/ünïcode': 'x', empty: '' })
  await fs.symlink('inbox/1', join(folder, 'link'))
  const resource = await steps.declare(folder)
  const vaultId = await steps.createVault('turbo', [resource])

  const started = await steps.startCheckpoint(vaultId, { name: 'first' })
  assert.equal(started.status, 'protecting')
  const [task] = await steps.tasks(`vault_id=${vaultId}&resource_id=${resource}`)
  assert.ok(task !== undefined && ['waiting', 'running'].includes(task.status), 'the task exists before the call is answered')
  assert.equal((await steps.checkpointEnd(started.id)).status, 'available')
  const [first] = await steps.backupsOf(started.id)
  assert.ok(first !== undefined)
  assert.equal(first.status, 'available')
  assert.equal(first.name, 'first')
  assert.match(String(first.extend_info['snapshot_id']), /^[0-9a-f]{64}$/)
  const done = await steps.taskEnd(task.id)
  assert.deepEqual([done.status, done.extra_info.common.progress, done.error_info.code], ['success', 100, ''])
  const usedBefore = (await steps.vault(vaultId)).billing.used
  assert.ok(usedBefore >= 3)

  await fs.writeFile(join(folder, 'new'), randomBytes(MIB))
  const [second] = await steps.backUp(vaultId, { name: 'second' })
  assert.equal(second?.status, 'available')
  const vault = await steps.vault(vaultId)
  assert.ok(vault.billing.used - usedBefore <= 2, `${vault.billing.used} MB after ${usedBefore} MB`)
  assert.deepEqual(vault.resources.map((each) => [each.protect_status, each.backup_count]), [['available', 2]])

  const restored = await steps.restore(second.id, { details: { destination_path: join(root, 'back') } })
  assert.equal(restored.status, 'success', JSON.stringify(restored.error_info))
  assert.equal(restored.operation_type, 'restore')
  assert.deepEqual(compareTrees(folder, join(root, 'back')), [])
  assert.equal((await steps.backup(second.id)).status, 'available')
  assert.equal((await steps.vault(vaultId)).resources[0]?.protect_status, 'available')
})

test('a disk is restored onto itself and onto another disk that is large enough', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const image = join(root, 'disk.img')
  const content = randomBytes(3 * MIB + 512)
  await fs.writeFile(image, content)
  await fs.writeFile(join(root, 'larger.img'), randomBytes(4 * MIB))
  await fs.writeFile(join(root, 'smaller.img'), randomBytes(MIB))
  const folder = await makeFolder(root, 'folder', { a: 'a' })
  const disk = await steps.declare(image, 'OS::Cinder::Volume')
  const larger = await steps.declare(join(root, 'larger.img'), 'OS::Cinder::Volume')
  const smaller = await steps.declare(join(root, 'smaller.img'), 'OS::Cinder::Volume')
  const noDisk = await steps.declare(folder)
  const vaultId = await steps.createVault('disk', [disk])
  const [backup] = await steps.backUp(vaultId)
  assert.equal(backup?.status, 'available')
  assert.equal(backup.extend_info['bootable'], false)

  await fs.writeFile(image, randomBytes(3 * MIB + 512))
  const task = await steps.restore(backup.id, {})
  assert.equal(task.status, 'success', JSON.stringify(task.error_info))
  assert.deepEqual(await fs.readFile(image), content)
  assert.equal((await steps.restore(backup.id, { volume_id: larger })).status, 'success')
  assert.deepEqual((await fs.readFile(join(root, 'larger.img'))).subarray(0, content.length), content)
  assert.equal((await fs.stat(join(root, 'larger.img'))).size, 4 * MIB)

  const path = `/v3/{project_id}/backups/${backup.id}/restore`
  await refused(world, 'POST', path, { restore: { volume_id: smaller } }, 400, '2001')
  await refused(world, 'POST', path, { restore: { volume_id: randomUUID() } }, 404, '7000')
  await refused(world, 'POST', path, { restore: { volume_id: noDisk } }, 400, '9900', /restore\.volume_id/)
  await refused(world, 'POST', path, { restore: { volume_id: 'disk' } }, 400, '9900', /restore\.volume_id/)

  // Became smaller after it was declared: only the agent can see that, before it writes.
  await fs.truncate(join(root, 'larger.img'), MIB)
  const tooSmall = await steps.restore(backup.id, { volume_id: larger })
  assert.equal(tooSmall.status, 'failed')
  assert.match(tooSmall.error_info.message, /smaller/)
  assert.equal((await steps.backup(backup.id)).status, 'available')
})

test('a restore goes only where the operator allows, and what is wrong is refused before anything changes', async () => {
  await using world = await startBackupService()
  const { steps, root, dataDir } = world
  const resource = await steps.declare(await makeFolder(root, 'mail', { a: 'a' }))
  const vaultId = await steps.createVault('turbo', [resource])
  const [backup] = await steps.backUp(vaultId)
  assert.ok(backup !== undefined)
  await fs.symlink(dirname(root), join(root, 'out'))
  const path = `/v3/{project_id}/backups/${backup.id}/restore`
  const field = /restore\.details\.destination_path/
  for (const destination of ['relative', '/etc', dirname(root), join(root, 'out', 'new'), `${root}/../new`, `${root}-beside`, dataDir, join(dataDir, 'vaults')]) {
    await refused(world, 'POST', path, { restore: { details: { destination_path: destination } } }, 400, '9900', field)
  }
  for (const restore of [{}, { details: {} }, { details: { destination_path: '' } }, { details: { destination_path: 'x'.repeat(256) } }, { details: { destination_path: 7 } }]) {
    await refused(world, 'POST', path, { restore }, 400, '9900', /restore/)
  }
  await refused(world, 'POST', path, {}, 400, '9900', /restore/)
  await refused(world, 'POST', `/v3/{project_id}/backups/${randomUUID()}/restore`, { restore: {} }, 404, '6200')
  await refused(world, 'POST', '/v3/{project_id}/backups/nonsense/restore', { restore: {} }, 400, '9900', /backup_id/)
  assert.equal((await steps.backup(backup.id)).status, 'available')
  assert.deepEqual((await steps.tasks('operation_type=restore')), [])
})

test('resources that are busy are skipped, a second restore of a target is refused, and so is deleting what is in use', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const big = await makeBigFolder(root, 'big', 128)
  const [one, two] = [await steps.declare(big), await steps.declare(await makeFolder(root, 'small', { a: 'a' }))]
  const vaultId = await steps.createVault('turbo', [one, two])
  const [earlier] = await steps.backUp(vaultId, { resources: [one] })
  assert.ok(earlier !== undefined)
  await makeBigFolder(root, 'big', 128)

  const running = await steps.startCheckpoint(vaultId, { resources: [one] })
  const beside = await steps.startCheckpoint(vaultId)
  assert.deepEqual(beside.vault.skipped_resources.map((each) => [each.id, each.code]), [[one, 'BackupService.0002']])
  assert.deepEqual(beside.vault.resources.map((each) => each.id), [two])
  await refused(world, 'POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vaultId, parameters: { resources: [one] } } }, 400, '0001')
  const [made] = await steps.backupsOf(running.id)
  assert.ok(made !== undefined)
  await refused(world, 'DELETE', `/v3/{project_id}/backups/${made.id}`, undefined, 400, '6201')
  await refused(world, 'DELETE', `/v3/{project_id}/backups/${earlier.id}`, undefined, 400, '6203')
  await refused(world, 'POST', `/v3/{project_id}/backups/${made.id}/restore`, { restore: { details: { destination_path: join(root, 'x') } } }, 400, '2005')
  await refused(world, 'POST', `/v3/{project_id}/backups/${earlier.id}/restore`, { restore: { details: { destination_path: join(root, 'x') } } }, 400, '2002')
  await refused(world, 'DELETE', `/v3/{project_id}/vaults/${vaultId}`, undefined, 400, '6112')
  assert.equal((await steps.checkpointEnd(running.id)).status, 'available')
  assert.equal((await steps.checkpointEnd(beside.id)).status, 'available')

  const back = join(root, 'back')
  const restoring = await steps.startRestore(made.id, { details: { destination_path: back } })
  await refused(world, 'POST', `/v3/{project_id}/backups/${made.id}/restore`, { restore: { details: { destination_path: join(root, 'x') } } }, 400, '2005')
  for (const overlapping of [back, join(back, 'inside'), root]) {
    await refused(world, 'POST', `/v3/{project_id}/backups/${earlier.id}/restore`, { restore: { details: { destination_path: overlapping } } }, 400, '2010')
  }
  await refused(world, 'DELETE', `/v3/{project_id}/backups/${made.id}`, undefined, 400, '6216')
  const meanwhile = await steps.startCheckpoint(vaultId)
  assert.deepEqual(meanwhile.vault.skipped_resources.map((each) => [each.id, each.code]), [[one, 'BackupService.6215']])
  assert.equal((await steps.taskEnd(restoring)).status, 'success')
  assert.deepEqual(compareTrees(big, back), [])
  await steps.checkpointEnd(meanwhile.id)
})

test('a disk image is not restored inside a tree that is being read or restored, nor a tree over an image that is', async () => {
  await using first = await startBackupService()
  const { root, dataDir } = first
  const disks = await Promise.all(['read', 'written', 'own'].map(async (folder) => {
    await fs.mkdir(join(root, folder, 'inner'), { recursive: true })
    await fs.writeFile(join(root, folder, 'inner', 'disk.img'), Buffer.alloc(1024 * 1024, folder))
    return first.steps.declare(join(root, folder, 'inner', 'disk.img'), 'OS::Cinder::Volume')
  }))
  const tree = await first.steps.declare(join(root, 'read'))
  const treeVault = await first.steps.createVault('turbo', [tree], 'trees')
  const [treeBackup] = await first.steps.backUp(treeVault)
  const diskBackups = await first.steps.backUp(await first.steps.createVault('disk', disks, 'disks'))
  const pathOf = (resource: string | undefined) => `/v3/{project_id}/backups/${diskBackups.find((each) => each.resource_id === resource)?.id}/restore`
  await first.service[Symbol.asyncDispose]()

  // Without an agent what is started waits, for as long as it takes to look.
  await using world = await startBackupService({ root, dataDir }, { agent: 'none' })
  const { steps } = world
  const [read, written, own] = disks
  await steps.send('POST', pathOf(own), { restore: {} }, 202)
  const treePath = `/v3/{project_id}/backups/${treeBackup?.id}/restore`
  await refused(world, 'POST', treePath, { restore: { details: { destination_path: join(root, 'own') } } }, 400, '2010')
  await steps.send('POST', treePath, { restore: { details: { destination_path: join(root, 'written') } } }, 202)
  await refused(world, 'POST', pathOf(written), { restore: {} }, 400, '2010')
  const other = await steps.createVault('turbo', [await steps.declare(root)], 'everything')
  await refused(world, 'POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: other } }, 400, '0001', /restored into the resource, or around it/)
  await steps.startCheckpoint(await steps.createVault('turbo', [await steps.declare(join(root, 'read', 'inner'))], 'inner'))
  await refused(world, 'POST', pathOf(read), { restore: {} }, 400, '2011', /which is being backed up/)
})

test('a resource that no agent offers, one that vanished, and one outside the roots fail clearly, and the others do not', async () => {
  await using first = await startBackupService()
  const { root } = first
  const gone = await makeFolder(root, 'gone', { a: 'a' })
  const kept = await makeFolder(root, 'kept', { a: 'a' })
  const [goneId, keptId, unknown] = [await first.steps.declare(gone), await first.steps.declare(kept), randomUUID()]
  const vaultId = await first.steps.createVault('turbo', [goneId, keptId, unknown])
  await fs.rename(gone, `${gone}-away`)
  const { id } = await first.steps.startCheckpoint(vaultId)
  assert.equal((await first.steps.checkpointEnd(id)).status, 'error')
  const statuses = new Map((await first.steps.backupsOf(id)).map((each) => [each.resource_id, each.status]))
  assert.deepEqual([statuses.get(goneId), statuses.get(keptId), statuses.get(unknown)], ['error', 'available', 'error'])
  const tasks = [await first.steps.taskOf(id, goneId), await first.steps.taskOf(id, unknown), await first.steps.taskOf(id, keptId)]
  assert.deepEqual(tasks.map((task) => [task.status, task.error_info.code]), [
    ['failed', 'BackupService.6215'], ['failed', 'BackupService.6215'], ['success', ''],
  ])
  assert.match(tasks[0]?.error_info.message ?? '', new RegExp(`does not exist.*${gone}`))
  assert.match(tasks[1]?.error_info.message ?? '', new RegExp(`No agent offers the resource ${unknown}`))
  assert.deepEqual((await first.steps.vault(vaultId)).resources.map((each) => each.protect_status), ['available', 'available', 'available'])

  await fs.rename(`${gone}-away`, gone)
  assert.equal((await first.steps.backUp(vaultId, { resources: [goneId] }))[0]?.status, 'available')

  // Behind a link that leads out of the roots now, it must not be read although its path is as declared.
  await fs.rename(gone, join(dirname(root), 'outside'))
  await fs.symlink(join(dirname(root), 'outside'), gone)
  const { id: outside } = await first.steps.startCheckpoint(vaultId, { resources: [goneId] })
  assert.equal((await first.steps.checkpointEnd(outside)).status, 'error')
  assert.match((await first.steps.taskOf(outside)).error_info.message, /does not lie inside/)
})

test('what cannot be read makes a backup an error that says so, and the next run is whole', async () => {
  const base = await fs.realpath(await fs.mkdtemp('/tmp/opencbr-unreadable-'))
  const root = join(base, 'root')
  // Root reads everything; without these capabilities it is like anybody else.
  const wrapper = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-dac_override,-dac_read_search'] : []
  try {
    const folder = await makeFolder(root, 'mail', { readable: 'r', 'secret-1': 's', 'secret-2': 's', 'closed/x': 'x' })
    for (const name of ['secret-1', 'secret-2', 'closed']) await fs.chmod(join(folder, name), 0)
    await using server = await startServerProcess({ dataDir: join(base, 'data'), allowPaths: [root], wrapper })
    const { steps } = server
    const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
    const { id } = await steps.startCheckpoint(vaultId)
    assert.equal((await steps.checkpointEnd(id)).status, 'error')
    const [partial] = await steps.backupsOf(id)
    assert.equal(partial?.status, 'error')
    const task = await steps.taskOf(id)
    assert.equal(task.status, 'failed')
    assert.match(task.error_info.message, /3 files or directories could not be read/)
    for (const name of ['secret-1', 'secret-2', 'closed']) assert.ok(task.error_info.message.includes(join(folder, name)), name)

    for (const name of ['secret-1', 'secret-2', 'closed']) await fs.chmod(join(folder, name), 0o755)
    const [whole] = await steps.backUp(vaultId)
    assert.equal(whole?.status, 'available')
    assert.equal((await steps.restore(whole.id, { details: { destination_path: join(root, 'back') } })).status, 'success')
    assert.deepEqual(compareTrees(folder, join(root, 'back')), [])
    await refusedRestore(server.call, partial.id, join(root, 'other'))
    // The incomplete one can be deleted like any other, and takes its snapshot along.
    await steps.send('DELETE', `/v3/{project_id}/backups/${partial.id}`, undefined, 204)
    await until('the deletion', async () => ((await server.call('GET', `/v3/{project_id}/backups/${partial.id}`)).status === 404 ? true : undefined))
    const kit = await steps.recoveryKit(vaultId)
    const [binary] = resticBinaries()
    const snapshots = JSON.parse(restic(binary ?? 'restic', kit.repository, kit.password).run('snapshots', '--json').stdout.toString()) as unknown[]
    assert.equal(snapshots.length, 1)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})

async function refusedRestore(call: Parameters<typeof refused>[0]['service']['call'] | Awaited<ReturnType<typeof startServerProcess>>['call'], backupId: string, path: string): Promise<void> {
  const answer = await call<{ error_code: string }>('POST', `/v3/{project_id}/backups/${backupId}/restore`, { restore: { details: { destination_path: path } } })
  assert.deepEqual([answer.status, answer.body.error_code], [400, 'BackupService.2005'])
}

test('warnings about a whole backup stand in its task, which is a success', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const folder = await makeFolder(root, 'mail', { a: 'a' })
  const listener = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(join(folder, 'socket'))}, () => console.log('up'))`])
  try {
    await once(listener.stdout, 'data')
    const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
    const { id } = await steps.startCheckpoint(vaultId)
    assert.equal((await steps.checkpointEnd(id)).status, 'available')
    const task = await steps.taskOf(id)
    assert.deepEqual([task.status, task.error_info.message], ['success', ''])
    assert.equal(task.extra_info.backup?.warning_count, 1)
    assert.equal(task.extra_info.backup.warnings?.[0]?.path, join(folder, 'socket'))
    assert.equal(task.extra_info.backup.incremental, 'true')
  } finally {
    listener.kill()
  }
})

test('a full disk fails the run clearly, harms nothing that was there, and the next run goes on', async () => {
  const base = await fs.realpath(await fs.mkdtemp('/tmp/opencbr-full-'))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  const vaults = join(dataDir, 'vaults')
  await fs.mkdir(vaults, { recursive: true, mode: 0o700 })
  const isMounted = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m,mode=0700', 'tmpfs', vaults]).status === 0
  // Without the right to mount, a limit on the size of files stands in: packs are the only large ones.
  const wrapper = isMounted ? [] : ['sh', '-c', `trap '' XFSZ; ulimit -f 16384; exec "$@"`, 'sh']
  try {
    const small = await makeFolder(root, 'small', { a: randomBytes(MIB) })
    const big = await makeBigFolder(root, 'big', 64)
    const server = await startServerProcess({ dataDir, allowPaths: [root], wrapper })
    const kit = await (async () => {
      await using running = server
      const { steps } = running
      const [smallId, bigId] = [await steps.declare(small), await steps.declare(big)]
      const vaultId = await steps.createVault('turbo', [smallId, bigId])
      assert.equal((await steps.backUp(vaultId, { resources: [smallId] }))[0]?.status, 'available')
      const { id } = await steps.startCheckpoint(vaultId, { resources: [bigId] })
      assert.equal((await steps.checkpointEnd(id)).status, 'error')
      const task = await steps.taskOf(id)
      assert.equal(task.status, 'failed')
      assert.match(task.error_info.message, /no space left/)
      assert.deepEqual((await steps.vault(vaultId)).resources.map((each) => each.protect_status), ['available', 'available'])
      // Smaller now, it fits.
      for (const name of await fs.readdir(big)) if (name !== 'part-0') await fs.rm(join(big, name))
      await fs.truncate(join(big, 'part-0'), MIB)
      assert.equal((await steps.backUp(vaultId, { resources: [bigId] }))[0]?.status, 'available')
      return await steps.recoveryKit(vaultId)
    })()
    for (const binary of resticBinaries().slice(-1)) {
      restic(binary, kit.repository, kit.password).run('check', '--no-lock', '--read-data')
    }
  } finally {
    if (isMounted) spawnSync('umount', ['-l', vaults])
    await fs.rm(base, { recursive: true, force: true })
  }
})

test('a repository that somebody else holds is waited for, and then the failure names who', async () => {
  await using world = await startBackupService(undefined, { agent: { lockPatienceMs: 700 } })
  const { steps, root } = world
  const vaultId = await steps.createVault('turbo', [await steps.declare(await makeFolder(root, 'mail', { a: 'a' }))])
  const [backup] = await steps.backUp(vaultId)
  assert.ok(backup !== undefined)
  const kit = await steps.recoveryKit(vaultId)
  const [binary] = resticBinaries()
  // It reads its standard input to the end, and holds its lock until then.
  const holder = spawn(binary ?? 'restic', ['--no-cache', 'backup', '--stdin', '--quiet'], {
    stdio: ['pipe', 'ignore', 'ignore'], env: { ...process.env, RESTIC_REPOSITORY: kit.repository, RESTIC_PASSWORD: kit.password },
  })
  try {
    await until('the lock', async () => ((await fs.readdir(join(kit.repository, 'locks'))).length > 0 ? true : undefined))
    // Restic's lock is shared: backing up goes on beside it.
    assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
    await steps.send('DELETE', `/v3/{project_id}/backups/${backup.id}`, undefined, 204)
    const failed = await until('the failed deletion', async () => (await steps.tasks('operation_type=delete&status=failed'))[0])
    assert.match(failed.error_info.message, /holds a lock/)
    assert.match(failed.error_info.message, /kind: shared/)
    assert.equal((await steps.backup(backup.id)).status, 'error')
  } finally {
    const exit = once(holder, 'exit')
    holder.stdin.end()
    await exit
  }
  await steps.send('DELETE', `/v3/{project_id}/backups/${backup.id}`, undefined, 204)
  await until('the deletion', async () => ((await world.service.call('GET', `/v3/{project_id}/backups/${backup.id}`)).status === 404 ? true : undefined))
})

test('a vault whose repository is gone or damaged fails its runs clearly, and is never made anew', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const vaultId = await steps.createVault('turbo', [await steps.declare(await makeFolder(root, 'mail', { a: 'a' }))])
  const [backup] = await steps.backUp(vaultId)
  assert.ok(backup !== undefined)
  const { repository } = await steps.recoveryKit(vaultId)
  await fs.rename(repository, `${repository}-away`)
  const { id } = await steps.startCheckpoint(vaultId)
  await steps.checkpointEnd(id)
  assert.match((await steps.taskOf(id)).error_info.message, /There is no repository here/)
  await assert.rejects(fs.stat(join(repository, 'config')))

  await fs.rm(repository, { recursive: true, force: true })
  await fs.rename(`${repository}-away`, repository)
  for (const name of await fs.readdir(join(repository, 'index'))) {
    await fs.chmod(join(repository, 'index', name), 0o600)
    await fs.writeFile(join(repository, 'index', name), randomBytes(100))
  }
  const task = await steps.restore(backup.id, { details: { destination_path: join(root, 'back') } })
  assert.equal(task.status, 'failed')
  assert.equal(task.error_info.code, 'BackupService.9910')
  assert.match(task.error_info.message, /damaged/)
})

test('a deleted backup is gone with its snapshot, and its checkpoint with the last of them', async () => {
  await using world = await startBackupService()
  const { steps, root, service } = world
  const folders = [await makeFolder(root, 'a', { a: 'a' }), await makeFolder(root, 'b', { b: 'b' })]
  const vaultId = await steps.createVault('turbo', await Promise.all(folders.map((folder) => steps.declare(folder))))
  const [one, two] = await steps.backUp(vaultId, { name: 'run' })
  assert.ok(one !== undefined && two !== undefined)
  assert.deepEqual([one.name, two.name], ['run-0001', 'run-0002'])
  const gone = (path: string) => until(`${path} is gone`, async () => ((await service.call('GET', path)).status === 404 ? true : undefined))

  await steps.send('DELETE', `/v3/{project_id}/backups/${one.id}`, undefined, 204)
  await refused(world, 'DELETE', '/v3/{project_id}/backups/nonsense', undefined, 400, '9900', /backup_id/)
  await gone(`/v3/{project_id}/backups/${one.id}`)
  assert.equal((await steps.get<{ checkpoint: { status: string } }>(`/v3/{project_id}/checkpoints/${one.checkpoint_id}`)).checkpoint.status, 'available')
  await refused(world, 'DELETE', `/v3/{project_id}/backups/${one.id}`, undefined, 404, '6200')
  await steps.send('DELETE', `/v3/{project_id}/backups/${two.id}`, undefined, 204)
  await gone(`/v3/{project_id}/backups/${two.id}`)
  await refused(world, 'GET', `/v3/{project_id}/checkpoints/${one.checkpoint_id}`, undefined, 404, '6217')
  const tasks = await steps.tasks('operation_type=delete')
  assert.deepEqual(tasks.map((task) => [task.status, task.extra_info.delete?.backup_name]).toSorted(), [['success', 'run-0001'], ['success', 'run-0002']])
  const kit = await steps.recoveryKit(vaultId)
  assert.deepEqual(await fs.readdir(join(kit.repository, 'snapshots')), [])
  assert.deepEqual((await steps.vault(vaultId)).resources.map((each) => each.backup_count), [0, 0])
})

test('automatic backups of a locked vault are not deleted by hand, manual ones are', async () => {
  await using world = await startBackupService()
  const { steps, root, service } = world
  const vaultId = await steps.createVault('turbo', [await steps.declare(await makeFolder(root, 'a', { a: 'a' }))])
  const [automatic] = await steps.backUp(vaultId, { auto_trigger: true })
  const [manual] = await steps.backUp(vaultId)
  assert.ok(automatic !== undefined && manual !== undefined)
  assert.match(automatic.name, /^autobk_[0-9a-f]{4}$/)
  await steps.send('PUT', `/v3/{project_id}/vaults/${vaultId}`, { vault: { locked: true } }, 200)
  await refused(world, 'DELETE', `/v3/{project_id}/backups/${automatic.id}`, undefined, 400, '6220')
  await steps.send('DELETE', `/v3/{project_id}/backups/${manual.id}`, undefined, 204)
  await until('the deletion', async () => ((await service.call('GET', `/v3/{project_id}/backups/${manual.id}`)).status === 404 ? true : undefined))
})

test('removing a resource takes its backups along and leaves the others; removing the vault takes everything, and nothing beside it', async () => {
  await using world = await startBackupService()
  const { steps, root, service, dataDir } = world
  const [leaves, stays] = [await steps.declare(await makeFolder(root, 'a', { a: 'a' })), await steps.declare(await makeFolder(root, 'b', { b: 'b' }))]
  const vaultId = await steps.createVault('turbo', [leaves, stays])
  const other = await steps.createVault('turbo', [await steps.declare(await makeFolder(root, 'c', { c: 'c' }))])
  await steps.backUp(other)
  const run = await steps.backUp(vaultId)
  await steps.backUp(vaultId, { resources: [leaves] })
  await steps.send('POST', `/v3/{project_id}/vaults/${vaultId}/removeresources`, { resource_ids: [leaves] }, 200)
  const removed = await until('the removal', async () => (await steps.tasks('operation_type=remove_resource&status=success'))[0])
  assert.deepEqual([removed.extra_info.remove_resources?.total_count, removed.extra_info.remove_resources?.fail_count], [2, 0])
  assert.deepEqual((await steps.vault(vaultId)).resources.map((each) => each.id), [stays])
  const left = (await steps.get<{ backups: { id: string }[] }>(`/v3/{project_id}/backups?vault_id=${vaultId}`)).backups
  assert.deepEqual(left.map((each) => each.id), run.filter((each) => each.resource_id === stays).map((each) => each.id))
  const { repository } = await steps.recoveryKit(vaultId)
  assert.equal((await fs.readdir(join(repository, 'snapshots'))).length, 1)

  await steps.send('DELETE', `/v3/{project_id}/vaults/${vaultId}`, undefined, 204)
  await until('the vault is gone', async () => ((await service.call('GET', `/v3/{project_id}/vaults/${vaultId}`)).status === 404 ? true : undefined))
  const [task] = await steps.tasks('operation_type=vault_delete')
  assert.equal(task?.status, 'success')
  assert.deepEqual(task.extra_info.vault_delete, { fail_count: 0, total_count: 1, fail_delete_count: 0, total_delete_count: 1 })
  await refused(world, 'GET', `/v3/{project_id}/checkpoints/${run[0]?.checkpoint_id}`, undefined, 404, '6217')
  assert.deepEqual(await fs.readdir(join(dataDir, 'vaults', service.projectId)), [other])
  assert.equal((await steps.vault(other)).billing.status, 'available')
  assert.equal((await steps.backUp(other))[0]?.status, 'available')
})

test('a vault without any backup is deleted, and one whose place is a link is not followed', async () => {
  await using world = await startBackupService()
  const { steps, root, service, dataDir } = world
  const empty = await steps.createVault('turbo', [])
  await steps.send('DELETE', `/v3/{project_id}/vaults/${empty}`, undefined, 204)
  await until('the vault is gone', async () => ((await service.call('GET', `/v3/{project_id}/vaults/${empty}`)).status === 404 ? true : undefined))

  const precious = await makeFolder(root, 'precious', { a: 'a' })
  const linked = await steps.createVault('turbo', [])
  await fs.mkdir(join(dataDir, 'vaults', service.projectId), { recursive: true })
  await fs.symlink(precious, join(dataDir, 'vaults', service.projectId, linked))
  await steps.send('DELETE', `/v3/{project_id}/vaults/${linked}`, undefined, 204)
  await until('the failure', async () => (await steps.tasks(`vault_id=${linked}&status=failed`))[0])
  assert.equal((await steps.vault(linked)).billing.status, 'error')
  assert.deepEqual(await fs.readdir(precious), ['a'])
})

test('a stopped server parks what it does, and the next start goes on without counting an attempt', async () => {
  const base = await fs.realpath(await fs.mkdtemp('/tmp/opencbr-park-'))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  try {
    const folder = await makeBigFolder(root, 'big', 384)
    let checkpointId = ''
    let vaultId = ''
    {
      await using server = await startServerProcess({ dataDir, allowPaths: [root] })
      vaultId = await server.steps.createVault('turbo', [await server.steps.declare(folder)])
      checkpointId = (await server.steps.startCheckpoint(vaultId)).id
      await until('progress', async () => ((await server.steps.taskOf(checkpointId)).extra_info.common.progress > 0 ? true : undefined))
      const signalled = performance.now()
      server.signal('SIGTERM')
      assert.equal(await server.ended, 0, server.errorOutput())
      assert.ok(performance.now() - signalled < 15_000)
    }
    const catalogue = new DatabaseSync(join(dataDir, 'catalogue.db'), { readOnly: true })
    const [job, ...others] = catalogue.prepare('select status, attempts, kind from jobs').all()
    catalogue.close()
    assert.deepEqual([{ ...job }, others.length], [{ status: 'waiting', attempts: 0, kind: 'backup' }, 0])
    {
      await using server = await startServerProcess({ dataDir, allowPaths: [root] })
      const { steps } = server
      assert.equal((await steps.checkpointEnd(checkpointId)).status, 'available')
      const [backup] = await steps.backupsOf(checkpointId)
      assert.ok(backup !== undefined)
      assert.equal((await steps.restore(backup.id, { details: { destination_path: join(root, 'back') } })).status, 'success')
      assert.deepEqual(compareTrees(folder, join(root, 'back')), [])
      const kit = await steps.recoveryKit(vaultId)
      const [binary] = resticBinaries()
      restic(binary ?? 'restic', kit.repository, kit.password).run('check', '--read-data')
    }
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})
