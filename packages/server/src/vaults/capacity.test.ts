import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { judgeRoom } from './capacity.ts'

const GB = 1024 ** 3
type Case = Parameters<typeof judgeRoom>[0]

function vaultOf(sizeGb: number, usedBytes: number, more: Partial<Case> = {}): Case {
  return { id: 'v' as Case['id'], size_gb: sizeGb, used_bytes: usedBytes, shared_bytes: 0, auto_expand: 0, demand_billing: 0, ...more }
}

function judge(vault: Case, neededBytes: number, measured: boolean, othersBytes = 0, writersPerVault = 1) {
  return judgeRoom(vault, { request: { neededBytes, measured }, othersBytes, writersPerVault })
}

test('what fits is granted all the room there is, or a share of it where there may be others', () => {
  assert.deepEqual(judge(vaultOf(10, 4 * GB), GB, false), { answer: { kind: 'granted', bytes: 6 * GB }, reservedBytes: 6 * GB })
  assert.deepEqual(judge(vaultOf(10, 4 * GB), 2 * GB, false, 0, 2), { answer: { kind: 'granted', bytes: 4 * GB }, reservedBytes: 4 * GB })
  assert.deepEqual(judge(vaultOf(10, 4 * GB), 6 * GB, true).answer, { kind: 'granted', bytes: 6 * GB })
})

test('what may not fit is measured; what was measured is refused, or waits when it fits without the others', () => {
  assert.deepEqual(judge(vaultOf(10, 4 * GB), 7 * GB, false).answer, { kind: 'measure', freeBytes: 6 * GB })
  assert.deepEqual(judge(vaultOf(10, 4 * GB), 7 * GB, true).answer, { kind: 'refused', freeBytes: 6 * GB })
  assert.deepEqual(judge(vaultOf(10, 4 * GB), 5 * GB, true, 2 * GB).answer, { kind: 'wait' })
  assert.deepEqual(judge(vaultOf(10, 11 * GB), 0, true).answer, { kind: 'granted', bytes: 0 })
  assert.deepEqual(judge(vaultOf(10, 11 * GB, { demand_billing: 1 }), GB, false).answer, { kind: 'granted', bytes: undefined })
})

test('a vault that grows does so for what was measured, by the rule, unless it was full before', () => {
  const growing = { auto_expand: 1 } as const
  assert.deepEqual(judge(vaultOf(10, 4 * GB, growing), GB, false), { answer: { kind: 'granted', bytes: undefined }, reservedBytes: GB })
  assert.deepEqual(judge(vaultOf(10, 4 * GB, growing), 70 * GB, false).answer, { kind: 'measure', freeBytes: undefined })
  assert.deepEqual(judge(vaultOf(10, 4 * GB, growing), 7 * GB, true), { answer: { kind: 'granted', bytes: undefined }, reservedBytes: 7 * GB, sizeGb: 13 })
  assert.deepEqual(judge(vaultOf(10, 4 * GB, growing), 7 * GB, true, 3 * GB).sizeGb, 17)
  assert.deepEqual(judge(vaultOf(10, 10 * GB, growing), GB, true).answer, { kind: 'refused', freeBytes: 0 })
  assert.deepEqual(judge(vaultOf(10_485_760, 10_485_759 * GB, growing), 2 * GB, true).answer, { kind: 'refused', freeBytes: GB })
})

test('whoever is granted room in whatever order, together they stay within the size', () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 4 }),
    fc.array(fc.record({ needed: fc.integer({ min: 0, max: 12 }), measured: fc.boolean() }), { maxLength: 8 }),
    (sizeGb, usedGb, writers, requests) => {
      let others = 0
      for (const { needed, measured } of requests) {
        const { answer, reservedBytes = 0 } = judge(vaultOf(sizeGb, usedGb * GB), needed * GB, measured, others, writers)
        if (answer.kind !== 'granted') continue
        assert.ok(answer.bytes !== undefined && answer.bytes >= needed * GB && answer.bytes === reservedBytes)
        others += reservedBytes
      }
      assert.ok(usedGb + others / GB <= Math.max(sizeGb, usedGb))
    },
  ))
})
