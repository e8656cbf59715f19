/** Tags of vaults: what the calls take and answer. */
import { Type, type Static } from 'typebox'
import { Vault } from './vaults.ts'
import { CloudType, ObjectType, TagIn, VAULT_TAGS_MAX } from './vault-parts.ts'

/** Tags as they leave; keys of one vault differ. */
export const Tag = Type.Object({ key: Type.String(), value: Type.String() })

const LENIENT_KEY_MAX = 127
const LENIENT_VALUE_MAX = 255

export const VaultTagParams = Type.Object({
  project_id: Type.String(),
  vault_id: Type.String({ description: 'Vault id.' }),
  key: Type.String({ minLength: 1, description: 'Tag key; blanks around it are dropped.' }),
})

/** Tags that services of a cloud set; there are none here. */
const SystemTags = Type.Array(Tag, { maxItems: 0 })

export const ListVaultTagsAnswer = Type.Object({ tags: Type.Array(Tag, { description: 'By key.' }), sys_tags: SystemTags })

export const CreateVaultTagBody = Type.Object({ tag: TagIn })
export type CreateVaultTagBody = Static<typeof CreateVaultTagBody>

/** What a deletion names may be older than the rules for new tags, so more is let through here. */
export const BatchVaultTagsBody = Type.Object({
  action: Type.Enum(['create', 'delete'], { type: 'string', description: 'What to do.' }),
  tags: Type.Optional(Type.Array(Type.Object({
    key: Type.String({ minLength: 1, maxLength: LENIENT_KEY_MAX, description: 'At most 36 characters on creation.' }),
    value: Type.Optional(Type.String({ maxLength: LENIENT_VALUE_MAX, description: 'At most 43 characters on creation; without effect on deletion.' })),
  }), { minItems: 1, description: `At most ${VAULT_TAGS_MAX}; with different keys on creation.` })),
  sys_tags: Type.Optional(Type.Array(Type.Object({ key: Type.String(), value: Type.String() }), { description: 'For privileged services only, so refused.' })),
})
export type BatchVaultTagsBody = Static<typeof BatchVaultTagsBody>

export const ListProjectTagsAnswer = Type.Object({
  tags: Type.Array(Type.Object({
    key: Type.String(),
    values: Type.Array(Type.String(), { description: 'In use with this key.' }),
  }), { description: 'By key.' }),
})

const TagsReq = (description: string) => Type.Optional(Type.Array(Type.Object({
  key: Type.String({ minLength: 1, maxLength: LENIENT_KEY_MAX, description: 'Tag key; blanks around it are dropped.' }),
  values: Type.Array(Type.String({ maxLength: LENIENT_VALUE_MAX }), {
    maxItems: VAULT_TAGS_MAX, description: 'Any of these; an empty list means any value. A leading * asks for a part of the value.',
  }),
}), { minItems: 1, maxItems: VAULT_TAGS_MAX, description }))

const PageText = (description: string) => Type.Optional(Type.Union([Type.String({ maxLength: 20 }), Type.Integer()], { description }))

export const FindVaultsByTagsBody = Type.Object({
  action: Type.Enum(['filter', 'count'], { type: 'string', description: 'filter answers a page, count only the total.' }),
  tags: TagsReq('All keys must match; within a key any value.'),
  tags_any: TagsReq('At least one key must match.'),
  not_tags: TagsReq('Leaves out vaults that match all of these keys.'),
  not_tags_any: TagsReq('Leaves out vaults that match any of these keys.'),
  without_any_tag: Type.Optional(Type.Boolean({ description: 'Only vaults without tags; the four lists of tags are then ignored.' })),
  sys_tags: Type.Optional(Type.Array(Type.Object({ key: Type.String(), values: Type.Array(Type.String()) }), {
    description: 'The key _sys_enterprise_project_id with ids of enterprise projects; excludes the lists of tags.',
  })),
  matches: Type.Optional(Type.Array(Type.Object({
    key: Type.Enum(['resource_name'], { type: 'string', description: 'Field.' }),
    value: Type.String({ maxLength: 255, description: 'An empty text: exactly that; otherwise a part of the name.' }),
  }), { maxItems: 1 })),
  limit: PageText('Page size 1 to 1000, a number or digits; 1000 when absent. Without effect on count.'),
  offset: PageText('Rows to skip, a number or digits. Without effect on count.'),
  cloud_type: Type.Optional(CloudType),
  object_type: Type.Optional(ObjectType),
})
export type FindVaultsByTagsBody = Static<typeof FindVaultsByTagsBody>

export const FindVaultsByTagsQuery = Type.Object({
  enterprise_project_id: Type.Optional(Type.String({ description: 'Enterprise project id, or all_granted_eps.' })),
})

export const FindVaultsByTagsAnswer = Type.Object({
  resources: Type.Optional(Type.Array(Type.Object({
    resource_id: Type.String({ description: 'Vault id.' }),
    resource_name: Type.String({ description: 'Vault name.' }),
    resource_detail: Type.Object({ vault: Vault }),
    tags: Type.Array(Tag),
    sys_tags: SystemTags,
  }), { description: 'Absent for count.' })),
  total_count: Type.Integer({ minimum: 0 }),
})
export type FindVaultsByTagsAnswer = Static<typeof FindVaultsByTagsAnswer>
