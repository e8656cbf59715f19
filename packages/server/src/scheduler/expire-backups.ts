/**
 * Retention at work: what policies let go is planned, looked at again, and then deleted as any deletion is,
 * by a task.
 *
 * A look finds what goes: backups past their end, those that a rule by count or calendar has passed over,
 * and failed ones beyond the newest ten of a resource or older than a month. What goes is planned first,
 * for everybody to see; a later look that still finds it starts the deletion, and one that does not
 * takes the plan back. So no single look, taken at a wrong moment, deletes anything.
 *
 * Only automatic backups that a policy made are ever looked at. A clock that goes wrong cannot be told from
 * downtime, and either would make backups look old at once: after a jump of more than a day nothing is deleted
 * for six hours, in which the plans can be seen and the clock can be put right.
 */
import { expireBackup, findBackup } from '../backups/index.ts'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import { randomHex, type BackupId, type ResourceId, type VaultId } from '../ids.ts'
import { findBinding, findPolicy, goesByRank, judgeVault, parseDefinition, retentionOf } from '../policies/index.ts'
import { sql } from 'kysely'
import type { SchedulerDeps, TellMistake } from './run-due.ts'

const DUTY = 'retention'
const MINUTE = 60_000_000
const DAY = 24 * 60 * MINUTE
const LOOK_EVERY = 60 * MINUTE
/** Less than the time between looks, so that the next one confirms. */
const CONFIRM_AFTER = 30 * MINUTE
const JUMP = DAY
/** The clocks of servers that share a catalogue may be so far apart. */
const SKEW_MAX = 10 * MINUTE
const HOLD_AFTER_JUMP = 6 * 60 * MINUTE
const FAILED_MAX = 10
const FAILED_AGE_MAX = 30 * DAY
const RUN_HISTORY = 30 * DAY
const PAGE = 200
/** Of one rule, or of one vault, in one look: the rest follows in the next ones. */
const BATCH = 1000

type Plan = Row<'planned_expiries'>
type NewPlan = NewRow<'planned_expiries'>

/** Looks once an hour, whichever server's turn it is. */
export async function expireBackups(deps: SchedulerDeps, tell: TellMistake): Promise<void> {
  const now = deps.clock.now()
  // Most ticks find that it is not time yet, and need not wait for whoever writes.
  const duty = await findDuty(deps.db)
  if (duty !== undefined && !isTime(duty, now)) return
  const turn = await deps.db.transaction().execute((tx) => takeTurn(tx, now))
  if (turn === undefined) return
  // Were the clock wrong, these rows would be missed when it is put right: they keep due times from running again.
  if (!turn.held) await deps.db.deleteFrom('policy_runs').where('ran_at', '<', now - RUN_HISTORY).execute()
  await takeBackPlans(deps, now)
  const handle = (found: readonly NewPlan[]): Promise<number> => planOrCarryOut(deps, found, { now, held: turn.held, tell })
  let started = await handle(await findAged(deps.db, now)) + await handle(await findFailed(deps.db, now))
  for await (const found of findOutranked(deps, now)) started += await handle(found)
  if (started > 0) deps.wakeAgents()
}

/** Plans what is found for the first time, and starts to delete what was planned by an earlier look. Answers how many. */
async function planOrCarryOut(
  deps: SchedulerDeps, found: readonly NewPlan[], { now, held, tell }: { now: Micros, held: boolean, tell: TellMistake },
): Promise<number> {
  const planned = await readPlans(deps.db, found.map((plan) => plan.backup_id))
  let started = 0
  for (const plan of found) {
    const known = planned.get(plan.backup_id)
    try {
      if (known === undefined) await insertPlan(deps, plan)
      else if (!held && known.planned_at <= now - CONFIRM_AFTER && await carryOut(deps, known, now)) started += 1
    } catch (error) {
      // It is in use, being compared with, or kept for an image: it goes when it can.
      if (!(error instanceof Failure)) tell(`the backup ${plan.backup_id} could not be expired`, error)
    }
  }
  return started
}

async function findDuty(reader: Reader): Promise<Row<'scheduler_duties'> | undefined> {
  return reader.selectFrom('scheduler_duties').selectAll().where('name', '=', DUTY).executeTakeFirst()
}

/** Also after the clock was put back, so that the next time is not waited for in vain. */
function isTime(duty: Row<'scheduler_duties'>, now: Micros): boolean {
  return duty.next_at <= now || wasPutBack(duty, now)
}

function wasPutBack(duty: Row<'scheduler_duties'>, now: Micros): boolean {
  return now < duty.last_at - SKEW_MAX
}

/** Undefined when it is not time yet, or another server's turn. */
async function takeTurn(tx: Transaction, now: Micros): Promise<{ held: boolean } | undefined> {
  const row = await findDuty(tx)
  if (row === undefined) {
    await tx.insertInto('scheduler_duties').values({ name: DUTY, next_at: now + LOOK_EVERY, last_at: now, held_until: 0 }).execute()
    return { held: false }
  }
  if (!isTime(row, now)) return undefined
  const hasJumped = wasPutBack(row, now) || now - row.last_at > JUMP
  const heldUntil = hasJumped ? now + HOLD_AFTER_JUMP : row.held_until
  const { numUpdatedRows } = await tx.updateTable('scheduler_duties')
    .set({ next_at: now + LOOK_EVERY, last_at: now, held_until: heldUntil })
    .where('name', '=', DUTY).where('next_at', '=', row.next_at)
    .executeTakeFirst()
  return numUpdatedRows === 0n ? undefined : { held: heldUntil > now }
}

const PURGEABLE = ['available', 'waiting_restore', 'restoring'] as const

/** Whole automatic backups past their end; and those of which an earlier deletion failed. */
async function findAged(reader: Reader, now: Micros): Promise<NewPlan[]> {
  const rows = await reader.selectFrom('backups').select(['id', 'project_id', 'vault_id', 'policy_id', 'expired_at'])
    .where('policy_id', 'is not', null).where('expired_at', '<=', now)
    .where('parent_id', 'is', null).where('auto_trigger', '=', 1)
    .where(({ eb, or, and }) => or([eb('status', 'in', PURGEABLE), and([eb('status', '=', 'error'), eb('protected_at', 'is not', null)])]))
    .where(({ eb, or }) => or([eb('os_images_data', 'is', null), eb('os_images_data', '=', '[]')]))
    .orderBy('expired_at').orderBy('id').limit(BATCH).execute()
  return rows.flatMap((row) => row.policy_id === null ? [] : [{
    backup_id: row.id, project_id: row.project_id, vault_id: row.vault_id, policy_id: row.policy_id,
    rule: 'age', reason: 'its end has come', planned_at: now,
  }])
}

/** Automatic backups that were never made: the newest ten of a resource stay for a month. */
async function findFailed(reader: Reader, now: Micros): Promise<NewPlan[]> {
  const plans: NewPlan[] = []
  // Begins behind all ids: with a place to begin at, SQLite takes the index that holds only these rows.
  let after = { vault_id: '~' as VaultId, resource_id: '~' as ResourceId, created_at: now, id: '~' as BackupId }
  let group = ''
  let rank = 0
  while (plans.length < BATCH) {
    const { vault_id: vaultId, resource_id: resourceId, created_at: createdAt, id } = after
    const page = await reader.selectFrom('backups').select(['id', 'project_id', 'vault_id', 'resource_id', 'policy_id', 'created_at'])
      // As text in the statement: the index holds exactly these.
      .where(sql<boolean>`status = 'error' and policy_id is not null`)
      .where('protected_at', 'is', null).where('parent_id', 'is', null).where('auto_trigger', '=', 1)
      .where(({ eb, refTuple, tuple }) => eb(refTuple('vault_id', 'resource_id', 'created_at', 'id'), '<', tuple(vaultId, resourceId, createdAt, id)))
      .orderBy('vault_id', 'desc').orderBy('resource_id', 'desc').orderBy('created_at', 'desc').orderBy('id', 'desc').limit(PAGE).execute()
    for (const row of page) {
      const key = `${row.vault_id} ${row.resource_id}`
      rank = key === group ? rank + 1 : 1
      group = key
      const isOld = row.created_at <= now - FAILED_AGE_MAX
      if (row.policy_id === null || (rank <= FAILED_MAX && !isOld)) continue
      plans.push({
        backup_id: row.id, project_id: row.project_id, vault_id: row.vault_id, policy_id: row.policy_id,
        rule: 'failed', reason: isOld ? 'it failed more than a month ago' : `it failed, and ${FAILED_MAX} newer ones did`, planned_at: now,
      })
    }
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) break
    after = last
  }
  return plans
}

/** What rules by count and calendar have passed over, of all bound policies that have one, vault by vault. */
async function* findOutranked({ db }: SchedulerDeps, now: Micros): AsyncGenerator<NewPlan[]> {
  let after = '' as VaultId
  for (;;) {
    const bindings = await db.selectFrom('vault_policies').select(['vault_id', 'project_id', 'policy_id'])
      .where('operation_type', '=', 'backup').where('vault_id', '>', after).orderBy('vault_id').limit(PAGE).execute()
    for (const binding of bindings) {
      const policy = await findPolicy(db, binding.project_id, binding.policy_id)
      if (policy === undefined) continue
      const retention = retentionOf(parseDefinition(policy.operation_definition))
      const going: NewPlan[] = []
      if (goesByRank(retention)) {
        for await (const { backup, keptBecause } of judgeVault(db, policy, binding.vault_id, retention)) {
          if (keptBecause.length > 0) continue
          going.push({
            backup_id: backup.id, project_id: policy.project_id, vault_id: binding.vault_id, policy_id: policy.id,
            rule: 'count', reason: 'the policy keeps enough newer ones', planned_at: now,
          })
          if (going.length === BATCH) break
        }
      }
      if (going.length < BATCH) await takeBackOutranked(db, binding.vault_id, going)
      yield going
    }
    const last = bindings.at(-1)
    if (last === undefined || bindings.length < PAGE) return
    after = last.vault_id
  }
}

/** Plans that this look does not find any more. */
async function takeBackOutranked(db: SchedulerDeps['db'], vaultId: VaultId, going: readonly NewPlan[]): Promise<void> {
  const planned = await db.selectFrom('planned_expiries').select('backup_id').where('vault_id', '=', vaultId).where('rule', '=', 'count').execute()
  const still = new Set(going.map((plan) => plan.backup_id))
  for (const { backup_id: id } of planned) {
    if (!still.has(id)) await db.deleteFrom('planned_expiries').where('backup_id', '=', id).where('rule', '=', 'count').execute()
  }
}

/** Plans whose backup is gone or has its end still before it, and plans by the rank of a policy that is not bound any more. */
async function takeBackPlans({ db }: SchedulerDeps, now: Micros): Promise<void> {
  await db.deleteFrom('planned_expiries').where('rule', '=', 'age')
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('backups').select('backups.id')
      .whereRef('backups.id', '=', 'planned_expiries.backup_id').where('backups.expired_at', '<=', now))))
    .execute()
  await db.deleteFrom('planned_expiries').where('rule', '=', 'failed')
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('backups').select('backups.id')
      .whereRef('backups.id', '=', 'planned_expiries.backup_id').where('backups.status', '=', 'error'))))
    .execute()
  await db.deleteFrom('planned_expiries').where('rule', '=', 'count')
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('vault_policies').select('vault_policies.vault_id')
      .whereRef('vault_policies.vault_id', '=', 'planned_expiries.vault_id')
      .whereRef('vault_policies.policy_id', '=', 'planned_expiries.policy_id'))))
    .execute()
}

async function readPlans(reader: Reader, ids: readonly BackupId[]): Promise<Map<BackupId, Plan>> {
  const plans = new Map<BackupId, Plan>()
  for (let start = 0; start < ids.length; start += PAGE) {
    const rows = await reader.selectFrom('planned_expiries').selectAll().where('backup_id', 'in', ids.slice(start, start + PAGE)).execute()
    for (const row of rows) plans.set(row.backup_id, row)
  }
  return plans
}

async function insertPlan({ db }: SchedulerDeps, plan: NewPlan): Promise<void> {
  await db.insertInto('planned_expiries').values(plan).onConflict((conflict) => conflict.column('backup_id').doNothing()).execute()
}

/** Answers whether the deletion was started: what changed since the look is looked at once more. */
async function carryOut({ db }: SchedulerDeps, plan: Plan, now: Micros): Promise<boolean> {
  return db.transaction().execute(async (tx) => {
    const { numDeletedRows } = await tx.deleteFrom('planned_expiries')
      .where('backup_id', '=', plan.backup_id).where('planned_at', '=', plan.planned_at).executeTakeFirst()
    if (numDeletedRows === 0n) return false
    const backup = await findBackup(tx, plan.project_id, plan.backup_id)
    if (backup === undefined || !await isStillOver(tx, plan, backup, now)) return false
    await expireBackup(tx, backup, { requestId: randomHex(32), policyId: plan.policy_id, now })
    return true
  })
}

async function isStillOver(tx: Transaction, plan: Plan, backup: Row<'backups'>, now: Micros): Promise<boolean> {
  if (backup.auto_trigger === 0 || backup.policy_id !== plan.policy_id) return false
  if (plan.rule === 'age') return backup.expired_at !== null && backup.expired_at <= now
  if (plan.rule === 'failed') return backup.status === 'error' && backup.protected_at === null
  const binding = await findBinding(tx, plan.project_id, plan.vault_id, 'backup')
  if (binding?.policy_id !== plan.policy_id || backup.vault_id !== plan.vault_id) return false
  const policy = await findPolicy(tx, plan.project_id, plan.policy_id)
  if (policy === undefined) return false
  const retention = retentionOf(parseDefinition(policy.operation_definition))
  if (!goesByRank(retention)) return false
  for await (const judged of judgeVault(tx, policy, plan.vault_id, retention, backup.resource_id)) {
    if (judged.backup.id === backup.id) return judged.keptBecause.length === 0
  }
  return false
}
