/**
 * No input may give a 5xx, whatever the operation: the test service fails every call that does. Inputs
 * are made from the schemas that the server itself publishes, fitting as well as not.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unsupportedOperations } from '@opencbr/server'
import { startTestService, type TestService } from '@opencbr/testkit'
import * as fc from 'fast-check'

interface Schema {
  readonly type?: string
  readonly properties?: Record<string, Schema>
  readonly items?: Schema
  readonly anyOf?: Schema[]
  readonly enum?: unknown[]
  readonly required?: string[]
  readonly pattern?: string
  readonly minItems?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly const?: unknown
}

interface Operation {
  readonly operationId: string
  readonly method: string
  readonly path: string
  readonly parameters?: { readonly name: string, readonly in: string, readonly schema: Schema }[]
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Schema }> }
}

const SEED = 20_260_115
const RUNS = 60
/** Most bodies that fit the schema of a creation ask for something that is not offered here. */
const RUNS_OF_CREATION = 200

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 300 }), fc.uuid(),
  fc.constantFrom('', ' ', '\0', '%', '%00', '0', '-1', '9'.repeat(30), 'true', '../..', "' or 1=1 --", '__proto__', '\ud800', '备份', '<b>', 'x'.repeat(5000)),
)
const scalar = fc.oneof(text, fc.integer(), fc.double(), fc.boolean(), fc.constant(null), fc.constantFrom(1e300, -0, 2 ** 53, 0.5))
const anything = fc.oneof(scalar, fc.jsonValue({ maxDepth: 3 }))

/** Texts that fit the pattern of a time at random are hardly ever a day that exists. */
const DATE_PATTERN = String.raw`^\d{4}-\d{2}-\d{2}T`
const asInputTime = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`

/** What the schema takes, so that the inside of an operation is reached. */
function fitting(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(fitting))
  if (schema.type === 'object') return recordOf(schema, fitting)
  if (schema.type === 'array') return fc.array(fitting(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: 4 })
  if (schema.type === 'integer') return fc.integer({ min: schema.minimum ?? -2, max: schema.maximum ?? 2000 })
  if (schema.type === 'boolean') return fc.boolean()
  const { pattern, minLength = 0, maxLength = Infinity } = schema
  const fitsLength = (value: string): boolean => value.length >= minLength && value.length <= maxLength
  if (pattern?.startsWith(DATE_PATTERN) === true) return fc.date({ min: new Date(0), max: new Date('2100-01-01T00:00:00Z'), noInvalidDate: true }).map(asInputTime)
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern)).filter(fitsLength)
  return fc.oneof(fc.stringMatching(/^[a-z0-9_-]{1,12}$/), fc.uuid()).filter(fitsLength)
}

function recordOf(schema: Schema, member: (schema: Schema) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const members = Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, each]) => [name, member(each)]))
  return fc.record(members, { requiredKeys: schema.required ?? [] })
}

/** What nearly fits: of the right shape as a whole, with anything at all in some places. */
function nearly(schema: Schema): fc.Arbitrary<unknown> {
  const shaped = schema.type === 'object' ? recordOf(schema, nearly)
    : schema.type === 'array' ? fc.array(nearly(schema.items ?? {}), { maxLength: 4 })
      : fitting(schema)
  return fc.oneof({ weight: 10, arbitrary: shaped }, { weight: 1, arbitrary: anything })
}

const either = (schema: Schema): fc.Arbitrary<unknown> => fc.oneof(fitting(schema), nearly(schema))

async function listOperations(service: TestService): Promise<Operation[]> {
  const { body } = await service.call<{ paths: Record<string, Record<string, Omit<Operation, 'method' | 'path'>>> }>('GET', '/openapi.json')
  return Object.entries(body.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, ...operation })))
}

/** Path, query and body for one call; the project stays the caller's own, and the vault stays. */
function callOf(operation: Operation, vaultId: string): fc.Arbitrary<{ target: string, body: unknown }> {
  const parameters = operation.parameters ?? []
  const known = operation.method === 'DELETE' ? fc.uuid() : fc.constant(vaultId)
  const path = Object.fromEntries(parameters.filter((each) => each.in === 'path' && each.name !== 'project_id').map((each) => [each.name, fc.oneof(
    { weight: 3, arbitrary: each.schema.enum === undefined ? known : fitting(each.schema) }, { weight: 1, arbitrary: text.filter((value) => value !== '') },
  )]))
  const query = { type: 'object', properties: Object.fromEntries(parameters.filter((each) => each.in === 'query').map((each) => [each.name, each.schema])) }
  const schema = operation.requestBody?.content['application/json']?.schema
  const body = schema === undefined ? fc.constant(undefined) : either(schema)
  return fc.record({ path: fc.record(path), query: fc.oneof(recordOf(query, fitting), recordOf(query, nearly)), body }).map((parts) => {
    const target = operation.path.replaceAll(/\{(\w+)\}/g, (whole, name: string) => (name === 'project_id' ? whole : encode(parts.path[name])))
    const pairs = Object.entries(parts.query as object).flatMap(([name, value]) => [value].flat().map((each) => `${name}=${encode(each)}`))
    return { target: pairs.length === 0 ? target : `${target}?${pairs.join('&')}`, body: parts.body === undefined ? undefined : JSON.stringify(parts.body) }
  })
}

function encode(value: unknown): string {
  // A lone half of a surrogate pair cannot be encoded, and no client can send it here.
  return encodeURIComponent(String(typeof value === 'object' ? JSON.stringify(value) : value).toWellFormed())
}

test('no operation answers a 5xx, whatever path, query and body it gets', async () => {
  await using service = await startTestService({ agent: 'none' })
  const billing = { consistent_level: 'crash_consistent', object_type: 'server', protect_type: 'backup', size: 10 }
  const made = await service.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', { vault: { name: 'v', billing, resources: [] } })
  const reached = new Map<string, Set<number>>()
  const unsupported = new Set(unsupportedOperations.map((each) => each.operationId))
  for (const operation of await listOperations(service)) {
    const { operationId, method, parameters = [], requestBody } = operation
    // Revoking the token in use would end the test.
    if (method === 'HEAD' || operationId === 'revokeToken') continue
    const isPlain = unsupported.has(operationId) || (requestBody === undefined && parameters.every((each) => each.name === 'project_id'))
    const numRuns = isPlain ? 3 : operationId === 'createVault' ? RUNS_OF_CREATION : RUNS
    await fc.assert(fc.asyncProperty(callOf(operation, made.body.vault.id), async ({ target, body }) => {
      const { status } = await service.call(method, target, body)
      reached.set(operationId, (reached.get(operationId) ?? new Set()).add(status))
    }), { numRuns, seed: SEED })
  }
  // Else only doors were tried, and never what is behind them.
  for (const operationId of ['listVault', 'createVault', 'showVault', 'updateVault', 'addVaultResource', 'listBackups', 'listOpLogs', 'listProtectable', 'listResources']) {
    assert.deepEqual([...reached.get(operationId) ?? []].filter((status) => status === 200 || status === 400).toSorted(), [200, 400], operationId)
  }
})

test('bodies that are no JSON, or odd as JSON, get 400', async () => {
  await using service = await startTestService({ agent: 'none' })
  const bodies = [
    Buffer.from([0xff, 0xfe, 0x00]), Buffer.from('{"vault":{"name":"\xff"}}', 'latin1'), '{', '"', 'nul', '{"vault":1e999}', `${'['.repeat(100_000)}`,
    `{"vault":${'['.repeat(50_000)}${']'.repeat(50_000)}}`, `${'{"vault":'.repeat(20_000)}1${'}'.repeat(20_000)}`, '{"__proto__":{"vault":{}}}', '{"vault":{"__proto__":null}}',
    '{"constructor":1}', '\u{feff}{}', '{}{}', '// x',
  ]
  for (const body of bodies) {
    const answer = await service.call<{ error_code: string }>('POST', '/v3/{project_id}/vaults', body)
    assert.equal(answer.status, 400, body.toString().slice(0, 50))
    assert.equal(answer.body.error_code, 'BackupService.9900')
  }
  const large = await service.call<{ error_code: string }>('POST', '/v3/{project_id}/vaults', `{"vault":"${'x'.repeat(1024 * 1024)}"}`)
  assert.equal(large.status, 413)
  assert.equal(large.body.error_code, 'APIGW.0201')
})

test('content types and lengths that clients send are no obstacle', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = { name: 'v', billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }, resources: [] }
  const types = ['application/json', 'application/json;charset=utf-8', 'application/json; charset=UTF-8', 'APPLICATION/JSON', 'text/plain', '']
  for (const type of types) {
    const answer = await service.call('POST', '/v3/{project_id}/vaults', new TextEncoder().encode(`${JSON.stringify({ vault })}\n`), { headers: { 'content-type': type } })
    assert.equal(answer.status, 200, type)
  }
  const list = await service.call<{ vaults: { id: string }[] }>('GET', '/v3/{project_id}/vaults/')
  assert.equal(list.body.vaults.length, types.length)
  // The Python SDK sends a JSON type and a length of 0 with a DELETE.
  assert.equal((await service.call('DELETE', `/v3/{project_id}/vaults/${list.body.vaults[0]?.id}`, '')).status, 204)
})
