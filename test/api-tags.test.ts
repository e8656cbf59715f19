import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { FindVaultsByTagsBody, Vault } from '@opencbr/contract'
import { matchesTags, parseTagFilter } from '@opencbr/server'
import { startTestService, type TestService } from '@opencbr/testkit'
import * as fc from 'fast-check'

const VAULT = '/v3/{project_id}/vault'

type Tags = Readonly<Record<string, string>>
interface Found { readonly resources?: readonly { readonly resource_id: string, readonly resource_name: string, readonly resource_detail: { vault: Vault } }[], readonly total_count: number }

async function create(service: TestService, name: string, tags: Tags = {}, more: object = {}): Promise<string> {
  const list = Object.entries(tags).map(([key, value]) => ({ key, value }))
  const answer = await service.call<{ vault: Vault }>('POST', '/v3/{project_id}/vaults', {
    vault: {
      name, resources: [], ...(list.length === 0 ? {} : { tags: list }),
      billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }, ...more,
    },
  })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  service.clock.tick()
  return answer.body.vault.id
}

async function tagsOf(service: TestService, id: string): Promise<Tags> {
  const { status, body } = await service.call<{ tags: { key: string, value: string }[] }>('GET', `${VAULT}/${id}/tags`)
  assert.equal(status, 200)
  return Object.fromEntries(body.tags.map(({ key, value }) => [key, value]))
}

async function send(service: TestService, method: string, path: string, body?: unknown, status = 204): Promise<void> {
  const answer = await service.call(method, VAULT + path, body)
  assert.equal(answer.status, status, JSON.stringify(answer.body))
  assert.equal(answer.body, undefined)
}

async function refused(service: TestService, code: string, method: string, path: string, body: unknown, text: RegExp = /./): Promise<void> {
  const answer = await service.call<{ error_code: string, error_msg: string }>(method, VAULT + path, body)
  const what = `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`
  assert.equal(answer.body?.error_code, `BackupService.${code}`, what)
  assert.equal(answer.status, ['6105', '6601'].includes(code) ? 404 : 400, what)
  assert.match(answer.body.error_msg, text)
}

async function find(service: TestService, body: object): Promise<string[]> {
  const answer = await service.call<Found>('POST', `${VAULT}/resource_instances/action`, { action: 'filter', ...body })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  const names = (answer.body.resources ?? []).map((each) => each.resource_name)
  const counted = await service.call<Found>('POST', `${VAULT}/resource_instances/action`, { action: 'count', ...body })
  assert.deepEqual(counted.body, { total_count: answer.body.total_count })
  return names
}

test('tags are set, overwritten and deleted, one by one and together', async () => {
  await using service = await startTestService({ agent: 'none' })
  const id = await create(service, 'docs', { team: 'web' })
  await send(service, 'POST', `/${id}/tags`, { tag: { key: '  stage ', value: ' prod ' } })
  await send(service, 'POST', `/${id}/tags`, { tag: { key: 'team' } })
  assert.deepEqual(await tagsOf(service, id), { stage: 'prod', team: '' })
  const shown = await service.call<{ vault: Vault }>('GET', `/v3/{project_id}/vaults/${id}`)
  assert.deepEqual(shown.body.vault.tags, [{ key: 'stage', value: 'prod' }, { key: 'team', value: '' }])
  await send(service, 'POST', `/${id}/tags/action`, { action: 'create', tags: [{ key: 'team', value: 'db' }, { key: '中文', value: null }] })
  assert.deepEqual(await tagsOf(service, id), { 'stage': 'prod', 'team': 'db', '中文': '' })
  await send(service, 'POST', `/${id}/tags/action`, {
    action: 'delete', tags: [{ key: 'team', value: 'whatever' }, { key: ' team ' }, { key: 'un=known*'.padEnd(127, 'x'), value: 'y'.repeat(255) }],
  })
  await send(service, 'DELETE', `/${id}/tags/${encodeURIComponent(' 中文 ')}`)
  assert.deepEqual(await tagsOf(service, id), { stage: 'prod' })
  await refused(service, '6601', 'DELETE', `/${id}/tags/team`, undefined, /team/)
  await refused(service, '6601', 'DELETE', `/${id}/tags/${encodeURIComponent('a/b=*')}`, undefined)
  assert.deepEqual(await tagsOf(service, id), { stage: 'prod' })
})

test('bad tags are refused with their codes and change nothing', async () => {
  await using service = await startTestService({ agent: 'none' })
  const id = await create(service, 'docs', { team: 'web' })
  const gone = randomUUID()
  const tag = { key: 'a', value: 'b' }
  const bad: [string, string, string, unknown, RegExp][] = [
    ['9900', 'GET', '/nonsense/tags', undefined, /Invalid vault_id provided/], ['6105', 'GET', `/${gone}/tags`, undefined, /./],
    ['6105', 'POST', `/${gone}/tags`, { tag }, /./], ['6105', 'POST', `/${gone}/tags/action`, { action: 'create', tags: [tag] }, /./],
    ['6105', 'DELETE', `/${gone}/tags/a`, undefined, /./], ['9900', 'POST', `/${id}/tags`, {}, /tag/],
    ['9900', 'POST', `/${id}/tags`, { tag: { key: ' ' } }, /tag\.key/], ['9900', 'POST', `/${id}/tags`, { tag: { key: 'k'.repeat(37) } }, /tag\.key/],
    ['9900', 'POST', `/${id}/tags`, { tag: { key: 'k', value: 'v'.repeat(44) } }, /tag\.value/], ['9900', 'POST', `/${id}/tags`, { tag: { key: 'a=b' } }, /tag\.key/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'create' }, /tags/], ['9900', 'POST', `/${id}/tags/action`, { action: 'create', tags: [] }, /tags/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'set', tags: [tag] }, /action/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'create', tags: [tag, { key: ' a ' }] }, /tags\.1\.key.*twice/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'create', tags: [{ key: 'x' }, { key: 'a*b' }] }, /tags\.1\.key/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'create', tags: [{ key: 'x', value: 'a,b' }] }, /tags\.0\.value/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'delete', tags: [{ key: 'k'.repeat(128) }] }, /tags/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'delete', tags: Array.from({ length: 21 }, (_, n) => ({ key: `k${n}` })) }, /at most 20/],
    ['9900', 'POST', `/${id}/tags/action`, { action: 'create', sys_tags: [{ key: '_sys_enterprise_project_id', value: '0' }] }, /sys_tags/],
    ['6600', 'POST', `/${id}/tags/action`, { action: 'create', tags: Array.from({ length: 20 }, (_, n) => ({ key: `k${n}` })) }, /20/],
    ['6600', 'POST', `/${id}/tags/action`, { action: 'create', tags: Array.from({ length: 21 }, (_, n) => ({ key: `k${n}` })) }, /20/],
  ]
  for (const [code, method, path, body, text] of bad) await refused(service, code, method, path, body, text)
  assert.deepEqual(await tagsOf(service, id), { team: 'web' })
  await send(service, 'POST', `/${id}/tags/action`, { action: 'create', tags: Array.from({ length: 19 }, (_, n) => ({ key: `k${n}` })) })
  await refused(service, '6600', 'POST', `/${id}/tags`, { tag })
  await send(service, 'POST', `/${id}/tags`, { tag: { key: 'k3', value: 'overwritten at the limit' } })
})

test('two calls at once cannot pass the limit together', async () => {
  await using service = await startTestService({ agent: 'none' })
  const id = await create(service, 'docs', Object.fromEntries(Array.from({ length: 18 }, (_, n) => [`k${n}`, ''])))
  const answers = await Promise.all(Array.from({ length: 6 }, (_, n) => service.call('POST', `${VAULT}/${id}/tags`, { tag: { key: `new${n}` } })))
  assert.deepEqual(answers.map((each) => each.status).toSorted(), [204, 204, 400, 400, 400, 400])
  assert.equal(Object.keys(await tagsOf(service, id)).length, 20)
})

test('the tags of a project are its keys with all their values', async () => {
  await using service = await startTestService({ agent: 'none' })
  const list = async () => (await service.call<{ tags: unknown }>('GET', `${VAULT}/tags`)).body.tags
  assert.deepEqual(await list(), [])
  await create(service, 'a', { team: 'web', stage: 'prod' })
  await create(service, 'b', { team: 'db', stage: 'prod' })
  await create(service, 'c', { team: 'web' })
  assert.deepEqual(await list(), [{ key: 'stage', values: ['prod'] }, { key: 'team', values: ['db', 'web'] }])
})

test('vaults are found by tags, with pages as texts or numbers', async () => {
  await using service = await startTestService({ agent: 'none' })
  await create(service, 'web-1', { team: 'web', stage: 'prod' })
  await create(service, 'web-2', { team: 'web', stage: 'test' })
  await create(service, 'Web-3', { team: 'Web' }, { enterprise_project_id: '7' })
  await create(service, 'bare')
  const disk = { billing: { consistent_level: 'crash_consistent', object_type: 'disk', protect_type: 'backup', size: 10 } }
  await create(service, 'disk', { team: 'database' }, disk)
  const cases: [object, string[]][] = [
    [{}, ['disk', 'bare', 'Web-3', 'web-2', 'web-1']],
    [{ tags: [{ key: 'team', values: [] }] }, ['disk', 'Web-3', 'web-2', 'web-1']],
    [{ tags: [{ key: ' team ', values: [' web '] }, { key: 'stage', values: ['prod', 'x'] }] }, ['web-1']],
    [{ tags: [{ key: 'team', values: ['*eb'] }] }, ['Web-3', 'web-2', 'web-1']],
    [{ tags: [{ key: 'team', values: ['*atab', 'Web'] }] }, ['disk', 'Web-3']],
    [{ tags_any: [{ key: 'stage', values: ['prod'] }, { key: 'team', values: ['database'] }] }, ['disk', 'web-1']],
    [{ not_tags: [{ key: 'team', values: [] }, { key: 'stage', values: [] }] }, ['disk', 'bare', 'Web-3']],
    [{ not_tags_any: [{ key: 'team', values: ['web'] }, { key: 'stage', values: [] }] }, ['disk', 'bare', 'Web-3']],
    [{ tags: [{ key: 'team', values: [] }], not_tags_any: [{ key: 'stage', values: [] }] }, ['disk', 'Web-3']],
    [{ without_any_tag: true, tags: [{ key: 'team', values: [] }] }, ['bare']],
    [{ matches: [{ key: 'resource_name', value: 'web' }] }, ['web-2', 'web-1']],
    [{ matches: [{ key: 'resource_name', value: '' }] }, []],
    [{ matches: [{ key: 'resource_name', value: '%' }] }, []],
    [{ object_type: 'disk' }, ['disk']], [{ cloud_type: 'hybrid' }, []],
    [{ sys_tags: [{ key: '_sys_enterprise_project_id', values: ['7'] }] }, ['Web-3']],
  ]
  for (const [body, names] of cases) assert.deepEqual(await find(service, body), names, JSON.stringify(body))
  assert.deepEqual(await find(service, { limit: '2' }), ['disk', 'bare'])
  assert.deepEqual(await find(service, { limit: 2, offset: '2' }), ['Web-3', 'web-2'])
  assert.deepEqual(await find(service, { offset: '5', limit: '5000' }), [])
  const { body } = await service.call<Found>('POST', `${VAULT}/resource_instances/action?enterprise_project_id=7`, { action: 'filter' })
  assert.equal(body.total_count, 1)
  assert.equal(body.resources?.[0]?.resource_detail.vault.name, 'Web-3')
  const bad: [object, RegExp][] = [
    [{ action: 'list' }, /action/], [{ action: 'filter', limit: '0' }, /limit/], [{ action: 'filter', limit: 'many' }, /limit/], [{ action: 'filter', offset: -1 }, /offset/],
    [{ action: 'filter', tags: [{ key: 'a', values: ['*'] }] }, /tags\.0\.values\.0/], [{ action: 'filter', tags: [{ key: 'a', values: [] }, { key: ' a', values: [] }] }, /tags\.1\.key/],
    [{ action: 'filter', not_tags: [{ key: ' ', values: [] }] }, /not_tags\.0\.key/], [{ action: 'filter', tags: [] }, /tags/], [{ action: 'filter', tags: [{ key: 'a' }] }, /tags\.0\.values/],
    [{ action: 'count', tags_any: Array.from({ length: 21 }, (_, n) => ({ key: `k${n}`, values: [] })) }, /tags_any/],
    [{ action: 'filter', matches: [{ key: 'name', value: 'x' }] }, /matches\.0\.key/], [{ action: 'filter', sys_tags: [{ key: 'x', values: [] }] }, /sys_tags\.0\.key/],
    [{ action: 'filter', sys_tags: [], tags: [{ key: 'a', values: [] }] }, /tags/],
  ]
  for (const [wrong, text] of bad) await refused(service, '9900', 'POST', '/resource_instances/action', wrong, text)
})

const KEYS = ['a', 'b', 'c'] as const
const VALUES = ['', 'x', 'X', 'xy', 'y%'] as const
const wanted = fc.uniqueArray(fc.record({
  key: fc.constantFrom(...KEYS, 'd'),
  values: fc.array(fc.oneof(fc.constantFrom(...VALUES), fc.constantFrom('*x', '*y', '*%')), { maxLength: 2 }),
}), { selector: ({ key }) => key, minLength: 1, maxLength: 3 })
const lists = fc.record({ tags: wanted, tags_any: wanted, not_tags: wanted, not_tags_any: wanted, without_any_tag: fc.boolean() }, { requiredKeys: [] })

test('the database finds what the rules say, for any tags and any filter', async () => {
  await using service = await startTestService({ agent: 'none' })
  const combinations: Tags[] = [{}]
  for (const key of KEYS) combinations.push(...combinations.flatMap((each) => VALUES.map((value) => ({ ...each, [key]: value }))).slice(0, 25))
  const { db } = service.service.deps
  const first = await create(service, 'v0')
  const row = await db.selectFrom('vaults').selectAll().where('id', '=', first as never).executeTakeFirstOrThrow()
  for (const [n, tags] of combinations.entries()) {
    if (n === 0) continue
    const id = randomUUID() as typeof row.id
    await db.insertInto('vaults').values({ ...row, id, name: `v${n}`, created_at: row.created_at - n }).execute()
    const list = Object.entries(tags).map(([key, value]) => ({ vault_id: id, key, value }))
    await db.insertInto('vault_tags').values(list).execute()
  }
  await fc.assert(fc.asyncProperty(lists, async (filter) => {
    const rules = parseTagFilter({ action: 'filter', ...filter } as FindVaultsByTagsBody)
    const expected = combinations.flatMap((tags, n) => matchesTags(new Map(Object.entries(tags)), rules) ? [`v${n}`] : [])
    const { body } = await service.call<Found>('POST', `${VAULT}/resource_instances/action`, { action: 'filter', ...filter })
    assert.deepEqual(body.resources?.map((each) => each.resource_name), expected)
  }), { numRuns: 150 })
})
