/** How commands are declared: what each of them is given, and the options that many of them share. */
import type { Command } from 'commander'
import type { Api, QueryValue } from './api.ts'
import { findConnection, type Connection } from './connection.ts'
import { trustCaFile } from './ca-file.ts'
import { CommandFailure } from './exit-codes.ts'
import { printJson } from './output.ts'

/** Options that every command takes, before or after its own. */
export interface GlobalOptions {
  readonly data?: string
  readonly json?: boolean
  readonly caFile?: string
}

export interface Call<Options extends object> {
  /** What stood on the command line beside the options. */
  readonly args: readonly string[]
  readonly options: Options & GlobalOptions
  /** The server's API, with credentials; throws a `CommandFailure` when there is no server to find. */
  readonly openApi: () => Promise<Api>
  readonly findConnection: () => Connection
  /** Prints the API's own JSON with `--json`, else what `show` prints. */
  readonly print: (answer: unknown, show: () => void) => void
}

/** Declares what a command does. Commander checks the arguments and options, so `Options` is what it was told. */
export function onRun<Options extends object>(command: Command, run: (call: Call<Options>) => Promise<void>): void {
  command.action(async () => {
    const options = command.optsWithGlobals<Options & GlobalOptions>()
    const connection = (): Connection => {
      trustCaFile(options.caFile, process.env)
      return findConnection(options.data, process.env, process.cwd())
    }
    await run({
      args: command.args,
      options,
      openApi: async () => (await import('./api.ts')).openApi(connection()),
      findConnection: connection,
      print: (answer, show) => {
        if (options.json === true) printJson(answer)
        else show()
      },
    })
  })
}

/** For commander: gathers the values of an option that may be repeated. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...previous ?? [], value]
}

export function wholeNumber(name: string): (value: string) => number {
  return (value) => {
    if (!/^\d{1,15}$/.test(value)) throw new CommandFailure('usage', `The value ${value} of ${name} is not a whole number.`)
    return Number(value)
  }
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3600_000, d: 24 * 3600_000 }

/** A number and a unit, as `24h`, `90s`, `30m` or `7d`, or just 0; in milliseconds. Undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit = ''] = /^(\d{1,5})([smhd])$/.exec(text) ?? []
  if (count === undefined) return text === '0' ? 0 : undefined
  return Number(count) * (UNIT_MS[unit] ?? 0)
}

export function duration(name: string): (value: string) => number {
  return (value) => {
    const ms = parseDuration(value)
    if (ms === undefined) throw new CommandFailure('usage', `The value ${value} of ${name} is not a time such as 24h, 30m or 7d.`)
    return ms
  }
}

/** `key=value`, the value may be empty. */
export function parseTag(text: string): { key: string, value: string } {
  const at = text.indexOf('=')
  return at === -1 ? { key: text, value: '' } : { key: text.slice(0, at), value: text.slice(at + 1) }
}

export interface Filter {
  /** As on the command line: `--vault <vault>`. */
  readonly flags: string
  /** Its name in the API. */
  readonly parameter: string
  readonly text: string
  readonly repeatable?: true
  /** Turns a name into the id that the API wants. */
  readonly find?: (api: Api, text: string) => Promise<string>
}

/** The paging that every list of the API has. */
export const pagingFilters: readonly Filter[] = [
  { flags: '--limit <rows>', parameter: 'limit', text: 'at most so many rows (the server sends at most 1000)' },
  { flags: '--offset <rows>', parameter: 'offset', text: 'skip so many rows' },
  { flags: '--marker <id>', parameter: 'marker', text: 'begin after the row with this id' },
]

export const enterpriseProjectFilter: Filter = {
  flags: '--enterprise-project-id <id>', parameter: 'enterprise_project_id', text: 'of this enterprise project, or all_granted_eps',
}

export function addFilters(command: Command, filters: readonly Filter[]): Command {
  for (const { flags, text, repeatable } of filters) {
    const option = command.createOption(flags, repeatable === true ? `${text}; may be repeated` : text)
    if (repeatable === true) option.argParser(collect)
    command.addOption(option)
  }
  return command
}

/** The query that the given filters make; values go to the server as they are, which judges them. */
export async function readFilters(api: Api, command: Command, filters: readonly Filter[]): Promise<Record<string, QueryValue>> {
  const query: Record<string, QueryValue> = {}
  for (const { flags, parameter, find } of filters) {
    const option = command.options.find((each) => each.flags === flags)
    const value: unknown = option === undefined ? undefined : command.getOptionValue(option.attributeName())
    if (value === undefined) continue
    const texts = Array.isArray(value) ? value.map(String) : [String(value)]
    const found = find === undefined ? texts : await Promise.all(texts.map((text) => find(api, text)))
    query[parameter] = found.length === 1 ? found[0] : found
  }
  return query
}
