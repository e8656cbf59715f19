import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createJobWatch } from './job-watch.ts'

const none: ReadonlySet<string> = new Set()

test('a job that shows signs is left alone, one that shows none is told to stop once, and then its process dies', () => {
  const watch = createJobWatch({ quietTicksMax: 3, stopTicksMax: 2 })
  const look = (signs: number) => watch.look([{ jobId: 'busy', signs }, { jobId: 'quiet', signs: 7 }], none)
  const seen = Array.from({ length: 7 }, (_, tick) => look(tick))
  assert.deepEqual(seen.map((each) => each.stop), [[], [], ['quiet'], [], [], [], []])
  assert.deepEqual(seen.map((each) => each.kill), [false, false, false, false, false, true, true])
  assert.equal(watch.reasonOf('quiet'), 'stuck')
  assert.equal(watch.reasonOf('busy'), undefined)
})

test('a cancelled job is told to stop at once, whatever it shows', () => {
  const watch = createJobWatch({ quietTicksMax: 100, stopTicksMax: 1 })
  assert.deepEqual(watch.look([{ jobId: 'a', signs: 0 }], new Set(['a'])), { stop: ['a'], kill: false })
  assert.equal(watch.reasonOf('a'), 'cancelled')
  assert.deepEqual(watch.look([{ jobId: 'a', signs: 9 }], new Set(['a'])), { stop: [], kill: false })
  assert.deepEqual(watch.look([{ jobId: 'a', signs: 10 }], new Set(['a'])), { stop: [], kill: true })
})

test('no job is given up that moves at least once in the time allowed, however the process reports', () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 9 }), fc.array(fc.boolean(), { maxLength: 60 }), (quietTicksMax, moves) => {
    const watch = createJobWatch({ quietTicksMax, stopTicksMax: 1 })
    let [signs, quiet, longestQuiet, stopped] = [0, 0, 0, false]
    // The first look only learns where the job stands.
    watch.look([{ jobId: 'a', signs }], none)
    quiet = 1
    for (const moved of moves) {
      signs += moved ? 1 : 0
      quiet = moved ? 0 : quiet + 1
      longestQuiet = Math.max(longestQuiet, quiet)
      if (watch.look([{ jobId: 'a', signs }], none).stop.length > 0) stopped = true
    }
    assert.equal(stopped, longestQuiet >= quietTicksMax)
  }))
})
