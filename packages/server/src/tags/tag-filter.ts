/**
 * Which vaults a search by tags means. The rules are pure (`matchesTags`), and once more SQL
 * (`tagCondition`); a property test holds the two together.
 *
 * `tags`: every key matches. `tags_any`: one key matches. `not_tags`: not all keys match. `not_tags_any`:
 * no key matches. A key matches when the vault has it with one of the values; without values any will
 * do, and one that begins with * is looked for inside the vault's value. `without_any_tag` alone
 * decides when it is set (semantics of the contract, 11).
 */
import { sql, type Expression, type ExpressionBuilder, type SqlBool } from 'kysely'
import type { FindVaultsByTagsBody } from '@opencbr/contract'
import type { Schema } from '../db/schema.ts'
import { Failure } from '../failures.ts'

export type WantedValue = { readonly is: string } | { readonly holds: string }

export interface WantedTag {
  readonly key: string
  /** Any of these; none means any value. */
  readonly values: readonly WantedValue[]
}

export interface TagFilter {
  readonly withoutAnyTag: boolean
  readonly all: readonly WantedTag[]
  readonly any: readonly WantedTag[]
  readonly notAll: readonly WantedTag[]
  readonly notAny: readonly WantedTag[]
}

const LISTS = ['tags', 'tags_any', 'not_tags', 'not_tags_any'] as const

export function parseTagFilter(body: FindVaultsByTagsBody): TagFilter {
  if (body.sys_tags !== undefined) {
    const given = LISTS.find((name) => body[name] !== undefined)
    if (given !== undefined) throw new Failure('parameter.invalid', { field: given, reason: 'it cannot stand beside sys_tags' })
  }
  const [all, any, notAll, notAny] = LISTS.map((name) => parseWantedTags(name, body[name] ?? []))
  return { withoutAnyTag: body.without_any_tag ?? false, all: all ?? [], any: any ?? [], notAll: notAll ?? [], notAny: notAny ?? [] }
}

function parseWantedTags(field: string, tags: readonly { readonly key: string, readonly values: readonly string[] }[]): WantedTag[] {
  const seen = new Set<string>()
  return tags.map((tag, place) => {
    const key = tag.key.trim()
    const refuse = (member: string, reason: string): Failure => new Failure('parameter.invalid', { field: `${field}.${place}.${member}`, reason })
    if (key === '') throw refuse('key', 'it must not be blank')
    if (seen.has(key)) throw refuse('key', `${key} is named twice`)
    seen.add(key)
    const values = tag.values.map((value, at): WantedValue => {
      const text = value.trim()
      if (!text.startsWith('*')) return { is: text }
      if (text === '*') throw refuse(`values.${at}`, 'a * must be followed by what to look for')
      return { holds: text.slice(1) }
    })
    return { key, values }
  })
}

export function matchesTags(tags: ReadonlyMap<string, string>, filter: TagFilter): boolean {
  if (filter.withoutAnyTag) return tags.size === 0
  const matches = ({ key, values }: WantedTag): boolean => {
    const value = tags.get(key)
    if (value === undefined) return false
    return values.length === 0 || values.some((wanted) => 'is' in wanted ? value === wanted.is : value.includes(wanted.holds))
  }
  return filter.all.every(matches)
    && (filter.any.length === 0 || filter.any.some(matches))
    && (filter.notAll.length === 0 || !filter.notAll.every(matches))
    && !filter.notAny.some(matches)
}

type VaultExpressions = ExpressionBuilder<Schema, 'vaults'>

export function tagCondition(eb: VaultExpressions, filter: TagFilter): Expression<SqlBool> {
  const tagsOfVault = eb.selectFrom('vault_tags').select('vault_tags.key').whereRef('vault_tags.vault_id', '=', 'vaults.id')
  if (filter.withoutAnyTag) return eb.not(eb.exists(tagsOfVault))
  const has = ({ key, values }: WantedTag): Expression<SqlBool> => eb.exists(
    tagsOfVault.where('vault_tags.key', '=', key).$if(values.length > 0, (query) => query.where((tag) => tag.or(
      values.map((wanted) => 'is' in wanted ? tag('vault_tags.value', '=', wanted.is) : holds(tag.ref('vault_tags.value'), wanted.holds)),
    ))),
  )
  return eb.and([
    ...filter.all.map(has),
    ...(filter.any.length === 0 ? [] : [eb.or(filter.any.map(has))]),
    ...(filter.notAll.length === 0 ? [] : [eb.not(eb.and(filter.notAll.map(has)))]),
    ...filter.notAny.map((tag) => eb.not(has(tag))),
  ])
}

/** Whether a text holds another. `like` would mind the case in one database and not in the other, and has wildcards. */
export function holds(text: Expression<string>, part: string): Expression<SqlBool> {
  return sql<SqlBool>`replace(${text}, ${part}, '') <> ${text}`
}
