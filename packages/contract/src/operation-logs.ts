/** Tasks: what `operation-logs` takes and answers. */
import { Type, type Static } from 'typebox'
import { KnownResourceType } from './enumerations.ts'
import { ResourceExtraInfo } from './vaults.ts'

const OperationType = Type.Enum(
  ['backup', 'copy', 'replication', 'restore', 'delete', 'sync', 'vault_delete', 'remove_resource'],
  { description: 'Task kind.' },
)
const OperationStatus = Type.Enum(
  ['success', 'skipped', 'failed', 'running', 'timeout', 'waiting'],
  { description: 'Task status; success, skipped, failed and timeout are final.' },
)

const QueryTime = (description: string) =>
  Type.String({ pattern: String.raw`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$`, description })

export const ListOperationLogsQuery = Type.Object({
  start_time: Type.Optional(QueryTime('Earliest start of a task, as in 2018-01-01T12:00:00Z.')),
  end_time: Type.Optional(QueryTime('Latest end of a task, as in 2018-02-01T12:00:00Z.')),
  operation_type: Type.Optional(Type.Array(OperationType, { description: 'Task kind; may be repeated.' })),
  provider_id: Type.Optional(Type.String({ description: 'Backup engine id.' })),
  resource_id: Type.Optional(Type.String({ description: 'Resource concerned.' })),
  resource_name: Type.Optional(Type.String({ description: 'Its name.' })),
  status: Type.Optional(Type.Array(OperationStatus, { description: 'Task status; may be repeated.' })),
  vault_id: Type.Optional(Type.String({ description: 'Vault concerned.' })),
  vault_name: Type.Optional(Type.String({ description: 'Its name.' })),
  enterprise_project_id: Type.Optional(Type.String({ description: 'Enterprise project id, or all_granted_eps for every one.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last task seen; the page starts after it.' })),
})
export type ListOperationLogsQuery = Static<typeof ListOperationLogsQuery>

export const ShowOperationLogParams = Type.Object({
  project_id: Type.String(),
  operation_log_id: Type.String({ description: 'Task id.' }),
})

/** Of `/x/v1/{project_id}/tasks/{task_id}/…`. */
export const TaskParams = Type.Object({
  project_id: Type.String(),
  task_id: Type.String({ description: 'Task id.' }),
})

const NullableText = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

const OperationResource = Type.Object({
  id: Type.String(),
  type: KnownResourceType,
  name: NullableText('Resource name.'),
  extra_info: Type.Optional(Type.Union([ResourceExtraInfo, Type.Null()])),
})

const RemovalWarnings = Type.Array(
  Type.Object({ path: Type.String(), message: Type.String() }),
  { description: 'Why the space of what was removed has not been given back yet.' },
)

/** Space is given back when what nobody needs is pruned, which may leave some for later. */
const FreedSpace = {
  freed_bytes: Type.Optional(Type.Integer({ description: 'Bytes that the vault holds less.' })),
  pending_bytes: Type.Optional(Type.Integer({ description: 'Bytes that no backup needs and that a later deletion gives back.' })),
}

const OperationExtraInfo = Type.Object({
  common: Type.Object({
    progress: Type.Integer({ minimum: 0, maximum: 100, description: 'Percentage done.' }),
    request_id: Type.String({ description: 'Call that started it.' }),
    task_id: NullableText('Internal job id.'),
  }),
  resource: Type.Optional(OperationResource),
  schedule: Type.Optional(Type.Object({
    due_at: Type.String({ description: 'When the policy was due.' }),
    missed_runs: Type.Integer({ minimum: 0, description: 'Earlier due times that this run makes up for.' }),
    moved: Type.Boolean({ description: 'The clock time of the rule was skipped that day; the run came right after.' }),
  }, { description: 'Only of runs that a schedule started; not a part of the cloud\'s.' })),
  backup: Type.Optional(Type.Object({
    backup_id: Type.String(),
    backup_name: Type.String(),
    incremental: Type.Enum(['true', 'false']),
    app_consistency_status: Type.Enum(['0', '1']),
    app_consistency_error_code: Type.String(),
    app_consistency_error_message: Type.String(),
    warnings: Type.Optional(Type.Array(
      Type.Object({ path: Type.String(), message: Type.String() }),
      { description: 'What was noticed while reading the source; the first few.' },
    )),
    warning_count: Type.Optional(Type.Integer({ description: 'How many there were.' })),
  })),
  restore: Type.Optional(Type.Object({
    backup_id: Type.String(),
    backup_name: Type.String(),
    target_resource_id: Type.Optional(Type.String({ description: 'Resource overwritten.' })),
    target_resource_name: Type.Optional(NullableText('Its name.')),
    destination_path: Type.Optional(Type.String({ description: 'Directory restored into.' })),
    interruptions: Type.Optional(Type.Integer({ description: 'How often the restore was broken off and begun again.' })),
    warnings: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
    warning_count: Type.Optional(Type.Integer()),
  })),
  delete: Type.Optional(Type.Object({
    backup_id: Type.String(),
    backup_name: Type.String(),
    ...FreedSpace,
    warnings: Type.Optional(RemovalWarnings),
    warning_count: Type.Optional(Type.Integer()),
  })),
  remove_resources: Type.Optional(Type.Object({
    resources: Type.Array(OperationResource),
    fail_count: Type.Integer({ description: 'Resources that could not be removed.' }),
    total_count: Type.Integer({ description: 'Backups deleted on the way.' }),
    ...FreedSpace,
    warnings: Type.Optional(RemovalWarnings),
    warning_count: Type.Optional(Type.Integer()),
  })),
  vault_delete: Type.Optional(Type.Object({
    fail_count: Type.Integer({ description: 'Resources that could not be deleted.' }),
    total_count: Type.Integer({ description: 'Backups deleted in total.' }),
    fail_delete_count: Type.Integer({ description: 'The same as fail_count.' }),
    total_delete_count: Type.Integer({ description: 'The same as total_count.' }),
  })),
})
export type OperationExtraInfo = Static<typeof OperationExtraInfo>

export const OperationLog = Type.Object({
  id: Type.String(),
  operation_type: OperationType,
  status: OperationStatus,
  project_id: Type.String(),
  vault_id: NullableText('Vault concerned.'),
  vault_name: NullableText('Its name.'),
  policy_id: NullableText('Policy behind an automatic task.'),
  checkpoint_id: NullableText('Restore point concerned.'),
  provider_id: NullableText('Backup engine.'),
  created_at: Type.String(),
  started_at: NullableText('Null while waiting.'),
  updated_at: NullableText('Last change.'),
  ended_at: NullableText('Null while not final.'),
  error_info: Type.Object(
    { code: Type.String(), message: Type.String() },
    { description: 'Both empty unless the task failed.' },
  ),
  extra_info: OperationExtraInfo,
})
export type OperationLog = Static<typeof OperationLog>

export const ListOperationLogsAnswer = Type.Object({
  operation_logs: Type.Array(OperationLog),
  count: Type.Integer({ minimum: 0, description: 'Tasks that match the filters, whatever the page.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})

export const ShowOperationLogAnswer = Type.Object({ operation_log: OperationLog })
