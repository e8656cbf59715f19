/** Holds docs/api.md, the contract's list of operations and the OpenAPI document against the routes of the server. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { unsupportedOperations } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'
import { readApiRows, renderApiRows } from './support/api-table.ts'

const root = join(import.meta.dirname, '..')

interface Operation {
  readonly operationId: string
  readonly method: string
  readonly path: string
}

interface OpenApi {
  readonly openapi: string
  readonly servers: { readonly url: string }[]
  readonly paths: Record<string, Record<string, {
    readonly operationId: string
    readonly summary: string
    readonly security: unknown[]
    readonly parameters?: { readonly name: string, readonly in: string, readonly required: boolean, readonly schema: Record<string, unknown> }[]
    readonly requestBody?: { readonly content: Record<string, { readonly schema: Record<string, unknown> }> }
    readonly responses: Record<string, { readonly description: string, readonly content?: Record<string, { readonly schema: Record<string, unknown> }> }>
  }>>
}

async function readOpenApi(): Promise<OpenApi> {
  await using service = await startTestService({ agent: 'none' })
  const { body } = await service.call<OpenApi>('GET', '/openapi.json', undefined, { headers: { 'x-auth-token': '' } })
  assert.equal(body.servers[0]?.url, service.url)
  return body
}

function operationsOf(document: OpenApi) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, ...operation })))
}

function compare(found: string[], expected: string[]) {
  return { missing: expected.filter((row) => !found.includes(row)), superfluous: found.filter((row) => !expected.includes(row)) }
}

test('docs/api.md lists exactly the operations of the server', async () => {
  const expected = renderApiRows(await readOpenApi(), unsupportedOperations)
  const found = readApiRows(readFileSync(join(root, 'docs/api.md'), 'utf8'))
  // scripts/write-api-table.ts writes the tables anew.
  const none = { missing: [], superfluous: [] }
  assert.deepEqual(compare(found.answered, expected.answered), none)
  assert.deepEqual(compare(found.refused, expected.refused), none)
})

test('every operation of the contract is answered or refused, at its path', async () => {
  const contract = JSON.parse(readFileSync(join(root, 'packages/contract/test-data/operations.json'), 'utf8')) as Operation[]
  assert.equal(contract.length, 76)
  const registered = new Map(operationsOf(await readOpenApi()).map((each) => [each.operationId, `${each.method} ${each.path}`]))
  for (const { operationId, method, path } of contract) {
    // Its one parameter has three values, which stand as paths of their own.
    if (operationId === 'showApiVersion') continue
    assert.equal(registered.get(operationId), `${method} ${path}`, operationId)
  }
})

test('the OpenAPI document is complete in itself', async () => {
  const document = await readOpenApi()
  assert.equal(document.openapi, '3.1.0')
  const operations = operationsOf(document)
  assert.equal(new Set(operations.map((each) => each.operationId)).size, operations.length)
  for (const { operationId, path, parameters = [], responses, requestBody, method } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    assert.deepEqual(parameters.filter((each) => each.in === 'path').map((each) => each.name), inPath, operationId)
    for (const parameter of parameters) assert.ok(Object.keys(parameter.schema).length > 0, `${operationId} ${parameter.name}`)
    assert.ok(Object.keys(responses).some((status) => status.startsWith('2') || status === '300'), operationId)
    if (method === 'GET') assert.equal(requestBody, undefined)
  }
  const text = JSON.stringify(document)
  assert.ok(!text.includes('"$ref"'), 'schemas stand in place')
  const create = document.paths['/v3/{project_id}/vaults']?.['post']?.requestBody?.content['application/json']?.schema
  assert.deepEqual(create?.['required'], ['vault'])
})

test('what is not supported says so, to those who may know', async () => {
  await using service = await startTestService({ agent: 'none' })
  for (const { operationId, method, path, reason } of unsupportedOperations) {
    const target = path.replace(':project_id', '{project_id}').replaceAll(/:\w+/g, 'x')
    const answer = await service.call<{ error_code: string, error_msg: string }>(method, target)
    assert.equal(answer.status, 400, operationId)
    assert.equal(answer.body.error_code, 'BackupService.9900')
    assert.equal(answer.body.error_msg, `${operationId} is not supported here: ${reason}.`)
    assert.equal((await service.call(method, target, undefined, { headers: { 'x-auth-token': '' } })).status, 401)
  }
})
