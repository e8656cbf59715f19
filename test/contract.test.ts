/**
 * Holds the server's own OpenAPI document against the contract's: every path, parameter, required member,
 * enumeration, limit, and member of an answer. What differs on purpose stands here with its reason.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unsupportedOperations } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'
import { compareOperations, readContract, type DescribedOperation } from './support/contract-differences.ts'

const ACCEPTED: readonly (readonly [difference: RegExp, reason: string])[] = [
  [/^showApiVersion path api_version: missing/, 'its three values are paths of their own'],
  [/^showV3Version 200\.version: not in/, 'discovery clients of Keystone read the version here'],
  [/ query limit maximum: contract 1000, here none$/, 'a larger limit counts as 1000'],
  [/ query limit type: contract integer string/, 'in a query everything is text'],
  [/listAgent query limit minimum/, 'a page has at least one row'],
  [/\.size (minimum|maximum): contract \d+, here none$/, 'sizes out of range have a code of their own, 6101'],
  [/\.consistent_level enum: contract app_consistent crash_consistent, here {2}app_consistent/, 'the SDK for Go sends an empty text for what is unset'],
  [/ body(\.vault)?\.resources maxItems: contract 256/, 'too many resources have a code of their own, 6100'],
  [/ body(\.vault)?\.tags? maxItems|\.tags?(\[\])?\.(key|value) (minLength|maxLength)/, 'lengths count without the blanks around, and too many tags have a code of their own, 6600'],
  [/\.enterprise_project_id maxLength: contract none, here 64/, 'as long as other ids'],
  [/ body\.resource_ids maxItems: contract none, here 256/, 'a vault holds no more'],
  [/spec_code enum: contract .* here .*vault\.backup\.workspace\.normal/, 'no source names the product for desktops'],
  [/(resource_spec_code|resourceSpecCode) enum/, 'orders are refused whatever they name'],
  [/\.billing\.extra_info: missing|body\.vault\.parameters: missing/, 'an order in a shop: without effect here'],
  [/^createVault 200\.(errText|error_code|orders|retCode): missing/, 'the result of an order; nothing is sold here'],
  [/^(createPostPaidVault|changeVaultChargeMode|changeOrder|updateOrder|copyCheckpoint|importCheckpoint|copyBackup|importBackup) 200: missing/, 'always refused, with the reason'],
  [/^createPostPaidVault body\.vault\.description pattern/, 'the same as for createVault'],
  [/^copyCheckpoint body required/, 'one client wraps the order once more'],
  [/^showMembersDetail query sort pattern/, 'unknown keys are refused by name'],
  [/extra_info\.\w+\.(warnings|warning_count|freed_bytes|pending_bytes|destination_path|interruptions): not in/, 'what happened, in more detail'],
  [/extra_info\.schedule: not in/, 'when a scheduled run was due'],
  [/extra_info\.(replication|sync): missing/, 'tasks of these kinds need a second region or hybrid storage'],
  [/^(checkAgent|registerAgent|addAgentPath|removeAgentPath) body/, 'what is stored is bounded'],
  [/^showVaultResourceInstances body\.(limit|offset) maxLength/, 'digits of a number'],
  [/^(listFeatures|showFeature) 200\.(replication|features)\./, 'which keys there are says listFeatures'],
]

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
