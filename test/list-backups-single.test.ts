/** One backup through the API: shown, renamed, described; by its owner and by a receiver of a share. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Backup, BackupMetadata } from '@opencbr/contract'
import { populate, type Populated } from '@opencbr/server'
import { startTestService, type TestService } from '@opencbr/testkit'
import { sql } from 'kysely'

type Answer = { backup: Backup, error_code: string, error_msg: string }

const UNKNOWN = 'b0000000-0000-4000-8000-000000000000'
const NOT_FOUND = [404, 'BackupService.6200']
const INVALID = [400, 'BackupService.9900']

let service: TestService
let populated: Populated

before(async () => {
  service = await startTestService()
  populated = await populate(service.service.deps, { backups: 2000, seed: 7 })
})

after(async () => {
  await service[Symbol.asyncDispose]()
})

/** The id of some backup; `condition` is SQL over backups `b`, with `:own` and `:partner` for the projects. */
async function findId(condition: string): Promise<string> {
  const named = condition.replaceAll(':own', `'${service.projectId}'`).replaceAll(':partner', `'${populated.partnerProjectId}'`)
  const { rows: [found] } = await sql<{ id: string }>`select b.id from backups b where ${sql.raw(named)} order by b.id limit 1`.execute(service.service.deps.db)
  assert.ok(found !== undefined, `the populated catalogue has a backup with ${condition}`)
  return found.id
}

function findReceivedId(status: string, type = '%'): Promise<string> {
  return findId(`b.project_id = :partner and b.resource_type like '${type}'
    and exists (select 1 from backup_members m where m.backup_id = b.id and m.dest_project_id = :own and m.status = '${status}')`)
}

const UNSHARED = `b.project_id = :partner and b.parent_id is null
  and not exists (select 1 from backup_members m where m.backup_id = b.id and m.dest_project_id = :own)`

function show(id: string) {
  return service.call<Answer>('GET', `/v3/{project_id}/backups/${id}`)
}

function update(id: string, body: unknown) {
  return service.call<Answer>('PUT', `/v3/{project_id}/backups/${id}`, body)
}

function metadata(id: string) {
  return service.call<BackupMetadata & { error_code: string }>('GET', `/v3/{project_id}/backups/${id}/metadata`)
}

function codeOf({ status, body }: { status: number, body: { error_code: string } }): unknown[] {
  return [status, body.error_code]
}

test('a backup of a server is shown with its disks, which lists leave out', async () => {
  const id = await findId("b.project_id = :own and b.resource_type = 'OS::Nova::Server' and 2 = (select count(*) from backups c where c.parent_id = b.id)")
  const { status, body: { backup } } = await show(id)
  assert.equal(status, 200)
  assert.deepEqual([backup.id, backup.project_id, backup.parent_id, backup.children.length], [id, service.projectId, null, 2])
  const children = backup.children as Backup[]
  for (const child of children) {
    assert.deepEqual([child.parent_id, child.checkpoint_id, child.vault_id, child.resource_type, child.children], [
      id, backup.checkpoint_id, backup.vault_id, 'OS::Cinder::Volume', [],
    ])
    assert.deepEqual((await show(child.id)).body.backup, child)
  }
  const listed = await service.call<{ backups: Backup[] }>('GET', `/v3/{project_id}/backups?checkpoint_id=${backup.checkpoint_id}`)
  assert.deepEqual(listed.body.backups.find((each) => each.id === id), { ...backup, children: [], replication_records: [] })
})

test('a backup is shown with the records of its copies', async () => {
  const id = await findId('b.project_id = :own and exists (select 1 from replication_records r where r.backup_id = b.id)')
  const { body: { backup } } = await show(id)
  assert.ok(backup.replication_records.length > 0)
  for (const record of backup.replication_records) {
    assert.equal(record.source_backup_id, id)
    assert.equal(record.extra_info.destinatio_vault_id, record.extra_info.destination_vault_id)
  }
})

test('a receiver sees a shared backup under its own vault, and under none while it has not accepted', async () => {
  const accepted = (await show(await findReceivedId('accepted', 'OS::Nova::Server'))).body.backup
  assert.equal(accepted.project_id, populated.partnerProjectId)
  const { rows: [vault] } = await sql<{ project_id: string }>`select project_id from vaults where id = ${accepted.vault_id}`.execute(service.service.deps.db)
  assert.equal(vault?.project_id, service.projectId)
  assert.ok(accepted.children.length > 0)
  for (const child of accepted.children as Backup[]) {
    assert.equal(child.vault_id, accepted.vault_id)
    assert.deepEqual((await show(child.id)).body.backup, child)
  }
  for (const status of ['pending', 'rejected']) assert.equal((await show(await findReceivedId(status))).body.backup.vault_id, null)
})

test('a receiver does not see where the owner has copied a shared backup to', async () => {
  const id = await findId(`b.project_id = :partner and exists (select 1 from replication_records r where r.backup_id = b.id)
    and exists (select 1 from backup_members m where m.backup_id = b.id and m.dest_project_id = :own)`)
  assert.deepEqual((await show(id)).body.backup.replication_records, [])
})

test('what is unknown and what belongs to others without a share look the same', async () => {
  const foreign = await findId(UNSHARED)
  const foreignChild = await findId(`b.project_id = :partner and b.parent_id is not null
    and not exists (select 1 from backup_members m where m.backup_id = b.parent_id and m.dest_project_id = :own)`)
  for (const id of [UNKNOWN, foreign, foreignChild]) {
    const answer = await show(id)
    assert.deepEqual(codeOf(answer), NOT_FOUND)
    assert.equal(answer.body.error_msg, `The backup ${id} does not exist.`)
    assert.deepEqual(codeOf(await update(id, { backup: { name: 'mine' } })), NOT_FOUND)
    assert.deepEqual(codeOf(await metadata(id)), NOT_FOUND)
  }
})

test('an id that is no UUID is refused, and capitals do not matter', async () => {
  for (const id of ['x', '123', `${UNKNOWN}0`, '%00', encodeURIComponent("' or ''='")]) {
    const answer = await show(id)
    assert.deepEqual(codeOf(answer), INVALID, id)
    assert.match(answer.body.error_msg, /\bbackup_id\b/)
    assert.deepEqual(codeOf(await update(id, { backup: {} })), INVALID, id)
  }
  const id = await findId('b.project_id = :own')
  assert.equal((await show(id.toUpperCase())).body.backup.id, id)
})

test('name and description change, each alone and together', async () => {
  const id = await findId('b.project_id = :own and b.parent_id is null')
  const { backup: original } = (await show(id)).body
  service.clock.advanceSeconds(60)
  const renamed = await update(id, { backup: { name: '升级-before_2' } })
  assert.equal(renamed.status, 200)
  assert.deepEqual(renamed.body.backup, { ...original, name: '升级-before_2', updated_at: renamed.body.backup.updated_at })
  assert.ok(String(renamed.body.backup.updated_at) > String(original.updated_at))
  assert.equal((await update(id, { backup: { description: '' } })).body.backup.description, '')
  const both = await update(id, { backup: { name: 'a'.repeat(64), description: 'ä"\\ 备'.repeat(42) } })
  assert.deepEqual([both.body.backup.name, both.body.backup.description], ['a'.repeat(64), 'ä"\\ 备'.repeat(42)])
  assert.deepEqual((await show(id)).body, both.body)
  const found = await service.call<{ backups: Backup[] }>('GET', `/v3/{project_id}/backups?name=${'a'.repeat(64)}`)
  assert.deepEqual(found.body.backups.map((backup) => backup.id), [id])
})

test('an update that names nothing changes nothing', async () => {
  const id = await findId('b.project_id = :own and b.parent_id is null')
  const { body } = await show(id)
  service.clock.advanceSeconds(60)
  for (const nothing of [{}, { backup: {} }, { backup: { name: null, description: null } }, { backup: null }, { colour: 'blue' }]) {
    const answer = await update(id, nothing)
    assert.deepEqual([answer.status, answer.body], [200, body], JSON.stringify(nothing))
  }
})

test('bad names, descriptions and bodies are refused and change nothing', async () => {
  const id = await findId('b.project_id = :own and b.parent_id is null')
  const { body } = await show(id)
  const bad: readonly [unknown, RegExp][] = [
    [{ backup: { name: '' } }, /\bbackup\.name\b/],
    [{ backup: { name: 'a'.repeat(65) } }, /\bbackup\.name\b/],
    [{ backup: { name: 'two words' } }, /\bbackup\.name\b/],
    [{ backup: { name: 'a<b' } }, /\bbackup\.name\b/],
    [{ backup: { name: 'line\n' } }, /\bbackup\.name\b/],
    [{ backup: { name: 7 } }, /\bbackup\.name\b/],
    [{ backup: { name: ['a'] } }, /\bbackup\.name\b/],
    [{ backup: { description: 'a'.repeat(256) } }, /\bbackup\.description\b/],
    [{ backup: { description: '<b>' } }, /\bbackup\.description\b/],
    [{ backup: { name: 'good', description: 1 } }, /\bbackup\.description\b/],
    [{ backup: 'name' }, /\bbackup\b/],
    [{ backup: [] }, /\bbackup\b/],
    [[], /\bbody\b/],
    ['', /\bbody\b/],
    ['{"backup"', /\bbody\b/],
  ]
  for (const [change, field] of bad) {
    const answer = await update(id, change)
    assert.deepEqual(codeOf(answer), INVALID, JSON.stringify(change))
    assert.match(answer.body.error_msg, field)
  }
  assert.deepEqual((await show(id)).body, body)
})

test('only the owner renames a shared backup', async () => {
  const id = await findReceivedId('accepted')
  const { body } = await show(id)
  assert.deepEqual(codeOf(await update(id, { backup: { name: 'mine' } })), NOT_FOUND)
  assert.deepEqual((await show(id)).body, body)
})

test('metadata describe the source, and only of an available backup', async () => {
  const server = await findId("b.project_id = :own and b.resource_type = 'OS::Nova::Server' and b.status = 'available'")
  const { status, body } = await metadata(server)
  assert.equal(status, 200)
  const { children, ...backup } = (await show(server)).body.backup
  assert.equal(body.backup_id, server)
  assert.deepEqual(JSON.parse(body.backups), { ...backup, children: [], replication_records: [] })
  assert.deepEqual(JSON.parse(body.server), { id: backup.resource_id, name: backup.resource_name })
  assert.deepEqual(
    body.volumes.map((volume) => JSON.parse(volume) as unknown),
    (children as Backup[]).map((child) => ({
      id: child.resource_id, name: child.resource_name, size: child.resource_size, bootable: String(child.extend_info.bootable),
    })),
  )
  const disk = (await metadata(await findId("b.project_id = :own and b.resource_type = 'OS::Cinder::Volume' and b.parent_id is null and b.status = 'available'"))).body
  assert.equal(disk.volumes.length, 1)
  const tree = (await metadata(await findId("b.project_id = :own and b.resource_type = 'OS::Sfs::Turbo' and b.status = 'available'"))).body
  assert.deepEqual([tree.server, tree.flavor, tree.volumes, tree.interface], ['{}', '{}', [], '[]'])
  for (const state of ['error', 'protecting', 'waiting_protect', 'restoring', 'waiting_restore', 'deleting', 'waiting_delete']) {
    assert.deepEqual(codeOf(await metadata(await findId(`b.project_id = :own and b.status = '${state}'`))), [400, 'BackupService.6206'], state)
  }
})
