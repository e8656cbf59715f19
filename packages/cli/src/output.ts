/** What commands print: tables and records for people, the API's JSON for machines. */
import { stripVTControlCharacters, styleText } from 'node:util'

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string | number | boolean | null | undefined
  readonly align?: 'right'
}

export function printLine(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** For people only: progress, hints, and what is not the command's result. */
export function printNote(text: string): void {
  process.stderr.write(`${text}\n`)
}

export function printJson(answer: unknown): void {
  if (answer !== undefined) printLine(JSON.stringify(answer, undefined, 2))
}

/** Prints one line per row under a line of titles; `nothing` tells people, on stderr, that there is none. */
export function printTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[], nothing: string): void {
  if (rows.length === 0) {
    printNote(nothing)
    return
  }
  const [titles = '', ...lines] = formatTable(rows, columns)
  printLine(styleText('bold', titles, { stream: process.stdout }))
  for (const line of lines) printLine(line)
}

/** Prints one `title  value` line per entry. */
export function printRecord(entries: readonly (readonly [title: string, value: string | number | boolean | null | undefined])[]): void {
  const width = Math.max(...entries.map(([title]) => widthOf(title)))
  for (const [title, value] of entries) printLine(`${pad(title, width)}  ${showCell(value)}`.trimEnd())
}

/** The lines of a table, titles first, columns two spaces apart. */
export function formatTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string[] {
  const cells = [
    columns.map(({ title }) => title.toUpperCase()),
    ...rows.map((row) => columns.map(({ value }) => showCell(value(row)))),
  ]
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => widthOf(line[index] ?? ''))))
  return cells.map((line) => line
    .map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.align))
    .join('  ').trimEnd())
}

function showCell(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined || value === '') return '-'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return safeText(String(value))
}

/** Names come from anybody; none of them may steer the terminal or break a line. */
export function safeText(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '\u{FFFD}')
}

const WIDE = /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303F\uFF01-\uFF60\uFFE0-\uFFE6]/u
const NO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u

/** Columns that a text takes on a terminal: Chinese, Japanese and Korean characters take two. */
function widthOf(text: string): number {
  let width = 0
  for (const character of text) width += NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1
  return width
}

function pad(text: string, width: number, align?: 'right'): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)))
  return align === 'right' ? blanks + text : text + blanks
}

/** `2026-01-15 08:30:15`, UTC, from a time of the API. */
export function showTime(time: string | null | undefined): string {
  return time === null || time === undefined ? '-' : time.slice(0, 19).replace('T', ' ')
}

/** MB as the API counts them (2^20 bytes). */
export function showMegabytes(megabytes: number): string {
  return megabytes >= 10_240 ? `${(megabytes / 1024).toFixed(1)} GB` : `${megabytes} MB`
}

/** Tells, beside a page of a list, that there is more. */
export function noteRest(shown: number, count: number): void {
  if (shown < count) printNote(`${shown} of ${count} are shown; --limit, --offset and --marker turn the pages.`)
}
