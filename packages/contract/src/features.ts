/** What the deployment can do, and what it refuses because it takes a second region or hybrid storage. */
import { Type } from 'typebox'

const Name = Type.String({ minLength: 1, maxLength: 64, pattern: String.raw`^[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-]*$` })
const Region = Type.String({ maxLength: 255, pattern: String.raw`^[a-zA-Z0-9._\-]*$`, description: 'Target region.' })

export const FeaturesQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Page size.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000, description: 'Rows to skip.' })),
})
export const FeatureParams = Type.Object({ project_id: Type.String(), feature_key: Type.String({ maxLength: 255, description: 'Feature key.' }) })
export const FeatureMap = Type.Record(Type.String(), Type.Union([Type.Boolean(), Type.String(), Type.Array(Type.String())]), {
  description: 'Feature keys with their values.',
})

export const ReplicationCapabilitiesAnswer = Type.Object({
  regions: Type.Array(Type.Object({
    name: Type.String({ description: 'Region.' }), replication_destinations: Type.Array(Type.String(), { description: 'Regions it can replicate to.' }),
  })),
})

export const CopyBackupBody = Type.Object({
  replicate: Type.Object({
    destination_project_id: Type.String(),
    destination_region: Region,
    destination_vault_id: Type.String(),
    description: Type.Optional(Type.String({ maxLength: 255, pattern: '^[^<>]*$' })),
    name: Type.Optional(Name),
    enable_acceleration: Type.Optional(Type.Boolean()),
    cross_account_urn: Type.Optional(Type.String()),
  }),
})

const CheckpointReplicate = Type.Object({
  vault_id: Type.String({ description: 'Source vault (UUID).' }),
  destination_project_id: Type.String(),
  destination_region: Region,
  destination_vault_id: Type.String(),
  auto_trigger: Type.Optional(Type.Boolean()),
  enable_acceleration: Type.Optional(Type.Boolean()),
  cross_account_urn: Type.Optional(Type.String()),
})
/** One client wraps the order once more, in `checkpoint`. */
export const CopyCheckpointBody = Type.Object({
  replicate: Type.Optional(CheckpointReplicate),
  checkpoint: Type.Optional(Type.Object({ replicate: CheckpointReplicate })),
})

export const ImportBackupBody = Type.Object({
  sync: Type.Array(Type.Object({
    backup_id: Type.String(),
    backup_name: Name,
    bucket_name: Type.String(),
    created_at: Type.Integer({ description: 'Creation time as Unix seconds.' }),
    image_path: Type.String(),
    resource_id: Type.String(),
    resource_name: Type.String(),
    resource_type: Type.String(),
  }), { minItems: 1, maxItems: 50, description: 'Backups to register.' }),
})
export const ImportCheckpointBody = Type.Object({
  sync: Type.Object({ auto_trigger: Type.Boolean(), vault_id: Type.String({ description: 'Hybrid vault.' }) }),
})

export const MigrateStatusQuery = Type.Object({ all_regions: Type.Optional(Type.Boolean({ description: 'Include other regions.' })) })
const MigrateStatus = Type.Unsafe<string>({ type: 'string', enum: ['migrating', 'success', 'failed'] })
export const MigrateStatusAnswer = Type.Object({
  status: MigrateStatus,
  project_status: Type.Array(Type.Object({
    project_id: Type.String(),
    project_name: Type.String(),
    region_id: Type.String(),
    status: MigrateStatus,
    progress: Type.Integer(),
    fail_code: Type.Optional(Type.Integer()),
    fail_reason: Type.Optional(Type.String()),
  })),
})

const SelfLink = Type.Object({ self: Type.String() })
export const OwnProjectsAnswer = Type.Object({
  projects: Type.Array(Type.Object({
    id: Type.String(), name: Type.String(), description: Type.String(), domain_id: Type.String(), parent_id: Type.String(),
    enabled: Type.Boolean(), is_domain: Type.Boolean(), links: SelfLink,
  })),
  links: SelfLink,
})
export const DomainProjectsAnswer = Type.Object({
  projects: Type.Array(Type.Object({ project_id: Type.String(), project_name: Type.String() })),
})
