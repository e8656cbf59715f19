/** What the schemas of vaults and of their tags share. */
import { Type, type Static } from 'typebox'

export const TAG_KEY = String.raw`^[^\x00-\x1f=*<>\\,|/]+$`
export const TAG_VALUE = String.raw`^[^\x00-\x1f=*<>\\,|/]*$`

export const VAULT_TAGS_MAX = 20

export const ObjectType = Type.Enum(['server', 'disk', 'turbo', 'workspace', 'vmware', 'rds', 'file'], {
  type: 'string', description: 'Flavour of a vault, by what it protects.',
})
export type ObjectType = Static<typeof ObjectType>

export const CloudType = Type.Enum(['public', 'hybrid'], { type: 'string', description: 'Where the protected resources live.' })

export const TagIn = Type.Object({
  key: Type.String({ pattern: TAG_KEY, maxLength: 255, description: 'At most 36 characters without the blanks around, which are dropped.' }),
  value: Type.Optional(Type.String({ pattern: TAG_VALUE, maxLength: 255, description: 'At most 43 characters without the blanks around, which are dropped.' })),
})
