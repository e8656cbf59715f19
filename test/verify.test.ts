/** Verifications and scrubs through the real server, over vaults whose packs were damaged on disk. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { VaultScrub, Verification } from '@opencbr/contract'
import { startDueScrubs } from '@opencbr/server'
import { ManualClock } from '@opencbr/testkit'
import { startBackupService, until, type BackupService, type Steps } from './support/backup-service.ts'
import { startServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024

async function makeFolder(world: BackupService, name: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const folder = join(world.root, name)
  await fs.mkdir(folder, { recursive: true })
  for (const [file, content] of Object.entries(files)) await fs.writeFile(join(folder, file), content)
  return folder
}

async function verificationEnd(steps: Steps, id: string): Promise<Verification> {
  return until(`the end of verification ${id}`, async () => {
    const { verification } = await steps.get<{ verification: Verification }>(`/x/v1/{project_id}/verifications/${id}`)
    return verification.status === 'waiting' || verification.status === 'running' ? undefined : verification
  })
}

async function verify({ steps, service }: BackupService, path: string, verification: object): Promise<Verification> {
  service.clock.tick()
  const started = await steps.send<{ verification: Verification }>('POST', `/x/v1/{project_id}/${path}/verify`, { verification }, 202)
  return verificationEnd(steps, started.verification.id)
}

async function packsOf(repository: string): Promise<{ path: string, size: number }[]> {
  const names = await fs.readdir(join(repository, 'data'), { recursive: true })
  const packs = await Promise.all(names.filter((name) => /[0-9a-f]{64}$/.test(name)).map(async (name) => {
    const path = join(repository, 'data', name)
    return { path, size: (await fs.stat(path)).size }
  }))
  return packs.toSorted((a, b) => b.size - a.size)
}

async function flipBit(path: string, offset: number): Promise<void> {
  await fs.chmod(path, 0o600)
  const handle = await fs.open(path, 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, offset)
  byte[0] = (byte[0] ?? 0) ^ 1
  await handle.write(byte, 0, 1, offset)
  await handle.close()
}

/** Past the token's day nobody is logged in any more, so the end is looked for in the catalogue. */
async function scrubRun({ service: { service: { deps } } }: BackupService) {
  return until('the end of the scrub', () => deps.db.selectFrom('vault_scrubs as scrub')
    .innerJoin('verifications as run', 'run.id', 'scrub.verification_id').selectAll('run')
    .where('run.status', 'in', ['success', 'failed'])
    .executeTakeFirst())
}

test('a whole backup verifies at every level, and a flipped bit is found, and named by pack and by path', async () => {
  await using world = await startBackupService()
  const { steps, service } = world
  const locked = await makeFolder(world, 'mail/locked', { secret: 'x' })
  await fs.chmod(join(locked, 'secret'), 0o400)
  await fs.chmod(locked, 0o500)
  const folder = await makeFolder(world, 'mail', { small: 'text', big: randomBytes(3 * MIB), empty: '' })
  const other = await makeFolder(world, 'other', { fine: randomBytes(MIB) })
  const [mailId, otherId] = [await steps.declare(folder), await steps.declare(other)]
  const vaultId = await steps.createVault('turbo', [mailId, otherId])
  const backups = await steps.backUp(vaultId)
  const [mail, fine] = [mailId, otherId].map((id) => backups.find((each) => each.resource_id === id))
  assert.ok(mail !== undefined && fine !== undefined)
  await fs.chmod(locked, 0o700)

  for (const order of [{ level: 'structure' }, { level: 'sample', sample_percent: 50 }, { level: 'data' }]) {
    const ended = await verify(world, `backups/${mail.id}`, order)
    assert.deepEqual([ended.status, ended.whole, ended.findings, ended.error_info], ['success', true, [], { code: '', message: '' }], order.level)
    if (order.level === 'structure') assert.equal(ended.bytes_read, 0)
    if (order.level === 'data') assert.equal(ended.bytes_read, 3 * MIB + 5)
    assert.equal(ended.backup_id, mail.id)
  }
  const drill = await verify(world, `backups/${mail.id}`, { level: 'drill' })
  assert.deepEqual([drill.status, drill.whole, drill.bytes_read], ['success', true, 3 * MIB + 5])
  assert.deepEqual(await fs.readdir(join(world.dataDir, 'drills')), [])
  const vaultBefore = await verify(world, `vaults/${vaultId}`, { level: 'data' })
  assert.deepEqual([vaultBefore.status, vaultBefore.snapshots, vaultBefore.packs], ['success', 2, vaultBefore.packs_read])

  const { repository } = await steps.recoveryKit(vaultId)
  const [victim] = await packsOf(repository)
  assert.ok(victim !== undefined && victim.size > 3 * MIB)
  await flipBit(victim.path, 2 * MIB)
  const packId = victim.path.slice(-64)

  assert.equal((await verify(world, `backups/${mail.id}`, { level: 'structure' })).status, 'success')
  assert.equal((await verify(world, `backups/${fine.id}`, { level: 'data' })).status, 'success')
  const failedDrill = await verify(world, `backups/${mail.id}`, { level: 'drill' })
  assert.deepEqual([failedDrill.status, failedDrill.whole], ['failed', false])
  assert.ok(failedDrill.findings?.some((finding) => finding.path === join(folder, 'big')))
  for (const [path, snapshotId] of [[`backups/${mail.id}`, mail.extend_info['snapshot_id']], [`vaults/${vaultId}`, undefined]] as const) {
    const ended = await verify(world, path, { level: 'data' })
    assert.deepEqual([ended.status, ended.whole, ended.error_info.code], ['failed', false, 'BackupService.9910'])
    assert.match(ended.error_info.message, new RegExp(packId))
    const findings = ended.findings ?? []
    assert.ok(findings.some((finding) => finding.pack_id === packId), 'the pack is named')
    const named = findings.filter((finding) => finding.path !== null)
    assert.deepEqual(named.map((finding) => [finding.code, finding.path]), [['file.damaged_content', join(folder, 'big')]])
    if (snapshotId !== undefined) assert.equal(named[0]?.snapshot_id, snapshotId)
  }

  const { events } = await steps.get<{ events: { message: string, facts: object }[] }>(`/x/v1/{project_id}/events?kind=vault.damaged&vault_id=${vaultId}`)
  assert.equal(events.length, 3)
  assert.match(events[0]?.message ?? '', new RegExp(packId))

  const list = await steps.get<{ verifications: Verification[], count: number }>(`/x/v1/{project_id}/verifications?backup_id=${mail.id}&limit=2`)
  assert.equal(list.count, 7)
  assert.deepEqual(list.verifications.map((each) => each.level), ['data', 'drill'])
  const next = await steps.get<{ verifications: Verification[] }>(`/x/v1/{project_id}/verifications?backup_id=${mail.id}&limit=9&marker=${list.verifications[1]?.id}`)
  assert.deepEqual(next.verifications.map((each) => each.level), ['structure', 'drill', 'data', 'sample', 'structure'])
  // The cloud's list of tasks knows no such kind, and does not show them.
  assert.ok((await steps.tasks()).every((task) => task.operation_type === 'backup'))

  await using again = await world.restart()
  const [kept] = (await again.steps.get<{ verifications: Verification[] }>(`/x/v1/{project_id}/verifications?vault_id=${vaultId}&limit=1`)).verifications
  assert.equal(kept?.status, 'failed')
  assert.equal(service.projectId, kept.project_id)
})

test('a drill restores a disk for practice, and leaves nothing behind', async () => {
  await using world = await startBackupService()
  const path = join(world.root, 'disk.img')
  await fs.writeFile(path, randomBytes(2 * MIB))
  await fs.truncate(path, 9 * MIB)
  const [backup] = await world.steps.backUp(await world.steps.createVault('disk', [await world.steps.declare(path, 'OS::Cinder::Volume')]))
  const drill = await verify(world, `backups/${backup?.id}`, { level: 'drill' })
  assert.deepEqual([drill.status, drill.whole, drill.bytes_read, drill.error_info.message], ['success', true, 9 * MIB, ''])
  assert.deepEqual(await fs.readdir(join(world.dataDir, 'drills')), [])
})

test('a verification refuses what it cannot do, names the field, and is asked for once at a time', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { steps, service } = world
  const vaultId = await steps.createVault('turbo', [await steps.declare(await makeFolder(world, 'a', { a: 'a' }))])
  const { id } = await steps.startCheckpoint(vaultId)
  const [backup] = await steps.backupsOf(id)
  const nobody = '0b7e3c0e-54b8-4c0b-b24f-5f9f5f1b3c55'
  const refused = async (method: string, path: string, body: unknown, status: number, code: string, text: RegExp): Promise<void> => {
    const answer = await service.call<{ error_code: string, error_msg: string }>(method, `/x/v1/{project_id}/${path}`, body)
    assert.deepEqual([answer.status, answer.body.error_code], [status, `BackupService.${code}`], path)
    assert.match(answer.body.error_msg, text)
  }
  await refused('POST', `backups/${backup?.id}/verify`, { verification: { level: 'data' } }, 400, '6206', /waiting_protect/)
  await refused('POST', `backups/${nobody}/verify`, { verification: { level: 'data' } }, 404, '6200', /does not exist/)
  await refused('POST', 'backups/x/verify', { verification: { level: 'data' } }, 400, '9900', /backup_id/)
  await refused('POST', `vaults/${nobody}/verify`, { verification: { level: 'data' } }, 404, '6105', /does not exist/)
  await refused('POST', `vaults/${vaultId}/verify`, { verification: { level: 'all' } }, 400, '9900', /verification\.level/)
  await refused('POST', `vaults/${vaultId}/verify`, { verification: { level: 'drill' } }, 400, '9900', /one backup/)
  await refused('POST', `vaults/${vaultId}/verify`, { verification: { level: 'sample' } }, 400, '9900', /sample_percent.*mandatory/)
  await refused('POST', `vaults/${vaultId}/verify`, { verification: { level: 'data', sample_percent: 3 } }, 400, '9900', /takes no sample/)
  await refused('POST', `vaults/${vaultId}/verify`, { verification: { level: 'sample', sample_percent: 100 } }, 400, '9900', /sample_percent/)
  await refused('GET', `verifications/${nobody}`, undefined, 404, '6500', /does not exist/)
  await refused('GET', `verifications?vault_id=x`, undefined, 400, '9900', /vault_id/)
  await refused('PUT', `vaults/${vaultId}/scrub`, { scrub: { every_days: 0 } }, 400, '9900', /every_days/)
  await refused('PUT', `vaults/${nobody}/scrub`, { scrub: { every_days: 1 } }, 404, '6105', /does not exist/)

  const order = { verification: { level: 'structure' } }
  const [one, same] = [
    await steps.send<{ verification: Verification }>('POST', `/x/v1/{project_id}/vaults/${vaultId}/verify`, order, 202),
    await steps.send<{ verification: Verification }>('POST', `/x/v1/{project_id}/vaults/${vaultId}/verify`, order, 202),
  ]
  assert.equal(one.verification.status, 'waiting')
  assert.equal(same.verification.id, one.verification.id)
  assert.equal((await service.call<{ error_code: string }>('DELETE', `/v3/{project_id}/vaults/${vaultId}`)).body.error_code, 'BackupService.6112')
})

test('a verification that was broken off by a crash, or parked by a stop, goes on at the next start', async () => {
  const base = await fs.realpath(await fs.mkdtemp('/tmp/opencbr-verify-'))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  try {
    await fs.mkdir(join(root, 'big'), { recursive: true })
    for (let part = 0; part < 6; part += 1) await fs.writeFile(join(root, 'big', `part-${part}`), randomBytes(16 * MIB))
    let vaultId = ''
    const ids: string[] = []
    for (const signal of [undefined, 'SIGKILL', 'SIGTERM'] as const) {
      await using server = await startServerProcess({ dataDir, allowPaths: [root] })
      const { steps } = server
      if (signal === undefined) {
        vaultId = await steps.createVault('turbo', [await steps.declare(join(root, 'big'))])
        assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
        continue
      }
      const { verification } = await steps.send<{ verification: Verification }>('POST', `/x/v1/{project_id}/vaults/${vaultId}/verify`, { verification: { level: 'data' } }, 202)
      ids.push(verification.id)
      await until('the start', async () => (
        (await steps.get<{ verification: Verification }>(`/x/v1/{project_id}/verifications/${verification.id}`)).verification.status === 'waiting' ? undefined : true))
      server.signal(signal)
      await server.ended
    }
    await using server = await startServerProcess({ dataDir, allowPaths: [root] })
    for (const id of ids) {
      const ended = await verificationEnd(server.steps, id)
      assert.deepEqual([ended.status, ended.whole, ended.packs_read], ['success', true, ended.packs])
    }
    // Whoever died while writing a lock leaves it under a temporary name, which nobody takes for one; a later deletion tidies it away.
    const names = await fs.readdir(join((await server.steps.recoveryKit(vaultId)).repository, 'locks'))
    assert.deepEqual(names.filter((name) => !name.includes('-tmp-')), [])
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})

test('a scrub reads every pack within its days, goes on after a restart, and finds what is damaged by the day that it is due', async () => {
  await using world = await startBackupService(undefined, { clock: new ManualClock() })
  const { steps } = world
  const folder = await makeFolder(world, 'mail', {})
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  // A run leaves at least one pack of content and one of directories.
  for (let run = 0; run < 8; run += 1) {
    await fs.writeFile(join(folder, `file-${run}`), randomBytes(64 * 1024))
    assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
  }
  const { repository } = await steps.recoveryKit(vaultId)
  const packs = await packsOf(repository)
  assert.ok(packs.length >= 16)
  const days = 5

  async function nextDay(of: BackupService) {
    of.service.clock.advanceSeconds(24 * 3600)
    assert.equal(await startDueScrubs(of.service.service.deps), 1)
    return scrubRun(of)
  }

  const other = await steps.createVault('turbo', [], 'other')
  for (const id of [other, other]) await steps.send('PUT', `/x/v1/{project_id}/vaults/${id}/scrub`, { scrub: { every_days: 1 } }, 200)
  await steps.send('DELETE', `/x/v1/{project_id}/vaults/${other}/scrub`, undefined, 204)
  assert.equal((await steps.get<{ scrub: VaultScrub }>(`/x/v1/{project_id}/vaults/${other}/scrub`)).scrub.enabled, false)
  const { scrub } = await steps.send<{ scrub: VaultScrub }>('PUT', `/x/v1/{project_id}/vaults/${vaultId}/scrub`, { scrub: { every_days: days } }, 200)
  assert.deepEqual([scrub.enabled, scrub.every_days], [true, days])
  let bytesRead = 0
  let packsRead = 0
  const perDay: number[] = []
  const add = ({ bytes_read: bytes, packs_read: count, status, scope }: Awaited<ReturnType<typeof scrubRun>>): void => {
    assert.deepEqual([status, scope], ['success', 'scrub'])
    bytesRead += bytes
    packsRead += count
    perDay.push(count)
  }
  add(await scrubRun(world))
  assert.equal(await startDueScrubs(world.service.service.deps), 0, 'nothing is due twice in a day')
  for (let day = 1; day < days - 1; day += 1) add(await nextDay(world))
  assert.ok(packsRead <= packs.length, 'until the last day nothing is read twice')
  assert.ok(perDay.every((count) => count < packs.length / 2), `a share each day: ${perDay.join(' ')}`)

  await using again = await world.restart()
  add(await nextDay(again))
  assert.ok(packsRead >= packs.length, `${packsRead} of ${packs.length}`)
  assert.ok(bytesRead >= packs.reduce((sum, pack) => sum + pack.size, 0))

  const victim = packs[Math.floor(packs.length / 2)]
  assert.ok(victim !== undefined)
  await flipBit(victim.path, 40)
  const runs: Awaited<ReturnType<typeof scrubRun>>[] = []
  for (let day = 1; day <= days; day += 1) runs.push(await nextDay(again))
  const found = runs.filter((run) => run.status === 'failed')
  assert.ok(found.length === 1 || found.length === 2, `found on ${found.length} days`)
  assert.ok(found[0]?.findings.includes(victim.path.slice(-64)))
})
