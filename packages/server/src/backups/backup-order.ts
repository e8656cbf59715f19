/**
 * The order of a listing. Every order is total: it ends in the id, so that pages neither repeat nor
 * leave out rows with equal keys. The id follows the direction of the last key, so an order and its
 * reverse are each other's mirror, and one index serves both. A missing protected_at counts as the
 * earliest; texts are compared by their bytes.
 */
import { Failure } from '../failures.ts'

const SORT_KEYS = ['created_at', 'updated_at', 'name', 'status', 'protected_at', 'id'] as const
export type SortKey = typeof SORT_KEYS[number]

export interface SortTerm {
  readonly key: SortKey
  readonly direction: 'asc' | 'desc'
}

/** Reads `key[:direction],…`; a key without direction is descending. No text means newest first. */
export function parseOrder(text: string | undefined): SortTerm[] {
  const terms: SortTerm[] = []
  for (const item of (text ?? 'created_at').split(',')) {
    const [name, direction = 'desc', ...rest] = item.split(':')
    const key = SORT_KEYS.find((known) => known === name)
    if (key === undefined) throw invalidSort(`${name} is not a key to sort by`)
    if ((direction !== 'asc' && direction !== 'desc') || rest.length > 0) throw invalidSort(`the direction of ${key} must be asc or desc`)
    if (terms.some((term) => term.key === key)) throw invalidSort(`${key} is named twice`)
    terms.push({ key, direction })
  }
  return makeTotal(terms)
}

export function reverseOrder(order: readonly SortTerm[]): SortTerm[] {
  return order.map(({ key, direction }) => ({ key, direction: direction === 'asc' ? 'desc' : 'asc' }))
}

function makeTotal(terms: readonly SortTerm[]): SortTerm[] {
  const id = terms.findIndex((term) => term.key === 'id')
  // Ids are unique: what comes after them decides nothing.
  if (id !== -1) return terms.slice(0, id + 1)
  return [...terms, { key: 'id', direction: terms.at(-1)?.direction ?? 'desc' }]
}

function invalidSort(reason: string): Failure {
  return new Failure('parameter.invalid', { field: 'sort', reason })
}
