import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openRests } from './write-manifests.ts'

test('a place rests nineteen times as long as its writing took, and others do not', async () => {
  let nowMs = 1000
  const rests = openRests(() => nowMs)
  await rests.after('large', async () => {
    nowMs += 100
  })
  await rests.after('small', async () => {})
  assert.deepEqual([rests.isResting('large'), rests.isResting('small'), rests.isResting('new')], [true, false, false])
  nowMs += 1899
  assert.equal(rests.isResting('large'), true)
  nowMs += 1
  assert.equal(rests.isResting('large'), false)
})

test('what could not be written does not rest', async () => {
  let nowMs = 0
  const rests = openRests(() => nowMs)
  await assert.rejects(rests.after('large', async () => {
    nowMs += 100
    throw new Error('the storage is away')
  }))
  assert.equal(rests.isResting('large'), false)
})
