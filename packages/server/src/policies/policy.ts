/** What policies may say, without a database. */
import type { PolicyDefinition, PolicyDefinitionIn } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type { PolicyOperationType, Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import { assertApart, BadRule, isTimeZone, parseRule, type Schedule } from './recurrence.ts'
import { retentionOf } from './retention.ts'

export const DEFAULT_TIME_ZONE = 'UTC'
const PROJECT_ID_MAX = 255

/** `field` is the definition's place in the body. Everything that was left out gets its default. */
export function readDefinition(field: string, type: PolicyOperationType, wanted: PolicyDefinitionIn): PolicyDefinition {
  if (wanted.enable_acceleration === true) throw invalid(`${field}.enable_acceleration`, 'invalid key enable_acceleration: there is no fast path here')
  if (wanted.cross_account_urn !== undefined && wanted.cross_account_urn !== '') throw invalid(`${field}.cross_account_urn`, 'vaults of other accounts cannot be named here')
  if (wanted.timezone !== undefined && readOffsetMinutes(wanted.timezone) === undefined) {
    throw invalid(`${field}.timezone`, `${wanted.timezone} is no offset from UTC`)
  }
  const definition: PolicyDefinition = {
    max_backups: wanted.max_backups ?? -1,
    retention_duration_days: wanted.retention_duration_days ?? -1,
    day_backups: wanted.day_backups ?? 0,
    week_backups: wanted.week_backups ?? 0,
    month_backups: wanted.month_backups ?? 0,
    year_backups: wanted.year_backups ?? 0,
    ...(wanted.timezone === undefined ? {} : { timezone: wanted.timezone }),
    full_backup_interval: wanted.full_backup_interval ?? -1,
    ...(type === 'replication' ? readDestination(field, wanted) : {}),
    ...(wanted.enable_acceleration === undefined ? {} : { enable_acceleration: false }),
    ...(wanted.cross_account_urn === undefined ? {} : { cross_account_urn: '' }),
    created_by: 'customer',
  }
  assertConsistent(field, definition)
  return definition
}

function readDestination(field: string, wanted: PolicyDefinitionIn): Pick<Required<PolicyDefinition>, 'destination_project_id' | 'destination_region'> {
  const { destination_project_id: project, destination_region: region } = wanted
  if (region === undefined || region === '') throw invalid(`${field}.destination_region`, 'it is mandatory for replication policies')
  if (project === undefined || project === '') throw invalid(`${field}.destination_project_id`, 'it is mandatory for replication policies')
  if (project.length > PROJECT_ID_MAX) throw invalid(`${field}.destination_project_id`, `it has more than ${PROJECT_ID_MAX} characters`)
  return { destination_project_id: project, destination_region: region }
}

/** Days exclude count and calendar; count and calendar go together. */
function assertConsistent(field: string, definition: PolicyDefinition): void {
  const retention = retentionOf(definition)
  const { daysMax, countMax } = retention
  if (retention.hasCalendar && definition.timezone === undefined) {
    throw invalid(`${field}.timezone`, 'it is mandatory with day_backups, week_backups, month_backups and year_backups')
  }
  if (daysMax !== undefined && countMax !== undefined) {
    throw invalid(`${field}.retention_duration_days`, 'retention goes by days or by count (max_backups), not by both')
  }
  if (daysMax !== undefined && retention.hasCalendar) {
    throw invalid(`${field}.retention_duration_days`, 'retention goes by days or by day_backups, week_backups, month_backups and year_backups, not by both')
  }
}

/** `UTC+08:00` in minutes east; undefined when there is no such offset. */
export function readOffsetMinutes(text: string): number | undefined {
  const parts = /^UTC([+-])(\d{2}):(\d{2})$/.exec(text)
  const [hours, minutes] = [Number(parts?.[2]), Number(parts?.[3])]
  if (parts === null || hours > 14 || minutes > 59 || (hours === 14 && minutes > 0)) return undefined
  return (parts[1] === '-' ? -1 : 1) * (hours * 60 + minutes)
}

/** Checks rules as a whole: each, that they run at all, and that runs are an hour apart. `field` is the list's place. */
export function readSchedule(field: string, pattern: readonly string[], startsAt: Micros, timeZone: string): Schedule {
  const rules = pattern.map((text, place) => {
    try {
      return parseRule(text)
    } catch (error) {
      throw asFailure(`${field}.${place}`, error)
    }
  })
  const schedule = { rules, startsAt, timeZone }
  try {
    assertApart(schedule)
  } catch (error) {
    throw asFailure(field, error)
  }
  return schedule
}

export function readTimeZone(field: string, text: string): string {
  if (!isTimeZone(text)) throw invalid(field, `${text.slice(0, 64)} is no time zone such as UTC or Europe/Berlin`)
  return text
}

/** What an organization policy has deployed is changed and deleted through that one only; throws `policy.of_organization` (9900). */
export function refuseIfDeployed({ id, policy_type: type }: Pick<Row<'policies'>, 'id' | 'policy_type'>): void {
  if (type === 'organization_policy_v1') throw new Failure('policy.of_organization', { policyId: id })
}

/** The schedule of a policy that was checked when it was written. */
export function scheduleOf(policy: Pick<Row<'policies'>, 'pattern' | 'created_at' | 'time_zone'>): Schedule {
  return { rules: parsePattern(policy.pattern).map(parseRule), startsAt: policy.created_at, timeZone: policy.time_zone }
}

export function parsePattern(json: string): string[] {
  return JSON.parse(json) as string[]
}

export function parseDefinition(json: string): PolicyDefinition {
  return JSON.parse(json) as PolicyDefinition
}

function asFailure(field: string, error: unknown): unknown {
  return error instanceof BadRule ? invalid(field, error.message) : error
}

function invalid(field: string, reason: string): Failure {
  return new Failure('parameter.invalid', { field, reason })
}
