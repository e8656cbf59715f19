/** What file agents are, without a database. */
import { hostname, networkInterfaces } from 'node:os'
import { normalize } from 'node:path'
import type { AgentStatus, Flag, Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'

export const AGENT_PATHS_MAX = 256

/** As the API shows it: one of another machine is registered, and nobody here can read its directories. */
export type ShownAgentStatus = AgentStatus | 'offline'

export function statusOf({ status, is_local }: Pick<Row<'agents'>, 'status' | 'is_local'>): ShownAgentStatus {
  return status === 'normal' && is_local === 0 ? 'offline' : status
}

/**
 * Whether a host is the machine that this server runs on: it has this machine's name, and one of its
 * addresses. Either alone would take a stranger's machine behind the same addresses for this one.
 */
export function isThisMachine({ hostIp, hostName }: { hostIp: string, hostName: string }): Flag {
  const addresses = new Set(Object.values(networkInterfaces()).flatMap((each) => each ?? []).map((each) => each.address.toLowerCase()))
  for (const loopback of ['127.0.0.1', '::1', 'localhost']) addresses.add(loopback)
  return hostName.toLowerCase() === hostname().toLowerCase() && addresses.has(hostIp.toLowerCase()) ? 1 : 0
}

const isWindowsPath = (path: string): boolean => /^[a-z]:/i.test(path)

/** One spelling for one directory; Windows' are left as they are. Throws `parameter.invalid` naming the field. */
export function readDirectory(field: string, path: string): string {
  if (isWindowsPath(path)) return path
  if (!path.startsWith('/')) throw new Failure('parameter.invalid', { field, reason: `${path.slice(0, 64)} is not an absolute path` })
  if (path.split('/').includes('..')) throw new Failure('parameter.invalid', { field, reason: 'it must not contain ..' })
  return normalize(path).replace(/^\/+/, '/').replace(/(?<=.)\/+$/, '')
}

/** The directories left out of one, as its row keeps them; they lie in it, and commas separate them. */
export function readExcludes(field: string, directory: string, names: readonly string[]): string | null {
  const paths = names.map((name, place) => {
    const path = readDirectory(`${field}.${place}`, name)
    if (path.includes(',')) throw new Failure('parameter.invalid', { field: `${field}.${place}`, reason: 'commas separate these paths, so none may contain one' })
    if (!path.startsWith(directory === '/' ? '/' : `${directory}/`)) {
      throw new Failure('parameter.invalid', { field: `${field}.${place}`, reason: `it does not lie in ${directory}` })
    }
    return path
  })
  return paths.length === 0 ? null : [...new Set(paths)].join(',')
}

/** The lines of a `.gitignore` in a directory that leave out what its row names. */
export function excludePatterns({ dir_path, exclude_paths }: Pick<Row<'agent_paths'>, 'dir_path' | 'exclude_paths'>): string[] {
  if (exclude_paths === null) return []
  const above = dir_path === '/' ? 0 : dir_path.length
  return exclude_paths.split(',').map((path) => path.slice(above).replaceAll(/[\\*?[\]!# ]/g, String.raw`\$&`))
}

function numbersOf(version: string): number[] {
  return (/(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number)
}

/** Whether one version of three numbers is lower than another. */
export function isOlder(version: string, than: string): boolean {
  const [own, other] = [numbersOf(version), numbersOf(than)]
  const differing = [0, 1, 2].find((place) => own[place] !== other[place])
  return differing !== undefined && (own[differing] ?? 0) < (other[differing] ?? 0)
}
