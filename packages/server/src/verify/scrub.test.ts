import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { nextShare, scrubDueAt, type ScrubShare } from './scrub.ts'

const DAY = 24 * 3600 * 1_000_000
const PLACES = 2 ** 48

function holds({ from, to }: ScrubShare['span'], place: number): boolean {
  return from < to ? place >= from && place < to : place >= from || place < to
}

test('with runs up to twenty minutes late, no place waits longer than its days, and none is read sooner than it must', () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 40 }),
    fc.array(fc.integer({ min: 0, max: PLACES - 1 }), { minLength: 1, maxLength: 20 }),
    fc.array(fc.integer({ min: 0, max: 20 * 60 * 1_000_000 }), { minLength: 90, maxLength: 90 }),
    (everyDays, places, delays) => {
      let state = { position: 0, coveredUntil: 1000 * DAY }
      const readAt = new Map(places.map((place) => [place, [1000 * DAY]]))
      for (const delay of delays) {
        const now = scrubDueAt(state) + delay
        const share = nextShare(state, everyDays, now)
        for (const [place, times] of readAt) if (holds(share.span, place)) times.push(now)
        state = share
      }
      for (const times of readAt.values()) {
        const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0))
        assert.ok(Math.max(...gaps) <= everyDays * DAY, `${Math.max(...gaps) / DAY} days`)
        // The first gap counts from when scrubbing began, and not from a reading.
        for (const gap of gaps.slice(1)) assert.ok(gap >= (everyDays - 1) * (DAY - DAY / 48))
        assert.ok(times.length > 1)
      }
    },
  ), { numRuns: 200 })
})

test('after a long time out everything is read once, and not more than once', () => {
  const share = nextShare({ position: 5, coveredUntil: 0 }, 7, 365 * DAY)
  assert.deepEqual(share, { span: { from: 5, to: 5 }, position: 5, coveredUntil: 366 * DAY })
  assert.ok(holds(share.span, 4) && holds(share.span, 5) && holds(share.span, PLACES - 1))
})

test('after the clock was set back it goes on from where it is', () => {
  const share = nextShare({ position: 7, coveredUntil: 100 * DAY }, 10, 50 * DAY)
  assert.equal(share.coveredUntil, 51 * DAY)
  assert.equal(share.span.from, 7)
  assert.ok(share.span.to - 7 < PLACES / 9)
})
