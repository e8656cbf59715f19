/** Vaults and the resources in them: what the calls take and answer. */
import { Type, type Static } from 'typebox'
import { ProviderId, SpecCode } from './enumerations.ts'
import { CloudType, ObjectType, TagIn, TAG_KEY, TAG_VALUE, VAULT_TAGS_MAX } from './vault-parts.ts'

const NAME = String.raw`^[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-]*$`
const NO_MARKUP = '^[^<>]*$'
export const VAULT_RESOURCES_MAX = 256
export const VAULT_SIZE_GB_MIN = 10
export const VAULT_SIZE_GB_MAX = 10_485_760

export const VaultResourceType = Type.Enum([
  'OS::Nova::Server', 'OS::Cinder::Volume', 'OS::Ironic::BareMetalServer', 'OS::Native::Server', 'OS::Sfs::Turbo',
  'OS::Workspace::DesktopV2',
], { type: 'string', description: 'Kind of resource.' })
export type VaultResourceType = Static<typeof VaultResourceType>

const ProtectType = Type.Enum(['backup', 'replication'], { type: 'string', description: 'Purpose of a vault.' })
const BillingProtectType = Type.Enum(['backup', 'replication', 'hybrid'], { type: 'string', description: 'Purpose of a vault.' })
const VaultStatus = Type.Enum(['available', 'lock', 'frozen', 'deleting', 'error'], {
  type: 'string', description: 'lock: a change of size is in progress; not the WORM lock.',
})
const CONSISTENT_LEVELS = ['app_consistent', 'crash_consistent'] as const
const ConsistentLevel = Type.Enum([...CONSISTENT_LEVELS], { type: 'string', description: 'Consistency class.' })
/** The Go SDK sends an empty text for what is unset. */
const ConsistentLevelIn = Type.Enum([...CONSISTENT_LEVELS, ''], {
  type: 'string', description: 'Consistency class; an empty text counts as crash_consistent on creation, and as absent in a change.',
})

export const ResourceExtraInfo = Type.Object({
  exclude_volumes: Type.Optional(Type.Array(Type.String(), { description: 'Disks of a server to leave out.' })),
  include_volumes: Type.Optional(Type.Array(
    Type.Object({ id: Type.String(), os_version: Type.Optional(Type.String()) }),
    { description: 'Only these disks of a server are backed up.' },
  )),
})

const ResourceCreate = Type.Object({
  id: Type.String({ description: 'Resource id.' }),
  type: VaultResourceType,
  name: Type.Optional(Type.String({ maxLength: 255, description: 'Resource name.' })),
  extra_info: Type.Optional(ResourceExtraInfo),
})
export type ResourceCreate = Static<typeof ResourceCreate>

const BindRules = Type.Object({
  tags: Type.Optional(Type.Array(Type.Object({
    key: Type.String({ pattern: TAG_KEY }),
    value: Type.Optional(Type.String({ pattern: TAG_VALUE })),
  }), { maxItems: 5, description: 'Resources with any of these tags qualify; an empty list clears the rules.' })),
}, { description: 'Rules for automatic association.' })
export type BindRules = Static<typeof BindRules>

const Threshold = Type.Integer({ minimum: 1, maximum: 100, description: 'Percentage of use that triggers a notification.' })

export const CreateVaultBody = Type.Object({
  vault: Type.Object({
    name: Type.String({ minLength: 1, maxLength: 64, pattern: NAME }),
    description: Type.Optional(Type.String({ maxLength: 255, pattern: NO_MARKUP })),
    billing: Type.Object({
      cloud_type: Type.Optional(CloudType),
      consistent_level: ConsistentLevelIn,
      object_type: ObjectType,
      protect_type: ProtectType,
      size: Type.Integer({ description: `Capacity in GB, ${VAULT_SIZE_GB_MIN} to ${VAULT_SIZE_GB_MAX}.` }),
      charging_mode: Type.Optional(Type.Enum(['post_paid', 'pre_paid'], { type: 'string', description: 'This server sells nothing: post_paid only.' })),
      period_type: Type.Optional(Type.Enum(['year', 'month'], { type: 'string', description: 'Without effect.' })),
      period_num: Type.Optional(Type.Integer({ minimum: 1, description: 'Without effect.' })),
      is_auto_renew: Type.Optional(Type.Boolean({ description: 'Without effect.' })),
      is_auto_pay: Type.Optional(Type.Boolean({ description: 'Without effect.' })),
      console_url: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'Without effect.' })),
      is_multi_az: Type.Optional(Type.Boolean({ description: 'Kept and shown; storage is where it is.' })),
    }),
    resources: Type.Array(ResourceCreate, { description: `Resources to associate, at most ${VAULT_RESOURCES_MAX}; [] for none.` }),
    backup_policy_id: Type.Optional(Type.String({ description: 'Backup policy to bind.' })),
    tags: Type.Optional(Type.Array(TagIn, { minItems: 1, description: `At most ${VAULT_TAGS_MAX}, with different keys.` })),
    enterprise_project_id: Type.Optional(Type.Union([Type.String({ maxLength: 64 }), Type.Integer()], { description: '"0" is the default one.' })),
    auto_bind: Type.Optional(Type.Boolean({ description: 'Associate fitting resources by itself.' })),
    bind_rules: Type.Optional(BindRules),
    auto_expand: Type.Optional(Type.Boolean({ description: 'Grow by itself when full.' })),
    threshold: Type.Optional(Threshold),
    smn_notify: Type.Optional(Type.Boolean({ description: 'Send notifications.' })),
    backup_name_prefix: Type.Optional(Type.String({ maxLength: 32, description: 'Prefix for the names of automatic backups.' })),
    demand_billing: Type.Optional(Type.Boolean({ description: 'For pre_paid vaults only, so not offered here.' })),
    sys_lock_source_service: Type.Optional(Type.Enum(['SMB', ''], { type: 'string' })),
    locked: Type.Optional(Type.Boolean({ description: 'Create with the WORM lock on.' })),
    availability_zone: Type.Optional(Type.String({ minLength: 1, maxLength: 32, description: 'Zone of the vault.' })),
  }),
})
export type CreateVaultBody = Static<typeof CreateVaultBody>

export const UpdateVaultBody = Type.Object({
  vault: Type.Object({
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 64, pattern: NAME })),
    billing: Type.Optional(Type.Object({
      size: Type.Optional(Type.Integer({ description: 'New capacity in GB; not below what is used.' })),
      consistent_level: Type.Optional(ConsistentLevelIn),
    })),
    auto_bind: Type.Optional(Type.Boolean()),
    bind_rules: Type.Optional(BindRules),
    auto_expand: Type.Optional(Type.Boolean()),
    smn_notify: Type.Optional(Type.Boolean()),
    threshold: Type.Optional(Threshold),
    locked: Type.Optional(Type.Boolean({ description: 'Switch the WORM lock on; it is never switched off.' })),
  }, { description: 'Absent members stay as they are.' }),
})
export type UpdateVaultBody = Static<typeof UpdateVaultBody>

export const VaultParams = Type.Object({
  project_id: Type.String(),
  vault_id: Type.String({ description: 'Vault id.' }),
})

export const ListVaultsQuery = Type.Object({
  name: Type.Optional(Type.String({ pattern: NAME, description: 'Vault name.' })),
  id: Type.Optional(Type.Array(Type.String(), { description: 'Vault id; repeat it to match any of several.' })),
  status: Type.Optional(VaultStatus),
  cloud_type: Type.Optional(CloudType),
  protect_type: Type.Optional(BillingProtectType),
  object_type: Type.Optional(ObjectType),
  policy_id: Type.Optional(Type.String({ description: 'Policy bound to the vault.' })),
  resource_ids: Type.Optional(Type.String({ description: 'Resource ids, separated by commas.' })),
  enterprise_project_id: Type.Optional(Type.String({ description: 'Enterprise project id, or all_granted_eps for every one the caller may see.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
})
export type ListVaultsQuery = Static<typeof ListVaultsQuery>

const TextOrNull = Type.Union([Type.String(), Type.Null()])

const VaultResource = Type.Object({
  id: Type.String(),
  type: VaultResourceType,
  name: Type.String(),
  size: Type.Integer({ minimum: 0, description: 'In GB; 0 while nobody offers the resource.' }),
  protect_status: Type.Enum(['available', 'error', 'protecting', 'restoring', 'removing'], { type: 'string' }),
  backup_size: Type.Integer({ minimum: 0, description: 'Space that its backups added, in MB.' }),
  backup_count: Type.Integer({ minimum: 0 }),
  auto_protect: Type.Boolean(),
  extra_info: ResourceExtraInfo,
})

const Billing = Type.Object({
  status: VaultStatus,
  used: Type.Integer({ minimum: 0, description: 'Space that the vault occupies, in MB.' }),
  size: Type.Integer({ minimum: 1, maximum: VAULT_SIZE_GB_MAX, description: 'Capacity in GB.' }),
  allocated: Type.Integer({ minimum: 0, description: 'Sum of the sizes of the associated resources, in GB.' }),
  protect_type: BillingProtectType,
  object_type: ObjectType,
  spec_code: SpecCode,
  cloud_type: CloudType,
  consistent_level: ConsistentLevel,
  charging_mode: Type.Literal('post_paid'),
  order_id: Type.Null(),
  product_id: Type.Null(),
  storage_unit: Type.Null(),
  frozen_scene: Type.Null(),
  is_multi_az: Type.Boolean(),
  is_double_az: Type.Literal(false),
  partner_bp_id: Type.Null(),
})

export const Vault = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: TextOrNull,
  project_id: Type.String(),
  enterprise_project_id: Type.String(),
  provider_id: ProviderId,
  user_id: Type.String(),
  created_at: Type.String(),
  billing: Billing,
  resources: Type.Array(VaultResource),
  tags: Type.Array(Type.Object({ key: Type.String(), value: Type.String() })),
  auto_bind: Type.Boolean(),
  bind_rules: BindRules,
  auto_expand: Type.Boolean(),
  smn_notify: Type.Boolean(),
  threshold: Threshold,
  locked: Type.Boolean(),
  availability_zone: Type.String(),
  sys_lock_source_service: Type.String(),
  backup_name_prefix: TextOrNull,
  demand_billing: Type.Boolean(),
  cbc_delete_count: Type.Literal(0),
  frozen: Type.Boolean(),
  supplier: Type.Literal(''),
  cross_account: Type.Literal(false),
  cross_account_urn: Type.Literal(''),
})
export type Vault = Static<typeof Vault>

export const VaultAnswer = Type.Object({ vault: Vault })

export const ListVaultsAnswer = Type.Object({
  vaults: Type.Array(Vault),
  count: Type.Integer({ minimum: 0, description: 'Vaults that match the filters, whatever the page.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})

export const AddResourcesBody = Type.Object({
  resources: Type.Array(ResourceCreate, { minItems: 1, description: 'One that is in this vault already gets its disk selection changed.' }),
})
export type AddResourcesBody = Static<typeof AddResourcesBody>

export const AddResourcesAnswer = Type.Object({ add_resource_ids: Type.Array(Type.String()) })

export const RemoveResourcesBody = Type.Object({
  resource_ids: Type.Array(Type.String(), { minItems: 1, maxItems: VAULT_RESOURCES_MAX }),
})
export type RemoveResourcesBody = Static<typeof RemoveResourcesBody>

export const RemoveResourcesAnswer = Type.Object({ remove_resource_ids: Type.Array(Type.String()) })

export const BatchUpdateVaultsBody = Type.Object({
  vault: Type.Object({
    smn_notify: Type.Optional(Type.Boolean({ description: 'Record events when the threshold is reached.' })),
    threshold: Type.Optional(Threshold),
  }, { description: 'Absent members stay as they are.' }),
})
export type BatchUpdateVaultsBody = Static<typeof BatchUpdateVaultsBody>

export const BatchUpdateVaultsAnswer = Type.Object({ updated_vaults_id: Type.Array(Type.String(), { description: 'Vaults of which something changed.' }) })

export const VaultSummaryAnswer = Type.Object({
  size: Type.Integer({ minimum: 0, description: 'Sum of the capacities in GB.' }),
  used_size: Type.Integer({ minimum: 0, description: 'Sum of the used space in GB.' }),
})

export const ListExternalVaultsQuery = Type.Object({
  external_project_id: Type.String({ description: 'Project in the other region.' }),
  region_id: Type.String({ description: 'Other region.' }),
  protect_type: Type.Optional(BillingProtectType),
  objcet_type: Type.Optional(ObjectType),
  object_type: Type.Optional(ObjectType),
  cloud_type: Type.Optional(CloudType),
  vault_id: Type.Optional(Type.String({ description: 'One vault; the other filters are ignored then.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
})
export type ListExternalVaultsQuery = Static<typeof ListExternalVaultsQuery>

export const ListStorageUsageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  resource_id: Type.Optional(Type.String({ description: 'Resource id.' })),
  resource_type: Type.Optional(VaultResourceType),
})
export type ListStorageUsageQuery = Static<typeof ListStorageUsageQuery>

export const ListStorageUsageAnswer = Type.Object({
  resource_count: Type.Integer({ minimum: 0, description: 'Resources that match, whatever the page.' }),
  storage_usage: Type.Array(Type.Object({
    resource_id: Type.String(),
    resource_name: Type.String(),
    resource_type: VaultResourceType,
    backup_count: Type.Integer({ minimum: 0 }),
    backup_size: Type.Integer({ minimum: 0, description: 'Bytes that its backups added.' }),
    backup_size_multiaz: Type.Null(),
  })),
})
export type StorageUsage = Static<typeof ListStorageUsageAnswer>['storage_usage'][number]

export const SetResourcesBody = Type.Object({
  action: Type.Enum(['suspend', 'unsuspend'], { type: 'string', description: 'suspend: no scheduled backups any more; unsuspend: again.' }),
  resource_ids: Type.Array(Type.String(), { maxItems: VAULT_RESOURCES_MAX }),
})
export type SetResourcesBody = Static<typeof SetResourcesBody>

export const SetResourcesAnswer = Type.Object({ set_resource_ids: Type.Array(Type.String()) })

export const MigrateResourcesBody = Type.Object({
  destination_vault_id: Type.String({ description: 'Receiving vault.' }),
  resource_ids: Type.Array(Type.String(), { minItems: 1, maxItems: VAULT_RESOURCES_MAX, description: 'Resources to move with their backups.' }),
})
export type MigrateResourcesBody = Static<typeof MigrateResourcesBody>

export const MigrateResourcesAnswer = Type.Object({ migrated_resources: Type.Array(Type.String(), { description: 'Resources that are being moved.' }) })

/** What stock restic needs to open a vault; not a part of the cloud's API (`/x/v1`). */
export const RecoveryKitAnswer = Type.Object({
  recovery_kit: Type.Object({
    vault_id: Type.String(),
    vault_name: Type.String(),
    repository: Type.String({ description: 'For restic\'s option -r.' }),
    repository_id: TextOrNull,
    password: Type.String({ description: 'For restic\'s RESTIC_PASSWORD.' }),
    variables: Type.Array(Type.String(), {
      description: 'What restic needs in its environment besides: the keys of the bucket. They open every vault in it, so they are not told here.',
    }),
    exists: Type.Boolean({ description: 'False until the first backup of the vault makes the repository.' }),
  }),
})
export type RecoveryKit = Static<typeof RecoveryKitAnswer>['recovery_kit']
