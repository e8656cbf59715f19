/** Policies: what the calls take and answer. */
import { Type, type Static } from 'typebox'

const NAME = String.raw`^[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-]*$`
const RULE = String.raw`^FREQ=(DAILY|WEEKLY)(;(INTERVAL=\d+|BYDAY=(MO|TU|WE|TH|FR|SA|SU)(,(MO|TU|WE|TH|FR|SA|SU))*|BYHOUR=\d{1,2}(,\d{1,2})*|BYMINUTE=\d{1,2}(,\d{1,2})*))*$`

export const POLICIES_PER_KIND_MAX = 32
export const POLICY_RULES_MAX = 24

export const PolicyOperationType = Type.Enum(['backup', 'replication'], { type: 'string', description: 'Policy kind.' })

const Limit = (description: string) => Type.Optional(Type.Integer({ minimum: -1, maximum: 99_999, description }))
const Calendar = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 100, description }))

export const PolicyDefinitionIn = Type.Object({
  max_backups: Limit('Automatic backups to keep per resource; -1, 0 or absent for no limit by count.'),
  retention_duration_days: Limit('Days to keep automatic backups; -1, 0 or absent for no limit by time.'),
  day_backups: Calendar('Daily backups to keep on top of max_backups; 0 or absent for none. Needs timezone.'),
  week_backups: Calendar('Weekly backups to keep on top of max_backups; 0 or absent for none. Needs timezone.'),
  month_backups: Calendar('Monthly backups to keep on top of max_backups; 0 or absent for none. Needs timezone.'),
  year_backups: Calendar('Yearly backups to keep on top of max_backups; 0 or absent for none. Needs timezone.'),
  timezone: Type.Optional(Type.String({
    pattern: '^UTC[+-][0-9]{2}:[0-9]{2}$', description: 'Offset such as UTC+08:00 for day, week, month and year boundaries.',
  })),
  full_backup_interval: Type.Optional(Type.Integer({
    minimum: -1, maximum: 100, description: 'Make a full backup after this many incremental ones; -1 never.',
  })),
  destination_project_id: Type.Optional(Type.String({ description: 'Target project of a replication policy.' })),
  destination_region: Type.Optional(Type.String({
    maxLength: 255, pattern: String.raw`^[a-zA-Z0-9._\-]*$`, description: 'Target region of a replication policy.',
  })),
  enable_acceleration: Type.Optional(Type.Boolean({ description: 'Use the paid fast path; true is refused here.' })),
  cross_account_urn: Type.Optional(Type.String({ description: 'Identifier of a vault in another account; refused here.' })),
  created_by: Type.Optional(Type.String({ description: 'Not taken from clients.' })),
})
export type PolicyDefinitionIn = Static<typeof PolicyDefinitionIn>

export const PolicyTriggerIn = Type.Object({
  properties: Type.Object({
    pattern: Type.Array(Type.String({
      pattern: RULE, description: 'iCalendar rule in UTC, such as FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=14;BYMINUTE=00.',
    }), { minItems: 1, maxItems: POLICY_RULES_MAX, description: 'Rules; stored and returned verbatim.' }),
    start_time: Type.Optional(Type.String({ description: 'Not taken from clients.' })),
  }),
})

const PolicyName = Type.String({ minLength: 1, maxLength: 64, pattern: NAME, description: 'Policy name.' })

export const CreatePolicyBody = Type.Object({
  policy: Type.Object({
    name: PolicyName,
    enabled: Type.Optional(Type.Boolean({ description: 'False creates it paused; true when absent.' })),
    operation_type: PolicyOperationType,
    operation_definition: PolicyDefinitionIn,
    trigger: PolicyTriggerIn,
  }),
})
export type CreatePolicyBody = Static<typeof CreatePolicyBody>

export const UpdatePolicyBody = Type.Object({
  policy: Type.Object({
    name: Type.Optional(PolicyName),
    enabled: Type.Optional(Type.Boolean({ description: 'Switch the schedule; absent leaves it.' })),
    operation_definition: Type.Optional(PolicyDefinitionIn),
    trigger: Type.Optional(PolicyTriggerIn),
  }),
})
export type UpdatePolicyBody = Static<typeof UpdatePolicyBody>

export const ListPoliciesQuery = Type.Object({
  operation_type: Type.Optional(PolicyOperationType),
  vault_id: Type.Optional(Type.String({ description: 'Only policies bound to this vault.' })),
})
export type ListPoliciesQuery = Static<typeof ListPoliciesQuery>

export const PolicyParams = Type.Object({
  project_id: Type.String(),
  policy_id: Type.String({ description: 'Policy id.' }),
})

const TextOrNull = Type.Union([Type.String(), Type.Null()])

export const PolicyDefinition = Type.Object({
  max_backups: Type.Integer({ minimum: -1, maximum: 99_999 }),
  retention_duration_days: Type.Integer({ minimum: -1, maximum: 99_999 }),
  day_backups: Type.Integer({ minimum: 0, maximum: 100 }),
  week_backups: Type.Integer({ minimum: 0, maximum: 100 }),
  month_backups: Type.Integer({ minimum: 0, maximum: 100 }),
  year_backups: Type.Integer({ minimum: 0, maximum: 100 }),
  timezone: Type.Optional(Type.String()),
  full_backup_interval: Type.Integer({ minimum: -1, maximum: 100 }),
  destination_project_id: Type.Optional(Type.String()),
  destination_region: Type.Optional(Type.String()),
  enable_acceleration: Type.Optional(Type.Literal(false)),
  cross_account_urn: Type.Optional(Type.Literal('')),
  created_by: Type.String({ description: 'Who made the definition.' }),
})
export type PolicyDefinition = Static<typeof PolicyDefinition>

export const Policy = Type.Object({
  id: Type.String(),
  name: Type.String(),
  enabled: Type.Boolean(),
  operation_type: PolicyOperationType,
  operation_definition: PolicyDefinition,
  trigger: Type.Object({
    id: Type.String(),
    name: Type.Literal('default'),
    type: Type.Literal('time'),
    properties: Type.Object({
      pattern: Type.Array(Type.String(), { maxItems: POLICY_RULES_MAX }),
      start_time: Type.String({ description: 'As in 2019-05-08 06:57:05; UTC.' }),
    }),
  }),
  associated_vaults: Type.Union([
    Type.Array(Type.Object({ vault_id: Type.String(), destination_vault_id: TextOrNull })), Type.Null(),
  ], { description: 'Null while it is bound to no vault.' }),
  policy_type: Type.Enum(['custom_policy', 'organization_policy_v1', 'organization_policy_v2', 'organization_policy_removed'], { type: 'string' }),
})
export type Policy = Static<typeof Policy>

export const PolicyAnswer = Type.Object({ policy: Policy })

export const ListPoliciesAnswer = Type.Object({
  policies: Type.Array(Policy),
  count: Type.Integer({ minimum: 0 }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})

export const AssociatePolicyBody = Type.Object({
  policy_id: Type.Optional(Type.String({ description: 'Policy id; exactly one of this and add_policy_ids.' })),
  add_policy_ids: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: 10, description: 'Several policies at once.' })),
  destination_vault_id: Type.Optional(Type.String({ description: 'Vault in the target region; needed for replication policies.' })),
})
export type AssociatePolicyBody = Static<typeof AssociatePolicyBody>

const VaultPolicy = Type.Object({
  vault_id: Type.String(),
  policy_id: Type.String(),
  destination_vault_id: TextOrNull,
})

export const AssociatePolicyAnswer = Type.Object({ associate_policy: VaultPolicy })

export const DissociatePolicyBody = Type.Object({ policy_id: Type.String({ description: 'Policy id.' }) })
export type DissociatePolicyBody = Static<typeof DissociatePolicyBody>

export const DissociatePolicyAnswer = Type.Object({ dissociate_policy: VaultPolicy })

/** What follows is not a part of the cloud's API (`/x/v1`). */

const PREVIEW_RUNS_MAX = 1000
const PREVIEW_BACKUPS_MAX = 1000

const previewFields = {
  policy_id: Type.Optional(Type.String({ description: 'A stored policy; what else is given takes the place of its own.' })),
  vault_id: Type.Optional(Type.String({ description: 'Judge the backups that the policy made in this vault; needs policy_id.' })),
  time_zone: Type.Optional(Type.String({ maxLength: 64, description: 'In which the rules are read: UTC, or a name such as Europe/Berlin.' })),
  from: Type.Optional(Type.String({ description: 'Runs after this time, as in 2018-02-01T12:00:00Z; now when absent.' })),
  runs: Type.Optional(Type.Integer({ minimum: 1, maximum: PREVIEW_RUNS_MAX, description: 'How many runs; 24 when absent.' })),
  backups: Type.Optional(Type.Integer({ minimum: 0, maximum: PREVIEW_BACKUPS_MAX, description: 'How many judged backups to list; 100 when absent.' })),
}

export const PreviewPolicyQuery = Type.Object(previewFields)
export type PreviewPolicyQuery = Static<typeof PreviewPolicyQuery>

export const PreviewPolicyBody = Type.Object({
  preview: Type.Object({
    ...previewFields,
    pattern: Type.Optional(PolicyTriggerIn.properties.properties.properties.pattern),
    operation_definition: Type.Optional(PolicyDefinitionIn),
  }),
})
export type PreviewPolicyBody = Static<typeof PreviewPolicyBody>

const Reasons = Type.Array(Type.String(), { description: 'Why it is kept; none: it goes.' })

export const PolicyPreview = Type.Object({
  time_zone: Type.String(),
  runs: Type.Array(Type.Object({
    at: Type.String({ description: 'UTC.' }),
    local_time: Type.String({ description: 'The wall clock that the rule names, as in 2026-03-29T02:30.' }),
    moved: Type.Boolean({ description: 'There is no such wall clock on that day, so the run comes right after the gap.' }),
    expired_at: Type.Union([Type.String(), Type.Null()], { description: 'The end that its backups would be given.' }),
    kept_because: Type.Array(Type.String(), { description: 'Why its backups would be kept when the last of these runs is done; none: they would be gone.' }),
  })),
  retention: Type.Union([Type.Null(), Type.Object({
    policy_id: Type.String(),
    vault_id: Type.String(),
    kept: Type.Integer({ minimum: 0 }),
    going: Type.Integer({ minimum: 0 }),
    backups: Type.Array(Type.Object({
      backup_id: Type.String(),
      name: Type.String(),
      resource_id: Type.String(),
      resource_name: Type.String(),
      created_at: Type.String(),
      expired_at: TextOrNull,
      kept_because: Reasons,
      planned_at: Type.Union([Type.String(), Type.Null()], { description: 'When its deletion was planned; it waits for a second look.' }),
    }), { description: 'By resource, newest first; as many as were asked for.' }),
  })], { description: 'Null unless a vault is named.' }),
})
export type PolicyPreview = Static<typeof PolicyPreview>

export const PolicyPreviewAnswer = Type.Object({ preview: PolicyPreview })

export const SetScheduleBody = Type.Object({
  schedule: Type.Object({ time_zone: Type.String({ maxLength: 64, description: 'UTC, as in the cloud, or a name such as Europe/Berlin.' }) }),
})

export const PolicySchedule = Type.Object({
  policy_id: Type.String(),
  enabled: Type.Boolean(),
  time_zone: Type.String(),
  next_run_at: Type.Union([Type.String(), Type.Null()], { description: 'By its rules, from now; null while it is switched off.' }),
})
export type PolicySchedule = Static<typeof PolicySchedule>

export const PolicyScheduleAnswer = Type.Object({ schedule: PolicySchedule })

export const ListPolicyRunsQuery = Type.Object({
  vault_id: Type.Optional(Type.String({ description: 'Only runs in this vault.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
})
export type ListPolicyRunsQuery = Static<typeof ListPolicyRunsQuery>

export const PolicyRun = Type.Object({
  policy_id: Type.String(),
  vault_id: Type.String(),
  due_at: Type.String(),
  ran_at: Type.String(),
  outcome: Type.Enum(['started', 'skipped', 'failed'], { type: 'string' }),
  checkpoint_id: TextOrNull,
  missed_runs: Type.Integer({ minimum: 0, description: 'Earlier due times that this run makes up for.' }),
  moved: Type.Boolean(),
  error_info: Type.Object({ code: Type.String(), message: Type.String() }),
})
export type PolicyRun = Static<typeof PolicyRun>

export const ListPolicyRunsAnswer = Type.Object({
  runs: Type.Array(PolicyRun),
  count: Type.Integer({ minimum: 0 }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})
