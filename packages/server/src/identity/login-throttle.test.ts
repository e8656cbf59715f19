import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openLoginThrottle, waitAfter } from './login-throttle.ts'

const MINUTE = 60_000_000

function openTest() {
  let now = 1_000_000_000
  const waits: number[] = []
  const throttle = openLoginThrottle({ clock: { now: () => now }, wait: async (ms) => void waits.push(ms) })
  return {
    waits,
    advance: (micros: number) => { now += micros },
    /** Answers how long the attempt waited, in milliseconds. */
    async attempt(account: string, address: string, succeeds = false): Promise<number> {
      const before = waits.length
      const succeed = await throttle.admit({ account, address })
      if (succeeds) succeed()
      return waits[before] ?? 0
    },
  }
}

test('the wait doubles from a quarter of a second to four seconds and grows no further', () => {
  assert.deepEqual([0, 2, 3, 4, 5, 6, 7, 8, 1000].map(waitAfter), [0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000])
})

test('guessing at one account is slowed from whatever address, and at many accounts from one address', async () => {
  const one = openTest()
  for (let address = 0; address < 20; address += 1) await one.attempt('victim', String(address))
  assert.equal(await one.attempt('victim', 'new'), 4000)
  assert.equal(await one.attempt('somebody', 'another'), 0)
  const other = openTest()
  for (let account = 0; account < 20; account += 1) await other.attempt(String(account), 'here')
  assert.equal(await other.attempt('new', 'here'), 4000)
})

test('the owner is not slowed by others where a login has succeeded before, and gets in everywhere', async () => {
  const { attempt } = openTest()
  await attempt('owner', 'home', true)
  for (let count = 0; count < 50; count += 1) await attempt('owner', 'elsewhere')
  assert.equal(await attempt('owner', 'home', true), 0)
  assert.equal(await attempt('owner', 'abroad', true), 4000)
  assert.equal(await attempt('owner', 'abroad', true), 0, 'it has succeeded from there now')
})

test('many attempts at once count each other', async () => {
  const { attempt, waits } = openTest()
  await Promise.all(Array.from({ length: 10 }, () => attempt('victim', 'here')))
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 4000, 4000])
})

test('failures are forgotten a quarter of an hour after the last', async () => {
  const { attempt, advance } = openTest()
  for (let count = 0; count < 5; count += 1) await attempt('a', 'b')
  advance(15 * MINUTE)
  assert.equal(await attempt('a', 'b'), 1000)
  advance(15 * MINUTE + 1)
  assert.equal(await attempt('a', 'b'), 0)
})

test('a success takes back its own attempt and no other failure of the account', async () => {
  const { attempt } = openTest()
  for (let count = 0; count < 3; count += 1) await attempt('a', 'bad')
  assert.equal(await attempt('a', 'good', true), 250)
  assert.equal(await attempt('a', 'third'), 250)
})
