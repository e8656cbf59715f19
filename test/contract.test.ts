/**
 * Holds the server's own OpenAPI document against the contract's: every path, parameter, required member,
 * enumeration, limit, and member of an answer. What differs on purpose stands in `accepted-differences.ts`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unsupportedOperations } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'
import { ACCEPTED } from './support/accepted-differences.ts'
import { compareOperations, readContract, type DescribedOperation } from './support/contract-differences.ts'

test('the server describes each operation as the contract does, but for what is said here', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { body } = await service.call<{ paths: Record<string, Record<string, DescribedOperation>> }>(
    'GET', '/openapi.json', undefined, { headers: { 'x-auth-token': '' } })
  const here = new Map(Object.values(body.paths).flatMap((methods) => Object.values(methods)).map((each) => [each.operationId, each]))
  const refused = new Set(unsupportedOperations.map((each) => each.operationId))
  const unexpected: string[] = []
  const used = new Set<RegExp>()
  let compared = 0
  for (const operation of readContract()) {
    const described = here.get(operation.operationId)
    assert.ok(described !== undefined, `${operation.operationId} is not described`)
    assert.ok(!refused.has(operation.operationId) || operation.tier !== 'core', `${operation.operationId} belongs to the core`)
    if (refused.has(operation.operationId)) continue
    compared += 1
    for (const difference of compareOperations(operation, described)) {
      const [accepted] = ACCEPTED.find(([pattern]) => pattern.test(difference)) ?? []
      if (accepted === undefined) unexpected.push(difference)
      else used.add(accepted)
    }
  }
  assert.deepEqual(unexpected, [])
  assert.deepEqual(ACCEPTED.filter(([pattern]) => !used.has(pattern)), [], 'these differences are gone')
  assert.ok(compared >= 51, `${compared} operations`)
})
