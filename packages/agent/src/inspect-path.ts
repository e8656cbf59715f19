/**
 * Looks at a path that somebody wants protected. The path comes from a client of the API, who may
 * learn about the machine's files only inside the roots that the operator allowed: what leads out of
 * them gets one answer, whether it exists or not.
 */
import { constants } from 'node:fs'
import { lstat, open, opendir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join, normalize } from 'node:path'

export type InspectedType = 'OS::Sfs::Turbo' | 'OS::Cinder::Volume'

export type PathRefusal =
  | 'not_absolute'
  | 'not_normal'
  | 'nothing_allowed'
  | 'outside'
  | 'missing'
  | 'unreadable'
  | 'not_a_directory'
  | 'not_a_disk'
  | 'forbidden'

export interface InspectedPath {
  /** Absolute, without symbolic links. */
  readonly realPath: string
  /** Of a disk its length; of a directory what its files hold, as far as they were counted. */
  readonly sizeBytes: number
}

export interface InspectOptions {
  /** Absolute directories; links in them are followed. */
  readonly allowedRoots: readonly string[]
  /** Neither these, nor what lies in them, nor what contains them, may be protected. */
  readonly forbiddenPaths: readonly string[]
}

/**
 * Counting a large tree would take longer than a caller waits; its first backup counts exactly.
 * Some 50,000 entries take about a second.
 */
const ENTRIES_COUNTED_MAX = 50_000

export async function inspectPath(
  path: string, type: InspectedType, options: InspectOptions,
): Promise<InspectedPath | { readonly refused: PathRefusal }> {
  if (!isAbsolute(path)) return { refused: 'not_absolute' }
  const plain = normalize(path).replace(/(?<=.)\/+$/, '')
  // `a/../b` is b to us, and something else to the kernel when a is a link.
  if (path.split('/').includes('..')) return { refused: 'not_normal' }
  if (options.allowedRoots.length === 0) return { refused: 'nothing_allowed' }
  const realRoots = await realPaths(options.allowedRoots)
  // Before anything is touched: what is outside by its name alone cannot be probed at all.
  if (![...options.allowedRoots, ...realRoots].some((root) => isInside(plain, root))) return { refused: 'outside' }
  const found = await resolveInside(plain, realRoots)
  if ('refused' in found) return found
  const { realPath } = found
  for (const forbidden of await realPaths(options.forbiddenPaths)) {
    if (isInside(realPath, forbidden) || isInside(forbidden, realPath)) return { refused: 'forbidden' }
  }
  return type === 'OS::Sfs::Turbo' ? inspectDirectory(realPath) : inspectDisk(realPath)
}

/** Whether a path is a root or lies below it; both without links. */
export function isInside(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`)
}

/** Of those that exist. */
async function realPaths(paths: readonly string[]): Promise<string[]> {
  const resolved = await Promise.all(paths.map((path) => realpath(path).catch(() => undefined)))
  return resolved.filter((path) => path !== undefined)
}

/**
 * Follows links to where the path leads. When it leads nowhere, that may be said only if the place
 * where it stops is inside; a link that stops there could point at anything, so it counts as outside.
 */
async function resolveInside(path: string, realRoots: readonly string[]): Promise<{ realPath: string } | { refused: PathRefusal }> {
  const isAllowed = (real: string): boolean => realRoots.some((root) => isInside(real, root))
  const real = await realpath(path).catch(() => undefined)
  if (real !== undefined) return isAllowed(real) ? { realPath: real } : { refused: 'outside' }
  let missing = path
  let parent: string | undefined
  while (parent === undefined && missing !== '/') {
    parent = await realpath(dirname(missing)).catch(() => undefined)
    if (parent === undefined) missing = dirname(missing)
  }
  if (parent === undefined || !isAllowed(parent)) return { refused: 'outside' }
  try {
    const entry = await lstat(join(parent, missing.slice(missing.lastIndexOf('/') + 1)))
    return { refused: entry.isSymbolicLink() ? 'outside' : 'unreadable' }
  } catch (error) {
    return { refused: codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR' ? 'missing' : 'unreadable' }
  }
}

async function inspectDirectory(realPath: string): Promise<InspectedPath | { refused: PathRefusal }> {
  try {
    if (!(await stat(realPath)).isDirectory()) return { refused: 'not_a_directory' }
    await tryReading(realPath)
  } catch {
    return { refused: 'unreadable' }
  }
  return { realPath, sizeBytes: await countBytes(realPath) }
}

async function inspectDisk(realPath: string): Promise<InspectedPath | { refused: PathRefusal }> {
  try {
    const found = await stat(realPath)
    if (!found.isFile() && !found.isBlockDevice()) return { refused: 'not_a_disk' }
    await tryReading(realPath)
    return { realPath, sizeBytes: await diskBytes(realPath) }
  } catch {
    return { refused: 'unreadable' }
  }
}

/** How long an image file or a block device is. */
export async function diskBytes(realPath: string): Promise<number> {
  const found = await stat(realPath)
  return found.isBlockDevice() ? await blockDeviceBytes(found.rdev) : found.size
}

/** Opens it: asking for permissions beforehand judges by other rules than opening does. */
async function tryReading(realPath: string): Promise<void> {
  const file = await open(realPath, constants.O_RDONLY | constants.O_NONBLOCK)
  await file.close()
}

const SECTOR_BYTES = 512

/** A device's length is not in its inode; the kernel tells it in sectors of 512 bytes, whatever the device's own are. */
async function blockDeviceBytes(rdev: number): Promise<number> {
  const number = BigInt(rdev)
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn)
  const minor = (number & 0xffn) | ((number >> 12n) & ~0xffn)
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES
}

/** What the files of a tree hold, links not followed, hard links once; unreadable places count nothing. */
async function countBytes(root: string): Promise<number> {
  const waiting = [root]
  const linked = new Set<string>()
  let bytes = 0
  let entries = 0
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    try {
      for await (const entry of await opendir(folder)) {
        entries += 1
        if (entries > ENTRIES_COUNTED_MAX) return bytes
        const path = join(folder, entry.name)
        if (entry.isDirectory()) waiting.push(path)
        if (!entry.isFile()) continue
        const file = await lstat(path)
        const inode = `${file.dev}:${file.ino}`
        if (file.nlink > 1 && linked.has(inode)) continue
        if (file.nlink > 1) linked.add(inode)
        bytes += file.size
      }
    } catch {
      // Unreadable or gone meanwhile; the backup is where that is told.
    }
  }
  return bytes
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
