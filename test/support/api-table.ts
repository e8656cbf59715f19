/** The tables of docs/api.md: two from the server's own OpenAPI document, and one from a walk of the contract. */
import type { UnsupportedOperation } from '@opencbr/server'

const HEADING = '### Not supported'

export interface DescribedPaths {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string, readonly summary: string }>>>>
}

/** The rows, in the order in which the server declares its operations. */
export function renderApiRows({ paths }: DescribedPaths, unsupported: readonly UnsupportedOperation[]): { answered: string[], refused: string[] } {
  const reasons = new Map(unsupported.map((each) => [each.operationId, each.reason]))
  const answered: string[] = []
  const refused: string[] = []
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { operationId, summary }] of Object.entries(methods)) {
      const reason = reasons.get(operationId)
      const rows = reason === undefined ? answered : refused
      rows.push(`| \`${operationId}\` | ${method.toUpperCase()} | \`${path}\` | ${reason ?? summary} |`)
    }
  }
  return { answered, refused }
}

/** The rows that the page has now. */
export function readApiRows(page: string): { answered: string[], refused: string[] } {
  const [answered, refused] = split(page)
  return { answered: rowsIn(answered), refused: rowsIn(refused) }
}

/** The page with its tables written anew; all else stays as it is. */
export function writeApiTables(page: string, document: DescribedPaths, unsupported: readonly UnsupportedOperation[]): string {
  const rows = renderApiRows(document, unsupported)
  const [answered, refused] = split(page)
  return [replaceRows(answered, rows.answered), replaceRows(refused, rows.refused)].join(HEADING)
}

function rowsIn(part: string): string[] {
  return part.split('\n').filter((line) => /^\| `\w+` \|/.test(line))
}

function split(page: string): [answered: string, refused: string] {
  const [answered, refused, ...more] = page.split(HEADING)
  if (answered === undefined || refused === undefined || more.length > 0) throw new Error(`docs/api.md has the heading "${HEADING}" once`)
  return [answered, refused]
}

function replaceRows(part: string, rows: readonly string[]): string {
  const places = [...part.matchAll(/^\|(?:---\|){4}\n(?:\| `.*\n)*/gm)]
  const [place] = places
  if (place === undefined || places.length > 1) throw new Error('docs/api.md has one table of four columns for each kind of operation')
  return part.slice(0, place.index) + ['|---|---|---|---|', ...rows, ''].join('\n') + part.slice(place.index + place[0].length)
}

const WALK_HEADING = '### Walked'
function listed(texts: readonly string[]): string {
  return texts.length === 0 ? '-' : texts.toSorted().join(', ')
}

const WALK_TABLE = /^\| operation \| answered \| refused with \|\n\|---\|---\|---\|\n((?:\| .*\n)*)/m

/** A row for each operation of the contract, in its order: the statuses and codes that a walk met. */
export function renderWalkRows(operationIds: readonly string[], outcomes: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  return operationIds.map((operationId) => {
    const all = [...outcomes.get(operationId) ?? []]
    return `| ${operationId} | ${listed(all.filter((each) => /^\d{3}$/.test(each)))} | ${listed(all.filter((each) => !/^\d{3}$/.test(each)))} |`
  })
}

export function readWalkRows(page: string): string[] {
  return (WALK_TABLE.exec(walkPart(page))?.[1] ?? '').split('\n').filter((line) => line !== '')
}

export function writeWalkRows(page: string, rows: readonly string[]): string {
  const part = walkPart(page)
  return page.replace(part, part.replace(WALK_TABLE, (table, old: string) => table.slice(0, table.length - old.length) + rows.map((row) => `${row}\n`).join('')))
}

function walkPart(page: string): string {
  const [, part, ...more] = page.split(WALK_HEADING)
  if (part === undefined || more.length > 0) throw new Error(`docs/api.md has the heading "${WALK_HEADING}" once`)
  return part
}
