/** Restore points: what `checkpoints` takes and answers. */
import { Type, type Static } from 'typebox'
import { KnownResourceType, ProviderId } from './enumerations.ts'

const NAME = String.raw`^[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-]*$`

const CheckpointResourceType = Type.Enum([
  'OS::Nova::Server', 'OS::Cinder::Volume', 'OS::Ironic::BareMetalServer', 'OS::Native::Server', 'OS::Sfs::Turbo',
  'OS::Workspace::DesktopV2',
], { type: 'string', description: 'Kind of protected resource.' })

const CheckpointResourceDetail = Type.Object({
  id: Type.String({ description: 'Resource id.' }),
  type: CheckpointResourceType,
  name: Type.Optional(Type.String({ maxLength: 255, description: 'Resource name.' })),
  extra_info: Type.Optional(Type.Object({
    exclude_volumes: Type.Optional(Type.Array(Type.String())),
    include_volumes: Type.Optional(Type.Array(Type.Object({ id: Type.String(), os_version: Type.Optional(Type.String()) }))),
  }, { description: 'Disk selection for a server.' })),
})

const CheckpointParameters = Type.Object({
  auto_trigger: Type.Optional(Type.Boolean({ description: 'Mark the run as automatic; false when absent.' })),
  description: Type.Optional(Type.String({ maxLength: 255, pattern: '^[^<>]*$', description: 'Text for the backups.' })),
  incremental: Type.Optional(Type.Boolean({ description: 'Incremental (true, also when absent) or full (false) run.' })),
  name: Type.Optional(Type.String({
    minLength: 1, maxLength: 64, pattern: NAME, description: 'Name for the backups; one is made up when absent.',
  })),
  resources: Type.Optional(Type.Array(Type.String(), { description: 'Back up only these resources of the vault, by id.' })),
  resource_details: Type.Optional(Type.Array(CheckpointResourceDetail, { maxItems: 256, description: 'The same, with the type.' })),
  policy_id: Type.Optional(Type.String({ description: 'Policy behind an automatic run.' })),
})

export const CreateCheckpointBody = Type.Object({
  checkpoint: Type.Object({
    vault_id: Type.String({ description: 'Vault to back up.' }),
    parameters: Type.Optional(CheckpointParameters),
  }),
})
export type CreateCheckpointBody = Static<typeof CreateCheckpointBody>

export const ShowCheckpointParams = Type.Object({
  project_id: Type.String(),
  checkpoint_id: Type.String({ description: 'Restore point id.' }),
})

const TextOrNull = Type.Union([Type.String(), Type.Null()])

export const SkippedResource = Type.Object({
  id: Type.String(),
  type: Type.String(),
  name: TextOrNull,
  code: Type.String({ description: 'Error code that explains it.' }),
  reason: Type.String({ description: 'Why the resource was left out.' }),
})
export type SkippedResource = Static<typeof SkippedResource>

export const Checkpoint = Type.Object({
  id: Type.String(),
  project_id: Type.String(),
  status: Type.Enum(
    ['available', 'deleting', 'protecting', 'deleted', 'error-deleting', 'error'],
    { type: 'string', description: 'Restore point status.' },
  ),
  created_at: Type.String({ description: 'Start of the run.' }),
  vault: Type.Object({
    id: Type.String(),
    name: Type.String(),
    provider_id: ProviderId,
    resources: Type.Array(Type.Object({
      id: Type.String(),
      name: Type.String(),
      type: KnownResourceType,
      protect_status: Type.Enum(
        ['available', 'error', 'protecting', 'restoring', 'removing', 'deleted'],
        { type: 'string', description: 'What is happening to the resource inside its vault; deleted when it has left it.' },
      ),
      resource_size: Type.String({ description: 'Size in GB, as text.' }),
      backup_size: Type.String({ description: 'Space used by its backups in MB, as text.' }),
      backup_count: Type.String({ description: 'Number of its backups, as text.' }),
      extra_info: Type.Null(),
    })),
    skipped_resources: Type.Array(SkippedResource),
  }),
  extra_info: Type.Object({
    name: Type.String({ description: 'Name of the backups.' }),
    description: Type.String({ description: 'Text of the backups.' }),
    retention_duration: Type.Integer({ description: 'Days to keep; -1 means no limit.' }),
  }),
})
export type Checkpoint = Static<typeof Checkpoint>

export const CheckpointAnswer = Type.Object({ checkpoint: Checkpoint })
