/** Backups: listing, showing, renaming, metadata. */
import { Type, type Static } from 'typebox'
import { ProviderId } from './enumerations.ts'

export const BackupStatus = Type.Enum(
  ['available', 'protecting', 'deleting', 'restoring', 'error', 'waiting_protect', 'waiting_delete', 'waiting_restore'],
  { type: 'string', description: 'Life-cycle status of a backup.' },
)

export const ImageType = Type.Enum(['backup', 'replication'], {
  type: 'string', description: 'How the backup came into being: taken here (backup), or received from another region (replication).',
})

export const OwnType = Type.Enum(['all_granted', 'private', 'shared'], {
  type: 'string', description: 'Whose backups to list: own ones, ones shared by other projects, or both.',
})

export const MemberStatus = Type.Enum(['pending', 'accepted', 'rejected'], {
  type: 'string', description: 'Answer of the receiving project to a share.',
})

export const BackupResourceType = Type.Enum([
  'OS::Nova::Server', 'OS::Cinder::Volume', 'OS::Ironic::BareMetalServer', 'OS::Native::Server', 'OS::Sfs::Turbo',
  'OS::Workspace::DesktopV2',
], { type: 'string', description: 'Kind of protected resource.' })

const ReplicationStatus = Type.Enum(['replicating', 'success', 'fail', 'skip', 'waiting_replicate'], {
  type: 'string', description: 'Progress of one backup replication.',
})

const Timestamp = Type.String({
  pattern: String.raw`^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:?\d{2})?$`,
  description: 'Point in time in UTC, with microseconds and without a zone suffix: 2020-02-05T10:38:34.209782.',
})
const TimestampOrNull = Type.Union([Timestamp, Type.Null()])
const TextOrNull = Type.Union([Type.String(), Type.Null()])
const FlagOrNull = Type.Union([Type.Boolean(), Type.Null()])
const PercentOrNull = Type.Union([Type.Integer({ minimum: 0, maximum: 100 }), Type.Null()])

const SORT_KEY = '(created_at|updated_at|name|status|protected_at|id)(:(asc|desc))?'
/** The contract's input form of times; days that do not exist are refused by the verb. */
const INPUT_TIME = String.raw`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$`

export const ListBackupsQuery = Type.Object({
  checkpoint_id: Type.Optional(Type.String({ description: 'Restore point id.' })),
  dec: Type.Optional(Type.Boolean({ description: 'Dedicated-cloud flag; has no effect here.' })),
  start_time: Type.Optional(Type.String({ pattern: INPUT_TIME, description: 'Earliest creation time, as in 2018-02-01T12:00:00Z.' })),
  end_time: Type.Optional(Type.String({ pattern: INPUT_TIME, description: 'Latest creation time, as in 2018-02-01T12:00:00Z.' })),
  enterprise_project_id: Type.Optional(Type.String({ description: 'Enterprise project id, or all_granted_eps for every one the caller may see.' })),
  image_type: Type.Optional(ImageType),
  incremental: Type.Optional(Type.Boolean({ description: 'Only incremental (true) or only full (false) backups; absent: both.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
  member_status: Type.Optional(MemberStatus),
  name: Type.Optional(Type.String({ description: 'Backup name.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  own_type: Type.Optional(OwnType),
  parent_id: Type.Optional(Type.String({ description: 'Parent backup id; lists leave children out without it.' })),
  resource_az: Type.Optional(Type.String({ description: 'Availability zone of the source.' })),
  resource_id: Type.Optional(Type.String({ description: 'Source resource id.' })),
  resource_name: Type.Optional(Type.String({ description: 'Source resource name.' })),
  resource_type: Type.Optional(BackupResourceType),
  sort: Type.Optional(Type.String({
    maxLength: 255,
    pattern: `^${SORT_KEY}(,${SORT_KEY})*$`,
    description: 'Comma-separated key[:direction]; direction asc or desc, desc when absent. Keys: created_at, updated_at, name, status, protected_at, id.',
  })),
  status: Type.Optional(Type.Array(BackupStatus, { description: 'Status; repeat it to match any of several.' })),
  used_percent: Type.Optional(Type.String({
    pattern: '^([1-9][0-9]?|100)$', description: 'Lower bound, 1 to 100, on the fill level of the vault that holds the backup.',
  })),
  vault_id: Type.Optional(Type.String({ description: 'Vault id.' })),
  show_replication: Type.Optional(Type.Boolean({ description: 'Fill replication_records.' })),
})
export type ListBackupsQuery = Static<typeof ListBackupsQuery>

const BackupExtendInfo = Type.Object({
  auto_trigger: Type.Boolean({ description: 'True when a policy made the backup, false when a person or API call did.' }),
  bootable: FlagOrNull,
  snapshot_id: TextOrNull,
  support_lld: FlagOrNull,
  supported_restore_mode: Type.Union([Type.Enum(['na', 'backup', 'snapshot'], { type: 'string' }), Type.Null()]),
  os_images_data: Type.Union([Type.Array(Type.Object({ image_id: Type.String() })), Type.Null()]),
  contain_system_disk: FlagOrNull,
  encrypted: FlagOrNull,
  system_disk: FlagOrNull,
  incremental: FlagOrNull,
  is_multi_az: FlagOrNull,
  progress: PercentOrNull,
  architecture: TextOrNull,
  app_consistency: Type.Union([
    Type.Object({
      app_consistency: Type.Optional(Type.String()),
      app_consistency_status: Type.Optional(Type.String()),
      app_consistency_error_code: Type.Optional(Type.String()),
      app_consistency_error_message: Type.Optional(Type.String()),
    }),
    Type.Null(),
  ], { description: 'Null: applications in a server are not brought to rest here.' }),
  encrypted_algorithm: TextOrNull,
  is_dec: FlagOrNull,
})

const ReplicationRecord = Type.Object({
  id: Type.String(),
  created_at: TimestampOrNull,
  status: ReplicationStatus,
  extra_info: Type.Object({
    progress: PercentOrNull,
    fail_code: TextOrNull,
    fail_reason: TextOrNull,
    auto_trigger: Type.Boolean(),
    destination_vault_id: TextOrNull,
    destinatio_vault_id: Type.Union([Type.String(), Type.Null()], {
      description: 'The same as destination_vault_id, under the misspelt key that some clients read.',
    }),
  }),
  source_backup_id: Type.String(),
  source_checkpoint_id: TextOrNull,
  source_project_id: Type.String(),
  source_region: Type.String(),
  destination_backup_id: TextOrNull,
  destination_checkpoint_id: TextOrNull,
  destination_project_id: Type.String(),
  destination_region: Type.String(),
  destination_vault_id: TextOrNull,
  vault_id: TextOrNull,
})
export type ReplicationRecord = Static<typeof ReplicationRecord>

const backupMembers = {
  id: Type.String(),
  name: Type.String(),
  description: TextOrNull,
  status: BackupStatus,
  image_type: ImageType,
  checkpoint_id: Type.String(),
  parent_id: TextOrNull,
  project_id: Type.String({ description: 'Owning project.' }),
  enterprise_project_id: Type.String(),
  vault_id: Type.Union([Type.String(), Type.Null()], {
    description: 'Vault that holds the backup; for a shared backup the vault that accepted it, null until then.',
  }),
  provider_id: ProviderId,
  resource_id: Type.String(),
  resource_name: Type.String(),
  resource_type: BackupResourceType,
  resource_size: Type.Integer({ minimum: 0, description: 'Size of the source in GB.' }),
  resource_az: TextOrNull,
  incremental: Type.Boolean(),
  version: Type.Integer(),
  created_at: Timestamp,
  updated_at: TimestampOrNull,
  protected_at: TimestampOrNull,
  expired_at: TimestampOrNull,
  scheduled_operation_id: TextOrNull,
  extend_info: BackupExtendInfo,
  replication_records: Type.Array(ReplicationRecord),
}

/** The contract nests backups without end; there are two levels: a server's backup and its disks'. */
const ChildBackup = Type.Object({ ...backupMembers, children: Type.Array(Type.Unknown(), { maxItems: 0 }) })

export const Backup = Type.Object({
  ...backupMembers,
  children: Type.Array(ChildBackup, { description: 'Disk-level parts of a server backup; empty in lists.' }),
})
export type Backup = Static<typeof Backup>

export const ListBackupsResponse = Type.Object({
  backups: Type.Array(Backup),
  count: Type.Integer({ minimum: 0, description: 'Number of backups that match the filters, regardless of paging.' }),
  offset: Type.Integer({ minimum: 0, description: 'Offset in force for this answer.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000, description: 'Page size in force for this answer.' }),
})
export type ListBackupsResponse = Static<typeof ListBackupsResponse>

export const BackupParams = Type.Object({ project_id: Type.String(), backup_id: Type.String({ description: 'Backup id.' }) })

export const BackupResponse = Type.Object({ backup: Backup })

export const UpdateBackupRequest = Type.Object({
  backup: Type.Optional(Type.Object({
    name: Type.Optional(Type.String({
      minLength: 1, maxLength: 64, pattern: String.raw`^[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-]*$`, description: 'New name.',
    })),
    description: Type.Optional(Type.String({ maxLength: 255, pattern: '^[^<>]*$', description: 'New description; the cloud changes names only.' })),
  })),
})
export type UpdateBackupRequest = Static<typeof UpdateBackupRequest>

export const BackupMetadata = Type.Object({
  backup_id: Type.String(),
  backups: Type.String({ description: 'JSON text: the backup record.' }),
  flavor: Type.String({ description: 'JSON text: server flavour.' }),
  floatingips: Type.Array(Type.String({ description: 'JSON text: one public address.' })),
  interface: Type.String({ description: 'JSON text: network interfaces.' }),
  ports: Type.Array(Type.String({ description: 'JSON text: one network port.' })),
  server: Type.String({ description: 'JSON text: server record.' }),
  volumes: Type.Array(Type.String({ description: 'JSON text: one disk.' })),
})
export type BackupMetadata = Static<typeof BackupMetadata>
