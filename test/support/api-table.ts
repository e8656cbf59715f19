/** The two tables of docs/api.md, from the server's own OpenAPI document. */
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
