import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makePostgresDatabase } from '@opencbr/testkit'
import { openDatabase } from '../db/database.ts'
import { HOUR, makeWorld } from './test-world.ts'

const VAULTS = 20
const HOURS = 50
const HOURLY = [`FREQ=DAILY;BYHOUR=${Array.from({ length: 24 }, (_, hour) => hour).join(',')};BYMINUTE=0`]

test('two schedulers on one PostgreSQL, each with connections of its own: 1,000 due times, 1,000 runs, none twice', async () => {
  await using database = await makePostgresDatabase()
  const one = await openDatabase(database.url)
  const two = await openDatabase(database.url)
  try {
    const world = makeWorld(one)
    const policy = await world.addPolicy(HOURLY)
    for (let vault = 0; vault < VAULTS; vault += 1) await world.addVault(policy)
    const schedulers = [world.openScheduler(one), world.openScheduler(two)]
    for (let hour = 0; hour < HOURS; hour += 1) {
      world.clock.at += HOUR
      await Promise.all(schedulers.map((scheduler) => scheduler.tick()))
      assert.equal(await world.work(), VAULTS)
    }
    for (const scheduler of schedulers) await scheduler.close()
    const runs = await world.runs()
    assert.equal(runs.length, VAULTS * HOURS)
    assert.equal(new Set(runs.map((run) => `${run.vault_id} ${run.due_at}`)).size, VAULTS * HOURS)
    assert.deepEqual([...new Set(runs.map((run) => run.outcome))], ['started'])
    assert.equal(new Set(runs.map((run) => run.checkpoint_id)).size, VAULTS * HOURS)
    assert.equal((await world.backups()).length, VAULTS * HOURS)
    assert.equal((await world.tasks()).length, VAULTS * HOURS)
  } finally {
    await one.destroy()
    await two.destroy()
  }
})
