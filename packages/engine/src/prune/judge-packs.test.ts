import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgePacks } from './judge-packs.ts'
import type { PackUse, PackVerdict } from './judge-packs.ts'

const LARGE = 16_000
const options = { maxUnusedPercent: 5, smallPackBytes: 640 }

interface NamedPack extends PackUse {
  readonly name: string
}

function pack(name: string, kind: PackUse['kind'], usedBytes: number, unusedBytes: number): NamedPack {
  return { name, kind, usedBytes, unusedBytes }
}

function judge(packs: readonly NamedPack[], maxUnusedPercent = options.maxUnusedPercent): Record<string, PackVerdict> {
  const verdicts = judgePacks(packs, { ...options, maxUnusedPercent })
  assert.equal(verdicts.size, packs.length)
  return Object.fromEntries(Array.from(verdicts, ([{ name }, verdict]) => [name, verdict]))
}

test('a pack of which nothing is needed goes, one of which all is needed stays', () => {
  assert.deepEqual(judge([pack('needed', 'data', LARGE, 0), pack('unneeded', 'data', 0, LARGE), pack('empty', 'data', 0, 0)]), {
    needed: 'keep', unneeded: 'remove', empty: 'remove',
  })
})

test('a pack of trees is rewritten as soon as one is not needed, and a mixed one in any case', () => {
  const packs = [pack('much', 'data', 1_000_000, 0), pack('trees', 'tree', LARGE, 1), pack('mixed', 'mixed', LARGE, 0)]
  assert.deepEqual(judge(packs, 100), { much: 'keep', trees: 'repack', mixed: 'repack' })
})

test('packs of data are rewritten until little enough is unneeded, the emptiest first', () => {
  const packs = [
    pack('whole', 'data', 10 * LARGE, 0), pack('full', 'data', 0.9 * LARGE, 0.1 * LARGE), pack('half', 'data', 0.5 * LARGE, 0.5 * LARGE),
    pack('empty', 'data', 0.1 * LARGE, 0.9 * LARGE),
  ]
  // 11.5 are needed and 1.5 not: 11.5 % of all. Without the emptiest 0.6 remain, which are 5 %, and without two 0.1.
  assert.deepEqual(judge(packs, 12), { whole: 'keep', full: 'keep', half: 'keep', empty: 'keep' })
  assert.deepEqual(judge(packs, 6), { whole: 'keep', full: 'keep', half: 'keep', empty: 'repack' })
  assert.deepEqual(judge(packs, 2), { whole: 'keep', full: 'keep', half: 'repack', empty: 'repack' })
  assert.deepEqual(judge(packs, 0), { whole: 'keep', full: 'repack', half: 'repack', empty: 'repack' })
  assert.deepEqual(judge(packs, 100), { whole: 'keep', full: 'keep', half: 'keep', empty: 'keep' })
})

test('what is removed does not count as unneeded any more', () => {
  const packs = [pack('gone', 'data', 0, 100 * LARGE), pack('nearly full', 'data', 0.96 * LARGE, 0.04 * LARGE)]
  assert.deepEqual(judge(packs), { gone: 'remove', 'nearly full': 'keep' })
})

test('small packs are put together from ten on, and rewritten at once when something in them is not needed', () => {
  const whole = (count: number) => Array.from({ length: count }, (_, at) => pack(`small ${at}`, at % 2 === 0 ? 'data' : 'tree', 500, 0))
  const large = pack('large', 'data', 1_000_000, 0)
  assert.deepEqual(new Set(Object.values(judge([...whole(9), large]))), new Set(['keep']))
  const ten = judge([...whole(10), large])
  assert.equal(ten.large, 'keep')
  assert.equal(Object.values(ten).filter((verdict) => verdict === 'repack').length, 10)
  assert.deepEqual(judge([pack('small', 'data', 500, 1), large]), { small: 'repack', large: 'keep' })
})
