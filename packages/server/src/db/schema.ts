/**
 * The catalogue's tables. Conventions, the same on every database: times are integer microseconds in
 * UTC; booleans are 0 or 1; JSON is text; sizes end in their unit. Ids are text.
 */
import type { ColumnType, Generated, Insertable, Selectable, Updateable } from 'kysely'
import type { AuditCredential, AuditOutcome } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type {
  AgentId, AgentPathId, BackupId, CheckpointId, DomainId, EventId, JobId, OperationLogId, OrganizationPolicyId, PolicyId, ProjectId, ResourceId, UserGroupId, UserId,
  ServerId, VaultId, VerificationId,
} from '../ids.ts'

export type Flag = 0 | 1

export interface DomainTable {
  id: DomainId
  name: string
  description: Generated<string>
  enabled: Generated<Flag>
  created_at: Generated<Micros>
}

export interface ProjectTable {
  id: ProjectId
  domain_id: DomainId
  name: string
  description: Generated<string>
  enabled: Generated<Flag>
  created_at: Generated<Micros>
}

export interface UserTable {
  id: UserId
  domain_id: DomainId
  name: string
  /** argon2id with its parameters, in the PHC string form. */
  password_hash: string
  description: Generated<string>
  enabled: Generated<Flag>
  created_at: Micros
}

export interface UserGroupTable {
  id: UserGroupId
  domain_id: DomainId
  name: string
  description: string
  created_at: Micros
}

export interface UserGroupMemberTable {
  group_id: UserGroupId
  user_id: UserId
}

/** Roles that somebody made; those that are built in have no row. */
export interface RoleTable {
  id: string
  domain_id: DomainId
  name: string
  description: string
  /** JSON array of actions; `*` stands for any characters. */
  actions: string
  created_at: Micros
}

/** Who may do what where. */
export interface RoleAssignmentTable {
  id: string
  /** `user:<id>` or `group:<id>`. */
  subject: string
  /** `project:<id>`, `domain:<id>` (with all its projects) or `system`. */
  scope: string
  /** The name of a built-in role, or the id of a row of `roles`. */
  role: string
  /** JSON array: the role counts for these enterprise projects only; null: for all. */
  enterprise_project_ids: string | null
  created_at: Micros
}

export interface AccessKeyTable {
  access_key: string
  user_id: UserId
  /** Sealed with the server's master key. */
  secret_sealed: string
  description: Generated<string>
  enabled: Generated<Flag>
  /** SHA-256 of the security token, hexadecimal: this and the next two are of temporary keys only. */
  security_token_hash: string | null
  project_id: ProjectId | null
  expires_at: Micros | null
  created_at: Micros
}

export interface TokenTable {
  /** SHA-256 of the token, hexadecimal: the token itself is not kept. */
  token_hash: string
  user_id: UserId
  project_id: ProjectId | null
  domain_id: DomainId | null
  methods: string
  issued_at: Micros
  expires_at: Micros
}

export type ResourceType = 'OS::Cinder::Volume' | 'OS::Sfs::Turbo' | 'OS::Native::Server'

export interface ResourceTable {
  id: ResourceId
  project_id: ProjectId
  type: ResourceType
  name: string
  /** Absolute path, as it was resolved when the resource was declared; of an agent's server `agent:<id>`. */
  path: string
  size_bytes: number
  created_at: Micros
  updated_at: Micros
}

export type VaultStatus = 'available' | 'lock' | 'frozen' | 'deleting' | 'error'

export interface VaultTable {
  id: VaultId
  project_id: ProjectId
  user_id: UserId
  name: string
  description: string | null
  enterprise_project_id: string
  provider_id: string
  status: VaultStatus
  protect_type: 'backup' | 'replication'
  object_type: string
  cloud_type: string
  consistent_level: string
  charging_mode: string
  is_multi_az: Flag
  size_gb: number
  /** Bytes that the vault's repository holds in packs. */
  used_bytes: number
  auto_bind: Flag
  /** JSON: {} or {"tags": [...]}. */
  bind_rules: string
  auto_expand: Flag
  smn_notify: Flag
  threshold_percent: number
  locked: Flag
  demand_billing: Flag
  /** Bytes of the backups of others that were accepted into the vault; triggers keep it. */
  shared_bytes: Generated<number>
  /** Whether the threshold was reached when it was last looked at; its crossing is an event. */
  threshold_reached: Generated<Flag>
  availability_zone: string
  sys_lock_source_service: string
  backup_name_prefix: string | null
  /** Where the repository lies: an absolute path or URL; null until the first backup creates it. */
  repository_url: string | null
  repository_id: string | null
  /** The repository's password, sealed with the server's master key. */
  password_sealed: string
  created_at: Micros
  updated_at: Micros
}

export type ProtectStatus = 'available' | 'protecting' | 'restoring' | 'removing' | 'error'

export interface VaultResourceTable {
  vault_id: VaultId
  resource_id: ResourceId
  project_id: ProjectId
  resource_type: string
  name: string | null
  size_gb: number
  protect_status: ProtectStatus
  auto_protect: Flag
  /** JSON as the client sent it. */
  extra_info: string
  added_at: Micros
}

/** What the backups of a resource amount to in a vault; triggers keep it. */
export interface VaultUsageTable {
  vault_id: VaultId
  resource_id: ResourceId
  project_id: ProjectId
  resource_type: string
  /** As the newest backup has it. */
  resource_name: string
  backup_count: number
  stored_bytes: number
}

/** Something that a person may want to know of, and that no call caused. */
export interface EventTable {
  id: EventId
  project_id: ProjectId
  kind: string
  vault_id: VaultId | null
  vault_name: string | null
  resource_id: ResourceId | null
  message: string
  /** JSON object, by kind. */
  facts: string
  /** Whether deliveries to receivers have been made of it. */
  dispatched: Generated<Flag>
  created_at: Micros
}

/** One event on its way to one receiver; gone when it has arrived, or is given up. */
export interface WebhookDeliveryTable {
  /** What the receiver knows it by, however often it comes. */
  id: string
  event_id: EventId
  /** Its address. */
  receiver: string
  body: string
  attempts: number
  /** When to try, or, while somebody does, when to take it from them. */
  due_at: Micros
  created_at: Micros
}

/** Of declared resources. */
export interface ResourceTagTable {
  resource_id: ResourceId
  key: string
  value: string
}

export interface VaultTagTable {
  vault_id: VaultId
  key: string
  value: string
}

export type CheckpointStatus = 'protecting' | 'available' | 'error' | 'deleting' | 'error-deleting'

export interface CheckpointTable {
  id: CheckpointId
  project_id: ProjectId
  vault_id: VaultId
  status: CheckpointStatus
  name: string
  description: string
  auto_trigger: Flag
  incremental: Flag
  /** JSON array of {id, type, name, code, reason}. */
  skipped_resources: string
  created_at: Micros
}

export type BackupStatus =
  | 'available' | 'protecting' | 'deleting' | 'restoring' | 'error'
  | 'waiting_protect' | 'waiting_delete' | 'waiting_restore'

export type ImageType = 'backup' | 'replication'

export interface BackupTable {
  id: BackupId
  project_id: ProjectId
  vault_id: VaultId
  checkpoint_id: CheckpointId
  parent_id: BackupId | null
  name: string
  description: string
  status: BackupStatus
  image_type: string
  resource_id: ResourceId
  resource_name: string
  resource_type: string
  resource_size_gb: number
  resource_az: string
  enterprise_project_id: string
  provider_id: string
  /** Echoes the request, as the cloud does: a first backup asked for as incremental shows 1. */
  incremental: Flag
  auto_trigger: Flag
  created_at: Micros
  updated_at: Micros
  protected_at: Micros | null
  expired_at: Micros | null
  bootable: Flag | null
  /** The engine's snapshot (restic's id) that holds the data; null until the run has written it. */
  snapshot_id: string | null
  support_lld: Flag
  supported_restore_mode: 'na' | 'backup' | 'snapshot'
  contain_system_disk: Flag
  encrypted: Flag
  system_disk: Flag
  is_multi_az: Flag
  /** JSON array of {image_id}, or null. */
  os_images_data: string | null
  /** Absolute path of the resource when it was backed up; null for rows without data of their own. */
  source_path: string | null
  /** Bytes of the source, and bytes that this backup added to the repository's packs. */
  content_bytes: number
  stored_bytes: number
  version: number
  /** The policy whose retention the backup is under; null for what no policy made. */
  policy_id: PolicyId | null
  /** The backup as lists answer it, in JSON; a trigger writes it. Null for children, of which few are listed at a time. */
  document: ColumnType<string | null, string | null | undefined, never>
}

/** How many top-level backups a project has, by one of a few facets and the status: kept by triggers. */
export interface BackupCountTable {
  project_id: ProjectId
  facet: 'all' | 'day' | 'updated_day' | 'protected_day' | 'id' | 'vault' | 'name' | 'resource_name'
    | 'image_type' | 'resource_type' | 'incremental' | 'resource_az' | 'enterprise_project'
    | 'image_type_day' | 'resource_type_day' | 'incremental_day' | 'enterprise_project_day'
  value: string
  status: BackupStatus
  rows: number
}

/** How many top-level backups there are of each combination of the columns that have few values: kept by triggers. */
export interface BackupCellTable {
  project_id: ProjectId
  /** Empty: of all the project's own; a vault's id: within it; `received:accepted` and the like: of `shared_backups`. */
  scope: string
  status: BackupStatus
  image_type: string
  resource_type: string
  incremental: Flag
  resource_az: string
  enterprise_project_id: string
  rows: number
}

/**
 * What a project sees through shares, as `received`, and which of its own backups it offers, as `given`: one row for each state of the
 * shares that a backup has. Children come with their parents. Kept by triggers.
 */
export interface SharedBackupTable extends Pick<BackupTable,
  | 'id' | 'project_id' | 'parent_id' | 'checkpoint_id' | 'name' | 'status' | 'image_type' | 'resource_id' | 'resource_name' | 'resource_type'
  | 'resource_az' | 'enterprise_project_id' | 'incremental' | 'created_at' | 'updated_at' | 'protected_at'
> {
  role: 'given' | 'received'
  member_status: MemberStatus
  /** Where the project sees it: none for what it has not accepted. */
  vault_id: VaultId | null
  /** As the project sees it; empty for children. */
  document: string
}

/** Grows whenever something changes that a project's listings of backups show: kept by triggers. */
export interface BackupRevisionTable {
  project_id: ProjectId
  revision: number
}

export type MemberStatus = 'pending' | 'accepted' | 'rejected'

/** A share: one backup offered to one other project. */
export interface BackupMemberTable {
  id: string
  backup_id: BackupId
  /** The owner's, as the backup's own row has it. */
  project_id: ProjectId
  dest_project_id: ProjectId
  status: MemberStatus
  /** The receiver's vault; null until accepted. */
  vault_id: VaultId | null
  image_id: string | null
  created_at: Micros
  updated_at: Micros
}

export interface ReplicationRecordTable {
  id: string
  backup_id: BackupId
  checkpoint_id: CheckpointId
  vault_id: VaultId
  project_id: ProjectId
  status: 'waiting_replicate' | 'replicating' | 'success' | 'fail' | 'skip'
  source_region: string
  destination_region: string
  destination_project_id: string
  destination_vault_id: string
  destination_backup_id: string
  destination_checkpoint_id: string
  progress: number
  fail_code: string
  fail_reason: string
  auto_trigger: Flag
  created_at: Micros
}

export type OperationType = 'backup' | 'copy' | 'replication' | 'restore' | 'delete' | 'remove_resource' | 'vault_delete'
export type OperationStatus = 'waiting' | 'running' | 'success' | 'failed' | 'timeout' | 'skipped'

export interface OperationLogTable {
  id: OperationLogId
  project_id: ProjectId
  enterprise_project_id: string
  provider_id: string
  operation_type: OperationType
  status: OperationStatus
  vault_id: VaultId
  vault_name: string
  checkpoint_id: CheckpointId | null
  backup_id: BackupId | null
  resource_id: ResourceId | null
  resource_name: string | null
  resource_type: string | null
  policy_id: string | null
  /** 0 to 100. */
  progress: number
  request_id: string
  error_code: string
  error_message: string
  /** JSON: the parts of the contract's extra_info besides `common`. */
  extra_info: string
  created_at: Micros
  updated_at: Micros
  started_at: Micros | null
  ended_at: Micros | null
}

export type JobKind = 'migrate_resource' | 'forget_moved' | 'backup' | 'restore' | 'delete_backup' | 'remove_resource' | 'delete_vault' | 'verify'
export type JobStatus = 'waiting' | 'leased' | 'succeeded' | 'failed' | 'cancelled'

/** Work for an agent. A job may run twice (its holder died) and must not mind. */
export interface JobTable {
  id: JobId
  kind: JobKind
  project_id: ProjectId
  vault_id: VaultId
  backup_id: BackupId | null
  /** A second vault that the job works in: nothing that takes out of it runs meanwhile. */
  target_vault_id: Generated<VaultId | null>
  operation_log_id: OperationLogId
  /** JSON, by kind. */
  payload: string
  status: JobStatus
  /** How often the job was leased. */
  attempts: number
  /** Which agent process holds it; a new process never continues an old one's lease. */
  lease_holder: string | null
  leased_at: Micros | null
  /** When somebody asked that it stop; it never starts again after that. */
  cancel_requested_at: Micros | null
  /** Of a leased backup: the bytes that it may still add to its vault, which nobody else may. */
  reserved_bytes: Generated<number | null>
  created_at: Micros
}

export type AgentStatus = 'normal' | 'uninstall'

/** A registered file agent: a machine, some directories of which are protected together as one resource. */
export interface AgentTable {
  project_id: ProjectId
  /** As whoever registered it made it up; known by it only inside the project. */
  id: AgentId
  /** The protectable resource that it stands for. */
  resource_id: ResourceId
  agent_type: string
  agent_version: string | null
  host_ip: string
  host_name: string
  host_nickname: string | null
  host_os: string
  status: AgentStatus
  /** Whether the agent process of this server reads its directories. */
  is_local: Flag
  created_at: Micros
  updated_at: Micros
  last_active_at: Micros
}

export interface AgentPathTable {
  id: AgentPathId
  project_id: ProjectId
  agent_id: AgentId
  dir_path: string
  status: 'available' | 'remove'
  /** Comma-separated absolute paths, as the wire shows them; null for none. */
  exclude_paths: string | null
  created_at: Micros
}

export type PolicyOperationType = 'backup' | 'replication'

/** Whose it is: the project's, an organization policy's, or the project's since that one went. */
export type PolicyType = 'custom_policy' | 'organization_policy_v1' | 'organization_policy_removed'

export interface PolicyTable {
  id: PolicyId
  project_id: ProjectId
  name: string
  enabled: Flag
  operation_type: PolicyOperationType
  /** JSON: what it does and what it keeps, with all defaults filled in. */
  operation_definition: string
  trigger_id: string
  /** JSON array of rules, byte for byte as they were sent. */
  pattern: string
  /** In which the rules are read: UTC, as in the cloud, or an IANA name. */
  time_zone: string
  policy_type: PolicyType
  created_at: Micros
  updated_at: Micros
}

/** A policy of a domain; each of its projects, or some, have it as a policy of their own. */
export interface OrganizationPolicyTable {
  id: OrganizationPolicyId
  domain_id: DomainId
  name: string
  description: string
  operation_type: PolicyOperationType
  /** As it was sent. */
  effective_scope: string
  /** Whether it is for all projects of the domain, those that are yet to be made too. */
  whole_domain: Flag
  policy_name: string
  policy_enabled: Flag
  /** As in `policies`. */
  operation_definition: string
  pattern: string
  created_at: Micros
  updated_at: Micros
}

/** The policy that stands for an organization policy in a project. */
export interface OrganizationPolicyDeploymentTable {
  organization_policy_id: OrganizationPolicyId
  project_id: ProjectId
  policy_id: PolicyId
  deployed_at: Micros
}

/** Which policies a vault has, one of each kind at most, and where their schedule is. */
export interface VaultPolicyTable {
  vault_id: VaultId
  operation_type: PolicyOperationType
  project_id: ProjectId
  policy_id: PolicyId
  destination_vault_id: VaultId | null
  bound_at: Micros
  /** When the next run is due; null while nothing is. */
  next_run_at: Micros | null
  /** Incremental runs since the last full one, for `full_backup_interval`. */
  runs_since_full: number
  last_full_at: Micros | null
}

export type PolicyRunOutcome = 'started' | 'skipped' | 'failed'

/** One due time of one policy in one vault: the row is what makes it run once. */
export interface PolicyRunTable {
  policy_id: PolicyId
  vault_id: VaultId
  due_at: Micros
  project_id: ProjectId
  ran_at: Micros
  outcome: PolicyRunOutcome
  checkpoint_id: CheckpointId | null
  /** Why it was skipped or failed: the cloud's code and words. */
  error_code: string
  error_message: string
  /** Earlier due times that this run made up for. */
  missed: number
  moved: Flag
}

/** A backup that retention found to be over, until a second look confirms it. */
export interface PlannedExpiryTable {
  backup_id: BackupId
  project_id: ProjectId
  vault_id: VaultId
  policy_id: PolicyId
  rule: 'age' | 'count' | 'failed'
  reason: string
  planned_at: Micros
}

/** What the servers that share a catalogue agree on, so that one of them does it. */
export interface SchedulerDutyTable {
  name: string
  next_at: Micros
  last_at: Micros
  /** Nothing is deleted before this time. */
  held_until: Micros
}

export type VerificationScope = 'backup' | 'vault' | 'scrub'
export type VerificationLevel = 'structure' | 'sample' | 'data' | 'drill'

/** A verification: the task, and what it found. Its job names it in the place of an operation log. */
export interface VerificationTable {
  id: VerificationId
  project_id: ProjectId
  vault_id: VaultId
  /** Of scope `backup`. */
  backup_id: BackupId | null
  scope: VerificationScope
  level: VerificationLevel
  sample_percent: number | null
  status: 'waiting' | 'running' | 'success' | 'failed'
  /** 0 to 100. */
  progress: number
  /** Whether nothing is damaged; null until it has looked. */
  whole: Flag | null
  snapshots: number
  packs: number
  packs_read: number
  bytes_read: number
  findings_count: number
  /** JSON array of {severity, code, message, path?, packId?, snapshotId?}: the first ones. */
  findings: string
  error_code: string
  error_message: string
  request_id: string
  created_at: Micros
  started_at: Micros | null
  ended_at: Micros | null
}

/** That a vault's packs are read one after the other, all of them within some days; `verify/scrub.ts` explains the state. */
export interface VaultScrubTable {
  vault_id: VaultId
  project_id: ProjectId
  every_days: number
  position: number
  covered_until: Micros
  /** When to begin the next run; later when one has failed. */
  try_at: Micros
  /** The last run. */
  verification_id: VerificationId | null
  created_at: Micros
  updated_at: Micros
}

/** What holds for the catalogue as a whole; `catalogue-facts.ts` says what. */
export interface CatalogueFactTable {
  name: string
  value: string
}

/** A server that uses this catalogue now; a row that nobody renews belongs to one that died. */
export interface ServerTable {
  /** The same at every start on the same data directory. */
  id: ServerId
  /** Another one at every start; the holders of its jobs' leases begin with it. */
  run: string
  host: string
  /** Grows while the server lives. */
  beats: number
  started_at: Micros
  /** By the server's own clock; for people only. */
  beat_at: Micros
}

/** How often something in a place changed, a vault's id or `deployment`, and up to where that is in its manifest. */
export interface ManifestMarkTable {
  place: string
  revision: number
  written: number
}

/** One row: grows whenever what a credential is good for may have changed. Kept by triggers. */
export interface IdentityRevisionTable {
  id: number
  revision: number
}

/** One call that changed something or was denied; `audit/` explains the chain. */
export interface AuditRecordTable {
  sequence: number
  /** When the call came in. */
  created_at: Micros
  request_id: string
  operation: string
  action: string | null
  outcome: AuditOutcome
  status: number | null
  error_code: string | null
  user_id: string | null
  user_name: string | null
  domain_id: string | null
  project_id: string | null
  credential: AuditCredential
  access_key: string | null
  address: string
  /** JSON array of {type, id}. */
  targets: string
  previous_hash: string
  hash: string
}

/** One row: the end of the chain, sealed with the master key. */
export interface AuditHeadTable {
  id: number
  sequence: number
  hash: string
  sealed: string
}

/** Calls that were let in to change something, and have no record yet. */
export interface AuditBegunTable {
  request_id: string
  created_at: Micros
  /** JSON: what the record will say, as far as it is known. */
  entry: string
}

export interface Schema {
  audit_records: AuditRecordTable
  audit_head: AuditHeadTable
  audit_begun: AuditBegunTable
  identity_revision: IdentityRevisionTable
  manifest_marks: ManifestMarkTable
  verifications: VerificationTable
  vault_scrubs: VaultScrubTable
  domains: DomainTable
  projects: ProjectTable
  users: UserTable
  user_groups: UserGroupTable
  user_group_members: UserGroupMemberTable
  roles: RoleTable
  role_assignments: RoleAssignmentTable
  access_keys: AccessKeyTable
  tokens: TokenTable
  resources: ResourceTable
  vaults: VaultTable
  vault_resources: VaultResourceTable
  vault_tags: VaultTagTable
  vault_usage: VaultUsageTable
  resource_tags: ResourceTagTable
  events: EventTable
  webhook_deliveries: WebhookDeliveryTable
  checkpoints: CheckpointTable
  backups: BackupTable
  backup_counts: BackupCountTable
  backup_cells: BackupCellTable
  shared_backups: SharedBackupTable
  backup_revisions: BackupRevisionTable
  backup_members: BackupMemberTable
  replication_records: ReplicationRecordTable
  operation_logs: OperationLogTable
  jobs: JobTable
  agents: AgentTable
  agent_paths: AgentPathTable
  policies: PolicyTable
  organization_policies: OrganizationPolicyTable
  organization_policy_deployments: OrganizationPolicyDeploymentTable
  vault_policies: VaultPolicyTable
  policy_runs: PolicyRunTable
  planned_expiries: PlannedExpiryTable
  scheduler_duties: SchedulerDutyTable
  catalogue_facts: CatalogueFactTable
  servers: ServerTable
}

export type Row<Table extends keyof Schema> = Selectable<Schema[Table]>
export type NewRow<Table extends keyof Schema> = Insertable<Schema[Table]>
export type RowChange<Table extends keyof Schema> = Updateable<Schema[Table]>
