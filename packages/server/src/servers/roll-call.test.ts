import assert from 'node:assert/strict'
import { test } from 'node:test'
import { array, assert as holds, boolean, property } from 'fast-check'
import { openRollCall, SILENT_BEATS_MAX } from './roll-call.ts'

test('a server is dead when it was silent for so many beats in a row, and not before', () => {
  holds(property(array(boolean(), { maxLength: 60 }), (signs) => {
    const { look } = openRollCall('mine')
    look([{ run: 'mine', beats: 1 }, { run: 'other', beats: 7 }])
    let beats = 7
    let silent = 0
    for (const sign of signs) {
      beats += sign ? 1 : 0
      silent = sign ? 0 : silent + 1
      assert.deepEqual(look([{ run: 'mine', beats: 1 }, { run: 'other', beats }]), silent >= SILENT_BEATS_MAX ? ['other'] : [])
    }
  }))
})

test('nobody is dead at first sight, nor who has gone and come again, nor oneself', () => {
  const { look } = openRollCall('mine')
  const other = { run: 'other', beats: 3 }
  for (let beat = 0; beat < SILENT_BEATS_MAX; beat += 1) assert.deepEqual(look([{ run: 'mine', beats: 1 }, other]), [])
  assert.deepEqual(look([{ run: 'mine', beats: 1 }]), [])
  assert.deepEqual(look([{ run: 'mine', beats: 1 }, other]), [])
})
