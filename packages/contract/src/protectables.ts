/** Resources seen as candidates for a vault. */
import { Type, type Static } from 'typebox'
import { Vault, VaultResourceType } from './vaults.ts'

export const ProtectableType = Type.Enum(['server', 'disk', 'turbo', 'workspace', 'workspace_v2'], {
  type: 'string', description: 'Resource family.',
})
export type ProtectableType = Static<typeof ProtectableType>

export const ListProtectablesParams = Type.Object({ project_id: Type.String(), protectable_type: ProtectableType })

export const ListProtectablesQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 50 when absent, and more than 100 counts as 100.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  name: Type.Optional(Type.String({ description: 'Resource name.' })),
  id: Type.Optional(Type.String({ description: 'Resource id.' })),
  status: Type.Optional(Type.String({ description: 'Resource status; what is declared is available.' })),
  server_id: Type.Optional(Type.String({ description: 'Only disks of this server; here disks belong to none.' })),
  enterprise_project_id: Type.Optional(Type.String({ description: 'Enterprise project id, or all_granted_eps; resources are in the default one.' })),
})
export type ListProtectablesQuery = Static<typeof ListProtectablesQuery>

export const ShowProtectableParams = Type.Object({
  project_id: Type.String(),
  protectable_type: ProtectableType,
  instance_id: Type.String({ description: 'Resource id.' }),
})

const ProtectingVault = Type.Object({
  ...Vault.properties,
  updated_at: Type.Union([Type.String(), Type.Null()]),
  version: Type.Null(),
})

export const Protectable = Type.Object({
  id: Type.String(),
  name: Type.String(),
  type: VaultResourceType,
  size: Type.Integer({ minimum: 0, description: 'In GB.' }),
  status: Type.String(),
  protectable: Type.Object({
    result: Type.Boolean({ description: 'True when it can be protected, or is already: then the vault is there.' }),
    code: Type.String({ description: 'Error code when it cannot.' }),
    reason: Type.String({ description: 'Reason when it cannot.' }),
    message: Type.Union([Type.String(), Type.Null()], { description: 'The same as the reason; null when it can be protected.' }),
    vault: Type.Union([ProtectingVault, Type.Null()], { description: 'Vault that holds it already; null when free.' }),
  }),
  detail: Type.Object({
    id: Type.String(),
    name: Type.String(),
    status: Type.String(),
    size: Type.Integer(),
    tags: Type.Array(Type.String(), { description: 'key=value' }),
    agent_id: Type.Optional(Type.String({ description: 'Of a server: the agent that reads its directories.' })),
    host_ip: Type.Optional(Type.String()),
    host_name: Type.Optional(Type.String()),
    host_os: Type.Optional(Type.String()),
    paths: Type.Optional(Type.Array(Type.String(), { description: 'The directories that are backed up.' })),
  }),
  children: Type.Array(Type.Object({}), { description: 'Disks of a server; always empty here.' }),
})
export type Protectable = Static<typeof Protectable>

export const ListProtectablesAnswer = Type.Object({
  instances: Type.Array(Protectable),
  count: Type.Integer({ minimum: 0, description: 'Resources that match the filters, whatever the page.' }),
})

export const ShowProtectableAnswer = Type.Object({ instance: Protectable })
