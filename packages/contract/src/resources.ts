/** What an agent may protect, declared by path; not a part of the cloud's API (`/x/v1`). */
import { Type, type Static } from 'typebox'
import { TagIn, VAULT_TAGS_MAX } from './vault-parts.ts'

const DeclarableType = Type.Enum(['OS::Sfs::Turbo', 'OS::Cinder::Volume'], {
  type: 'string', description: 'OS::Sfs::Turbo: a directory tree. OS::Cinder::Volume: a disk image or block device.',
})

/** As names of the cloud, with dots, because names of files have them. */
const RESOURCE_NAME = String.raw`^[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-.]*$`

export const DeclareResourceBody = Type.Object({
  resource: Type.Object({
    type: DeclarableType,
    name: Type.Optional(Type.String({
      minLength: 1, maxLength: 64, pattern: RESOURCE_NAME, description: 'The last part of the path when absent.',
    })),
    path: Type.String({ minLength: 1, maxLength: 4096, description: 'Absolute, inside a directory that the operator allows; links are resolved once, now.' }),
    tags: Type.Optional(Type.Array(TagIn, { description: `By which vaults take it in by themselves; at most ${VAULT_TAGS_MAX}, with different keys.` })),
  }),
})
export type DeclareResourceBody = Static<typeof DeclareResourceBody>

export const TagResourceBody = Type.Object({
  tags: Type.Array(TagIn, { description: `At most ${VAULT_TAGS_MAX}, with different keys; an empty list takes all away.` }),
})
export type TagResourceBody = Static<typeof TagResourceBody>

export const ListResourcesQuery = Type.Object({
  type: Type.Optional(Type.Enum(['OS::Sfs::Turbo', 'OS::Cinder::Volume', 'OS::Native::Server'], { type: 'string' })),
  name: Type.Optional(Type.String({ description: 'Resource name.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
})
export type ListResourcesQuery = Static<typeof ListResourcesQuery>

export const ResourceParams = Type.Object({
  project_id: Type.String(),
  resource_id: Type.String({ description: 'Resource id.' }),
})

const ResourceType = Type.Enum(['OS::Sfs::Turbo', 'OS::Cinder::Volume', 'OS::Native::Server'], {
  type: 'string', description: 'OS::Native::Server: the directories of a registered agent.',
})

export const DeclaredResource = Type.Object({
  id: Type.String(),
  project_id: Type.String(),
  type: ResourceType,
  name: Type.String(),
  path: Type.Union([Type.String(), Type.Null()], { description: 'Absolute, without links; null for a server, whose agent has the paths.' }),
  size: Type.Integer({ minimum: 1, description: 'In GB, rounded up.' }),
  size_bytes: Type.Integer({ minimum: 0, description: 'The length of a disk; what the files of a tree hold, as far as they were counted.' }),
  vault_id: Type.Union([Type.String(), Type.Null()], { description: 'The vault that protects it.' }),
  tags: Type.Array(Type.Object({ key: Type.String(), value: Type.String() }), { description: 'By key.' }),
  created_at: Type.String(),
  updated_at: Type.String(),
})
export type DeclaredResource = Static<typeof DeclaredResource>

export const ResourceAnswer = Type.Object({ resource: DeclaredResource })

export const ListResourcesAnswer = Type.Object({
  resources: Type.Array(DeclaredResource),
  count: Type.Integer({ minimum: 0, description: 'Resources that match the filters, whatever the page.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})
