/** What tags may be, those of vaults and of declared resources alike. */
import { TAG_VALUE, VAULT_TAGS_MAX } from '@opencbr/contract'
import { Failure } from './failures.ts'

export interface Tag {
  readonly key: string
  readonly value: string
}

const TAG_KEY_MAX = 36
const TAG_VALUE_MAX = 43
const KEY_OR_VALUE = new RegExp(TAG_VALUE)

/**
 * Tags that a vault or resource is to get, with different keys.
 * @param field the list's place in the body: `vault.tags`
 */
export function readTags(field: string, tags: readonly NamedTag[]): Tag[] {
  if (tags.length > VAULT_TAGS_MAX) throw tooManyTags()
  const seen = new Set<string>()
  return tags.map((each, place) => {
    const tag = readTag(`${field}.${place}`, each)
    if (seen.has(tag.key)) throw new Failure('parameter.invalid', { field: `${field}.${place}.key`, reason: `${tag.key} is named twice` })
    seen.add(tag.key)
    return tag
  })
}

interface NamedTag {
  readonly key: string
  readonly value?: string
}

/** Drops the blanks around key and value, as lengths count without them. */
export function readTag(field: string, tag: NamedTag): Tag {
  const [key, value] = [tag.key.trim(), (tag.value ?? '').trim()]
  const refuse = (member: string, reason: string): Failure => new Failure('parameter.invalid', { field: `${field}.${member}`, reason })
  if (!KEY_OR_VALUE.test(key)) throw refuse('key', 'it holds a character that keys may not hold')
  if (!KEY_OR_VALUE.test(value)) throw refuse('value', 'it holds a character that values may not hold')
  if (key === '' || [...key].length > TAG_KEY_MAX) throw refuse('key', `it must have 1 to ${TAG_KEY_MAX} characters`)
  if ([...value].length > TAG_VALUE_MAX) throw refuse('value', `it must have at most ${TAG_VALUE_MAX} characters`)
  return { key, value }
}

export function tooManyTags(): Failure {
  return new Failure('vault.too_many_tags', { max: VAULT_TAGS_MAX })
}
