import type { PolicyDefinition, PolicyPreview, PreviewPolicyBody } from '@opencbr/contract'
import { formatTime, formatTimeOrNull, parseTime, type Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { PolicyId, ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault } from '../vaults/index.ts'
import { judgeVault, type JudgedBackup } from './judge-vault.ts'
import { DEFAULT_TIME_ZONE, parseDefinition, parsePattern, readDefinition, readSchedule, readTimeZone } from './policy.ts'
import { findPolicy } from './policy-store.ts'
import { runsAfter, type Run, type Schedule } from './recurrence.ts'
import { expiryOf, goesByRank, openJudge, retentionOf, type Retention } from './retention.ts'

const RUNS_DEFAULT = 24
const BACKUPS_DEFAULT = 100
const DAYS_AHEAD = 10 * 366
/** Farther away, microseconds are not exact in a double any more. */
const FROM_MAX = Date.UTC(2200, 0) * 1000
/** Plans are looked up for so many backups at a time. */
const PLANS_PAGE = 200

/**
 * Tells, without changing anything, when a policy would run next and what it would keep: of the runs to come, and
 * of what it has made in a vault. Rules and limits that are given take the place of the policy's own.
 */
export async function previewPolicy(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, wanted: PreviewPolicyBody['preview'],
): Promise<PolicyPreview> {
  const now = clock.now()
  const policy = wanted.policy_id === undefined ? undefined : await getPolicy(db, projectId, wanted.policy_id)
  const pattern = wanted.pattern ?? (policy === undefined ? undefined : parsePattern(policy.pattern))
  if (pattern === undefined) throw new Failure('parameter.invalid', { field: 'policy_id', reason: 'a policy_id or a pattern must be given' })
  const timeZone = wanted.time_zone === undefined ? policy?.time_zone ?? DEFAULT_TIME_ZONE : readTimeZone('time_zone', wanted.time_zone)
  const from = wanted.from === undefined ? now : readFrom(wanted.from)
  const schedule = readSchedule('pattern', pattern, policy?.created_at ?? Math.min(from, now), timeZone)
  const definition = chooseDefinition(policy, wanted.operation_definition)
  const retention = retentionOf(definition)
  return {
    time_zone: timeZone,
    runs: listRuns(schedule, retention, from, wanted.runs ?? RUNS_DEFAULT),
    retention: wanted.vault_id === undefined
      ? null
      : await judge(db, { projectId, policy, vault: wanted.vault_id, retention, now, max: wanted.backups ?? BACKUPS_DEFAULT }),
  }
}

async function getPolicy(reader: Reader, projectId: ProjectId, id: string): Promise<Row<'policies'>> {
  const policyId = parseUuid<PolicyId>('policy_id', id)
  const policy = await findPolicy(reader, projectId, policyId)
  if (policy === undefined) throw new Failure('policy.not_found', { policyId })
  return policy
}

function readFrom(text: string): Micros {
  const from = parseTime(text)
  if (from === undefined || from < 0 || from > FROM_MAX) {
    throw new Failure('parameter.invalid', { field: 'from', reason: 'it is no time such as 2018-02-01T12:00:00Z between 1970 and 2200' })
  }
  return from
}

function chooseDefinition(policy: Row<'policies'> | undefined, given: PreviewPolicyBody['preview']['operation_definition']): PolicyDefinition {
  if (given === undefined && policy !== undefined) return parseDefinition(policy.operation_definition)
  return readDefinition('preview.operation_definition', 'backup', given ?? {})
}

function listRuns(schedule: Schedule, retention: Retention, from: Micros, max: number): PolicyPreview['runs'] {
  const runs: Run[] = []
  for (const run of runsAfter(schedule, from, DAYS_AHEAD)) {
    runs.push(run)
    if (runs.length === max) break
  }
  const end = runs.at(-1)?.at ?? from
  const judgeRank = openJudge(retention)
  return runs.toReversed().map((run) => {
    const expiredAt = expiryOf(retention, run.at)
    return {
      at: formatTime(run.at), local_time: run.local, moved: run.moved, expired_at: formatTimeOrNull(expiredAt),
      kept_because: combine(judgeRank(run.at), retention, expiredAt, end),
    }
  }).toReversed()
}

/** A backup goes when its own end has come, and when a rule by rank lets it go: whichever is first. */
function combine(byRank: readonly string[], retention: Retention, expiredAt: Micros | null, now: Micros): string[] {
  if (expiredAt !== null && expiredAt <= now) return []
  const until = expiredAt === null ? [] : [`its end is at ${formatTime(expiredAt)}`]
  if (!goesByRank(retention)) return until.length > 0 ? until : ['the policy has no limit']
  return byRank.length === 0 ? [] : [...byRank, ...until]
}

interface Judging {
  readonly projectId: ProjectId
  readonly policy: Row<'policies'> | undefined
  readonly vault: string
  readonly retention: Retention
  readonly now: Micros
  /** How many backups to list. */
  readonly max: number
}

async function judge(db: Reader, { projectId, policy, vault, retention, now, max }: Judging): Promise<NonNullable<PolicyPreview['retention']>> {
  if (policy === undefined) throw new Failure('parameter.invalid', { field: 'vault_id', reason: 'it needs a policy_id' })
  const vaultId = parseUuid<VaultId>('vault_id', vault)
  if (await findVault(db, projectId, vaultId) === undefined) throw new Failure('vault.not_found', { vaultId })
  const counts = { kept: 0, going: 0 }
  const listed: JudgedBackup[] = []
  for await (const { backup, keptBecause: byRank } of judgeVault(db, policy, vaultId, retention)) {
    const keptBecause = combine(byRank, retention, backup.expired_at, now)
    counts[keptBecause.length > 0 ? 'kept' : 'going'] += 1
    if (listed.length < max) listed.push({ backup, keptBecause })
  }
  const plannedAt = await readPlannedAt(db, listed)
  return {
    policy_id: policy.id,
    vault_id: vaultId,
    ...counts,
    backups: listed.map(({ backup, keptBecause }) => ({
      backup_id: backup.id, name: backup.name, resource_id: backup.resource_id, resource_name: backup.resource_name,
      created_at: formatTime(backup.created_at), expired_at: formatTimeOrNull(backup.expired_at), kept_because: [...keptBecause],
      planned_at: formatTimeOrNull(plannedAt.get(backup.id) ?? null),
    })),
  }
}

async function readPlannedAt(db: Reader, listed: readonly JudgedBackup[]): Promise<Map<string, Micros>> {
  const plannedAt = new Map<string, Micros>()
  for (let start = 0; start < listed.length; start += PLANS_PAGE) {
    const rows = await db.selectFrom('planned_expiries').select(['backup_id', 'planned_at'])
      .where('backup_id', 'in', listed.slice(start, start + PLANS_PAGE).map(({ backup }) => backup.id)).execute()
    for (const row of rows) plannedAt.set(row.backup_id, row.planned_at)
  }
  return plannedAt
}
