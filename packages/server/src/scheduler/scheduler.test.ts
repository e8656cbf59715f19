import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseTestDatabase } from '@opencbr/testkit'
import { openDatabase } from '../db/database.ts'
import { newUuid, type BackupId } from '../ids.ts'
import { deletePolicy, judgeVault, retentionOf, unbindPolicy, updatePolicy, type MadeBackup } from '../policies/index.ts'
import { isFullDue } from './run-due.ts'
import { DAY, HOUR, makeWorld, type World } from './test-world.ts'

const DAILY = ['FREQ=DAILY;INTERVAL=1;BYHOUR=06;BYMINUTE=00']
const KEEP_ALL = { max_backups: -1, retention_duration_days: -1, day_backups: 0, week_backups: 0, month_backups: 0, year_backups: 0 }
const HOURLY = [`FREQ=DAILY;BYHOUR=${Array.from({ length: 24 }, (_, hour) => hour).join(',')};BYMINUTE=0`]

async function withWorld(run: (world: World) => Promise<void>, startsAt?: string): Promise<void> {
  await using database = await chooseTestDatabase()
  const db = await openDatabase(database.url)
  try {
    await run(makeWorld(db, startsAt))
  } finally {
    await db.destroy()
  }
}

const at = (micros: number): string => new Date(micros / 1000).toISOString().slice(0, 16)

test('a policy runs when it is due, once, as an automatic run with its name and its end', async () => {
  await withWorld(async (world) => {
    const { clock } = world
    const policyId = await world.addPolicy(DAILY, { retention_duration_days: 7 })
    await world.addVault(policyId, 2, 'night-')
    const scheduler = world.openScheduler()
    await scheduler.tick()
    clock.at = Date.parse('2026-01-16T05:59:59Z') * 1000
    await scheduler.tick()
    assert.deepEqual(await world.runs(), [])
    clock.at += 2_000_000
    await scheduler.tick()
    await scheduler.tick()
    const [run, ...more] = await world.runs()
    assert.deepEqual([run?.outcome, at(run?.due_at ?? 0), run?.missed, more.length], ['started', '2026-01-16T06:00', 0, 0])
    const backups = await world.backups()
    assert.equal(backups.length, 2)
    for (const backup of backups) {
      assert.match(backup.name, /^night-autobk_[0-9a-f]{4}-000[12]$/)
      assert.deepEqual([backup.auto_trigger, backup.policy_id, backup.expired_at, backup.incremental], [1, policyId, clock.at + 7 * DAY, 1])
    }
    const tasks = await world.tasks()
    assert.deepEqual(tasks.map((task) => [task.operation_type, task.status, task.policy_id]), [['backup', 'waiting', policyId], ['backup', 'waiting', policyId]])
    assert.deepEqual((JSON.parse(tasks[0]?.extra_info ?? '') as { schedule: unknown }).schedule, {
      due_at: '2026-01-16T06:00:00.000000', missed_runs: 0, moved: false,
    })
  })
})

test('after downtime one run makes up for all that were missed, and says how many', async () => {
  await withWorld(async (world) => {
    await world.addVault(await world.addPolicy(DAILY))
    await world.openScheduler().tick()
    world.clock.at += 10 * DAY
    const restarted = world.openScheduler()
    await restarted.tick()
    await restarted.tick()
    assert.deepEqual((await world.runs()).map((run) => [at(run.due_at), run.missed, run.outcome]), [['2026-01-25T06:00', 9, 'started']])
    await world.work()
    world.clock.at += DAY
    await restarted.tick()
    assert.deepEqual((await world.runs()).map((run) => [at(run.due_at), run.missed]), [['2026-01-25T06:00', 9], ['2026-01-26T06:00', 0]])
  })
})

test('a run that meets an unfinished one of its vault is skipped, with a task that says why', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(HOURLY)
    await world.addVault(policyId)
    const scheduler = world.openScheduler()
    world.clock.at += HOUR
    await scheduler.tick()
    world.clock.at += HOUR
    await scheduler.tick()
    assert.deepEqual((await world.runs()).map((run) => run.outcome), ['started', 'skipped'])
    const skipped = (await world.tasks()).find((task) => task.status === 'skipped')
    assert.equal(skipped?.error_code, 'BackupService.0002')
    assert.match(skipped.error_message, /still running/)
    assert.deepEqual([skipped.policy_id, skipped.started_at !== null, skipped.ended_at !== null], [policyId, true, true])
    await world.work()
    world.clock.at += HOUR
    await scheduler.tick()
    assert.deepEqual((await world.runs()).map((run) => run.outcome), ['started', 'skipped', 'started'])
  })
})

test('a vault without resources to protect skips, and one that is too full fails, each with the code', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(HOURLY)
    const empty = await world.addVault(policyId, 0)
    const suspended = await world.addVault(policyId)
    await world.db.updateTable('vault_resources').set({ auto_protect: 0 }).where('vault_id', '=', suspended).execute()
    const full = await world.addVault(policyId)
    await world.db.updateTable('vaults').set({ used_bytes: 11 * 1024 ** 3 }).where('id', '=', full).execute()
    world.clock.at += HOUR
    await world.openScheduler().tick()
    const tasks = new Map((await world.tasks()).map((task) => [task.vault_id, `${task.status} ${task.error_code}`]))
    assert.deepEqual([tasks.get(empty), tasks.get(suspended), tasks.get(full)], [
      'skipped BackupService.0001', 'skipped BackupService.0001', 'failed BackupService.6114',
    ])
  })
})

test('a clock that was ahead and is put right neither repeats what ran nor waits for what it had planned', async () => {
  await withWorld(async (world) => {
    const { clock } = world
    await world.addVault(await world.addPolicy(DAILY))
    const scheduler = world.openScheduler()
    clock.at += DAY
    await scheduler.tick()
    await world.work()
    const right = clock.at
    clock.at += 365 * DAY
    await scheduler.tick()
    await world.work()
    assert.equal((await world.runs()).length, 2)
    // Put right by three hours too much: the run of this morning lies ahead again.
    clock.at = right - 3 * HOUR
    await scheduler.tick()
    assert.equal((await world.runs()).length, 2)
    clock.at = right
    await scheduler.tick()
    assert.equal((await world.runs()).length, 2, 'what has run does not run again')
    clock.at += DAY
    await scheduler.tick()
    assert.deepEqual((await world.runs()).map((run) => [at(run.due_at), run.outcome]), [
      ['2026-01-16T06:00', 'started'], ['2026-01-17T06:00', 'started'], ['2027-01-16T06:00', 'started'],
    ])
  })
})

test('a paused policy does not run, makes up for nothing, and its backups still expire', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(DAILY)
    await world.addVault(policyId)
    const scheduler = world.openScheduler()
    await updatePolicy(world, world.projectId, policyId, { enabled: false })
    world.clock.at += 3 * DAY
    await scheduler.tick()
    await updatePolicy(world, world.projectId, policyId, { enabled: true })
    await scheduler.tick()
    assert.deepEqual(await world.runs(), [])
    world.clock.at += DAY
    await scheduler.tick()
    assert.deepEqual((await world.runs()).map((run) => [at(run.due_at), run.missed]), [['2026-01-19T06:00', 0]])
  })
})

test('two schedulers over one catalogue run each due time once', async () => {
  await withWorld(async (world) => {
    const policies = await Promise.all(Array.from({ length: 4 }, () => world.addPolicy(HOURLY)))
    for (const policyId of policies) for (let n = 0; n < 5; n += 1) await world.addVault(policyId)
    const [one, other] = [world.openScheduler(), world.openScheduler()]
    for (let hour = 0; hour < 5; hour += 1) {
      world.clock.at += HOUR
      await Promise.all([one.tick(), other.tick()])
      await world.work()
    }
    const runs = await world.runs()
    assert.equal(runs.length, 100)
    assert.ok(runs.every((run) => run.outcome === 'started' && run.missed === 0))
    assert.equal((await world.backups()).length, 100)
  })
})

test('every fifth run is a full one, and full ones are a day apart', async () => {
  await withWorld(async (world) => {
    await world.addVault(await world.addPolicy(HOURLY, { full_backup_interval: 4 }))
    const scheduler = world.openScheduler()
    for (let hour = 0; hour < 35; hour += 1) {
      world.clock.at += HOUR
      await scheduler.tick()
      await world.work()
    }
    const full = (await world.backups()).flatMap((backup, place) => backup.incremental === 0 ? [place] : [])
    // The fifth; the tenth would come too soon; then the first that is a day later.
    assert.deepEqual(full, [4, 28])
  })
  assert.equal(isFullDue({ runs_since_full: 100, last_full_at: null }, -1, 0), false)
  assert.equal(isFullDue({ runs_since_full: 0, last_full_at: null }, 0, 0), true)
})

/** Turns the clock hour by hour, as long as a look and its confirmation take. */
async function passHours(world: World, scheduler: { tick: () => Promise<void> }, hours: number): Promise<void> {
  for (let hour = 0; hour < hours; hour += 1) {
    world.clock.at += HOUR
    await scheduler.tick()
    await world.work()
  }
}

test('backups with an end are planned for deletion, and deleted by a task when a second look confirms it', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(['FREQ=DAILY;INTERVAL=1;BYHOUR=09;BYMINUTE=00'], { retention_duration_days: 2 })
    const vaultId = await world.addVault(policyId)
    const scheduler = world.openScheduler()
    await passHours(world, scheduler, 24)
    const [first] = await world.backups()
    assert.ok(first !== undefined)
    await unbindPolicy(world, world.projectId, vaultId, policyId)
    await deletePolicy(world, world.projectId, policyId)
    await passHours(world, scheduler, 24)
    assert.equal((await world.backups()).length, 1, 'its end has not come')
    await passHours(world, scheduler, 1)
    const plans = await world.db.selectFrom('planned_expiries').selectAll().execute()
    assert.deepEqual(plans.map((plan) => [plan.backup_id, plan.rule]), [[first.id, 'age']])
    assert.equal((await world.backups())[0]?.status, 'available', 'one look deletes nothing')
    await passHours(world, scheduler, 1)
    assert.deepEqual(await world.backups(), [])
    const task = (await world.tasks()).find((each) => each.operation_type === 'delete')
    assert.deepEqual([task?.status, task?.policy_id, task?.backup_id], ['success', policyId, first.id])
    assert.deepEqual(await world.db.selectFrom('planned_expiries').selectAll().execute(), [])
  })
})

test('a rule by count judges what the policy made of each resource; manual backups and those for images stay', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(HOURLY, { max_backups: 3 })
    await world.addVault(policyId, 2)
    const scheduler = world.openScheduler()
    await passHours(world, scheduler, 2)
    const [manual, , image] = (await world.backups()).map((backup) => backup.id)
    await world.db.updateTable('backups').set({ auto_trigger: 0, policy_id: null }).where('id', '=', manual as BackupId).execute()
    await world.db.updateTable('backups').set({ os_images_data: '[{"image_id":"x"}]' }).where('id', '=', image as BackupId).execute()
    await passHours(world, scheduler, 10)
    await updatePolicy(world, world.projectId, policyId, { enabled: false })
    await passHours(world, scheduler, 3)
    const kept = await world.backups()
    assert.equal(kept.length, 2 * 3 + 2)
    assert.ok(kept.some((backup) => backup.id === manual) && kept.some((backup) => backup.id === image))
    // Fewer: that applies to old ones too.
    await updatePolicy(world, world.projectId, policyId, { operation_definition: { max_backups: 1 } })
    await passHours(world, scheduler, 3)
    assert.equal((await world.backups()).length, 2 * 1 + 2)
  })
})

test('a policy that changes from count to days leaves the old ones alone, and one that is unbound too', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(HOURLY, { max_backups: 3 })
    const vaultId = await world.addVault(policyId)
    const scheduler = world.openScheduler()
    await passHours(world, scheduler, 8)
    await updatePolicy(world, world.projectId, policyId, { operation_definition: { retention_duration_days: 1 }, enabled: false })
    await passHours(world, scheduler, 72)
    const old = (await world.backups()).length
    assert.ok(old >= 3 && old <= 5, `${old}`)
    // Back to count: all that the policy made is judged again, until it is unbound.
    await updatePolicy(world, world.projectId, policyId, { operation_definition: { max_backups: 1 } })
    await passHours(world, scheduler, 1)
    assert.equal((await world.db.selectFrom('planned_expiries').selectAll().execute()).length, old - 1)
    await unbindPolicy(world, world.projectId, vaultId, policyId)
    await passHours(world, scheduler, 3)
    assert.equal((await world.backups()).length, old)
    assert.deepEqual(await world.db.selectFrom('planned_expiries').selectAll().execute(), [], 'the plans are taken back')
  })
})

test('of failed automatic backups the newest ten of a resource stay, for a month', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(HOURLY)
    await world.addVault(policyId)
    const scheduler = world.openScheduler()
    for (let hour = 0; hour < 15; hour += 1) {
      world.clock.at += HOUR
      await scheduler.tick()
      await world.work('failed')
    }
    await updatePolicy(world, world.projectId, policyId, { enabled: false })
    await passHours(world, scheduler, 3)
    const kept = await world.backups()
    assert.deepEqual([kept.length, new Set(kept.map((backup) => backup.status))], [10, new Set(['error'])])
    await passHours(world, scheduler, 31 * 24)
    assert.deepEqual(await world.backups(), [])
  })
})

test('after a jump of the clock nothing is deleted for six hours, and plans are taken back when it is put right', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(DAILY, { retention_duration_days: 30 })
    await world.addVault(policyId)
    const scheduler = world.openScheduler()
    await passHours(world, scheduler, 72)
    const made = (await world.backups()).length
    assert.equal(made, 3)
    await updatePolicy(world, world.projectId, policyId, { enabled: false })
    const right = world.clock.at
    world.clock.at += 365 * DAY
    await scheduler.tick()
    await passHours(world, scheduler, 5)
    assert.equal((await world.db.selectFrom('planned_expiries').selectAll().execute()).length, 3, 'the plans can be seen')
    assert.equal((await world.backups()).length, 3)
    world.clock.at = right + 6 * HOUR
    await passHours(world, scheduler, 12)
    assert.equal((await world.backups()).length, 3)
    assert.deepEqual(await world.db.selectFrom('planned_expiries').selectAll().execute(), [])
  })
})

test('a history of thousands is judged page by page, and leaves a thousand at a time', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(DAILY, { max_backups: 5 })
    const vaultId = await world.addVault(policyId, 2)
    const scheduler = world.openScheduler()
    await passHours(world, scheduler, 24)
    const samples = await world.backups()
    assert.equal(samples.length, 2)
    for (const sample of samples) {
      const rows = Array.from({ length: 1200 }, (_, n) => ({ ...sample, id: newUuid<BackupId>(), created_at: sample.created_at - (n + 1) * HOUR }))
      for (let start = 0; start < rows.length; start += 100) await world.db.insertInto('backups').values(rows.slice(start, start + 100)).execute()
    }
    const policy = { id: policyId, project_id: world.projectId }
    const seen: MadeBackup[] = []
    for await (const { backup, keptBecause } of judgeVault(world.db, policy, vaultId, retentionOf({ ...KEEP_ALL, max_backups: 5 }))) {
      if (keptBecause.length > 0) seen.push(backup)
    }
    assert.deepEqual([seen.length, new Set(seen.map((backup) => backup.resource_id)).size], [10, 2])
    const newest = (await world.backups()).toSorted((a, b) => b.created_at - a.created_at).slice(0, 10)
    assert.deepEqual(new Set(seen.map((backup) => backup.id)), new Set(newest.map((backup) => backup.id)))
    world.clock.at += HOUR
    await scheduler.tick()
    assert.equal((await world.db.selectFrom('planned_expiries').selectAll().execute()).length, 1000)
  })
})

test('servers whose clocks are seconds apart neither run twice nor take each other for a jump', async () => {
  await withWorld(async (world) => {
    const policyId = await world.addPolicy(HOURLY, { max_backups: 1 })
    await world.addVault(policyId)
    const [fast, slow] = [world.openScheduler(), world.openScheduler()]
    for (let hour = 0; hour < 4; hour += 1) {
      world.clock.at += HOUR
      await fast.tick()
      world.clock.at -= 5_000_000
      await slow.tick()
      world.clock.at += 5_000_000
      await world.work()
    }
    assert.deepEqual((await world.runs()).map((run) => run.outcome), ['started', 'started', 'started', 'started'])
    const duty = await world.db.selectFrom('scheduler_duties').selectAll().executeTakeFirstOrThrow()
    assert.equal(duty.held_until, 0)
  })
})
