/**
 * Drives a server with the core of the Huawei Cloud SDK v3 for Node.js: its client signs and sends, the requests are
 * plain, since the registry has no package for this service. The only argument is the folder that the core is
 * installed in. The last line of standard output is a report.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(join(process.argv[2], 'package.json'))
const { BasicCredentials, Region } = require('@huaweicloud/huaweicloud-sdk-core')
// The packages of services reach it like this too.
const { ClientBuilder } = require('@huaweicloud/huaweicloud-sdk-core/ClientBuilder')

const told = (name) => process.env[`OPENCBR_TEST_${name}`]
const url = told('URL')

function credentialsOf(which) {
  return new BasicCredentials().withAk(told(`${which}_ACCESS_KEY`)).withSk(told(`${which}_SECRET_KEY`))
}

/** A call of a client: the answer's body, with `httpStatusCode` among its members. */
function callerOf(client) {
  return (method, path, { query = {}, body, parameters = {} } = {}) => client.sendRequest({
    method, url: `/v3/{project_id}/${path}`, contentType: 'application/json', queryParams: query, pathParams: parameters, headers: {},
    ...(body === undefined ? {} : { data: body }),
  })
}

const builder = () => new ClientBuilder((client) => client)
// The first project is found by the region's name in the identity API, the second one is told.
const call = callerOf(builder().withCredential(credentialsOf('FIRST').withIamEndpoint(url)).withRegion(new Region(told('REGION'), url)).build())
const other = callerOf(builder().withCredential(credentialsOf('SECOND').withProjectId(told('SECOND_PROJECT_ID'))).withEndpoint(url).build())

async function refused(asked, status, code) {
  await assert.rejects(asked, (error) => {
    assert.deepEqual([error.httpStatusCode, error.errorCode], [status, code], JSON.stringify(error))
    return true
  })
}

async function until(what, look) {
  for (let turn = 0; turn < 600; turn += 1) {
    const found = await look()
    if (found !== undefined) return found
    await sleep(100)
  }
  throw new Error(`waited in vain: ${what}`)
}

const taskEnd = (id) => until(`task ${id}`, async () => {
  const { operation_log: task } = await call('GET', `operation-logs/${id}`)
  return task.status === 'waiting' || task.status === 'running' ? undefined : task
})

async function newVault(by, name, more = {}) {
  const billing = { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }
  return (await by('POST', 'vaults', { body: { vault: { name, billing, resources: [], ...more } } })).vault
}

const names = ({ backups }) => backups.map((each) => each.name)
const resourceId = told('RESOURCE_ID')

const vault = await newVault(call, '仓库', { tags: [{ key: 'team', value: 'a b&c\'d!(é)' }] })
assert.deepEqual([vault.name, vault.project_id], ['仓库', told('FIRST_PROJECT_ID')])
const spare = await newVault(call, 'spare')
await call('POST', `vaults/${vault.id}/addresources`, { body: { resources: [{ id: resourceId, type: 'OS::Sfs::Turbo' }] } })
await call('PUT', `vaults/${vault.id}`, { body: { vault: { name: '仓库_2', billing: { size: 20 } } } })
const shown = await call('GET', `vaults/${vault.id}`)
assert.deepEqual([shown.httpStatusCode, shown.vault.name, shown.vault.billing.size, shown.vault.resources[0].id], [200, '仓库_2', 20, resourceId])
assert.equal((await call('GET', 'vaults', { query: { name: '仓库_2', limit: 1 } })).count, 1)
assert.deepEqual((await call('GET', 'vaults', { query: { limit: 1, offset: 2 } })).vaults, [])
assert.equal((await call('GET', 'vaults', { query: { id: [vault.id, spare.id] } })).count, 2)

await call('POST', `vault/${vault.id}/tags`, { body: { tag: { key: 'stage', value: 'live' } } })
await call('DELETE', `vault/${vault.id}/tags/{key}`, { parameters: { key: 'team' } })
assert.deepEqual((await call('GET', `vault/${vault.id}/tags`)).tags, [{ key: 'stage', value: 'live' }])
const found = await call('POST', 'vault/resource_instances/action', { body: { action: 'filter', tags: [{ key: 'stage', values: ['live'] }] } })
assert.deepEqual(found.resources.map((each) => each.resource_id), [vault.id])

const pattern = ['FREQ=WEEKLY;BYDAY=SA;BYHOUR=23;BYMINUTE=30']
const { policy } = await call('POST', 'policies', {
  body: { policy: { name: 'weekly', operation_type: 'backup', operation_definition: { max_backups: 5 }, trigger: { properties: { pattern } } } },
})
await call('POST', `vaults/${vault.id}/associatepolicy`, { body: { policy_id: policy.id } })
const bound = (await call('GET', 'policies', { query: { vault_id: vault.id } })).policies
assert.deepEqual(bound.map((each) => [each.id, each.trigger.properties.pattern]), [[policy.id, pattern]])
await call('PUT', `policies/${policy.id}`, { body: { policy: { enabled: false } } })
await call('POST', `vaults/${vault.id}/dissociatepolicy`, { body: { policy_id: policy.id } })
await call('DELETE', `policies/${policy.id}`)
await refused(call('GET', `policies/${policy.id}`), 404, 'BackupService.6000')

for (const name of ['run-1', 'run-2']) {
  const { checkpoint } = await call('POST', 'checkpoints', { body: { checkpoint: { vault_id: vault.id, parameters: { name } } } })
  const { operation_logs: tasks } = await call('GET', 'operation-logs', { query: { vault_id: vault.id, operation_type: 'backup' } })
  for (const { id } of tasks.filter((each) => each.checkpoint_id === checkpoint.id)) assert.equal((await taskEnd(id)).status, 'success')
  assert.equal((await call('GET', `checkpoints/${checkpoint.id}`)).checkpoint.status, 'available')
}
const listed = await call('GET', 'backups', { query: { vault_id: vault.id, status: 'available', sort: 'name:asc' } })
assert.deepEqual(names(listed), ['run-1', 'run-2'])
const [first, second] = listed.backups
assert.deepEqual(names(await call('GET', 'backups', { query: { sort: 'name:asc', limit: 1, marker: first.id } })), ['run-2'])
assert.deepEqual(names(await call('GET', 'backups', { query: { limit: 1, offset: 2 } })), [])
assert.deepEqual(names(await call('GET', 'backups', { query: { checkpoint_id: first.checkpoint_id } })), ['run-1'])

const destination = join(told('WORK'), 'restored')
mkdirSync(destination)
const restore = await call('POST', `backups/${second.id}/restore`, { body: { restore: { resource_id: resourceId, details: { destination_path: destination } } } })
assert.deepEqual([restore.httpStatusCode, (await taskEnd(restore.job_id)).status], [202, 'success'])

const receiver = told('SECOND_PROJECT_ID')
await call('POST', `backups/${second.id}/members`, { body: { members: [receiver] } })
const received = await newVault(other, 'received')
const { member } = await other('PUT', `backups/${second.id}/members/${receiver}`, { body: { status: 'accepted', vault_id: received.id } })
assert.equal(member.status, 'accepted')
assert.deepEqual(names(await other('GET', 'backups', { query: { own_type: 'shared' } })), ['run-2'])
await refused(other('GET', `backups/${first.id}`), 404, 'BackupService.6200')
await call('DELETE', `backups/${second.id}/members/${receiver}`)
await other('DELETE', `vaults/${received.id}`)

const wrong = new BasicCredentials().withAk(told('FIRST_ACCESS_KEY')).withSk('x'.repeat(40)).withProjectId(told('FIRST_PROJECT_ID'))
await assert.rejects(callerOf(builder().withCredential(wrong).withEndpoint(url).build())('GET', 'vaults'), (error) => error.httpStatusCode === 401)
await call('DELETE', `backups/${first.id}`)
await until('a deleted backup', async () => ((await call('GET', 'backups')).count === 1 ? true : undefined))
await call('DELETE', `vaults/${spare.id}`)
await until('a deleted vault', async () => ((await call('GET', 'vaults')).count === 1 ? true : undefined))
await refused(call('GET', `vaults/${spare.id}`), 404, 'BackupService.6105')
console.log(JSON.stringify({ vault_id: vault.id, backup_id: second.id, restored: destination }))
