/**
 * Where a restore may write. A destination is resolved once, links included, and must then lie in one
 * of the allowed roots, resolved alike. From there on the resolved path is walked from the top with
 * descriptors that follow nothing, so that a link planted between looking and walking stops the
 * restore instead of misleading it.
 */
import * as fs from 'node:fs'
import { Failure } from '../failure.ts'
import { pathIn } from '../posix/posix.ts'
import { O_PATH } from './confined-directories.ts'
import { errorCodeOf } from './system-errors.ts'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants
const DIRECTORY_MODE = 0o755

/** An absolute path without links, as its names; none for the root directory. */
export type ResolvedPath = readonly Buffer[]

/**
 * Resolves a path as far as it exists; the rest is kept as it is. Throws `destination.forbidden` for
 * paths that are not absolute, hold `..` or NUL, lead over a dangling link, or cannot be looked at.
 */
export function resolvePath(path: string): ResolvedPath {
  const forbidden = (cause?: unknown): Failure => new Failure('destination.forbidden', { path }, { cause })
  if (!path.startsWith('/') || path.includes('\0')) throw forbidden()
  const names = path.split('/').filter((name) => name !== '' && name !== '.')
  // Behind a symbolic link, `..` would not lead back to where the text says.
  if (names.includes('..')) throw forbidden()

  const missing: Buffer[] = []
  for (;;) {
    const existing = `/${names.join('/')}`
    try {
      return [...namesOf(fs.realpathSync.native(existing, { encoding: 'buffer' })), ...missing]
    } catch (error) {
      const last = names.pop()
      if (errorCodeOf(error) !== 'ENOENT' || last === undefined || isDanglingLink(existing)) throw forbidden(error)
      missing.unshift(Buffer.from(last))
    }
  }
}

/**
 * Throws `destination.forbidden` unless a resolved path lies in one of the roots or is one itself.
 * The roots are absolute paths, links in them are resolved, and one that is not there holds nothing.
 */
export function assertAllowed(path: ResolvedPath, allowedRoots: readonly string[]): void {
  if (!allowedRoots.some((root) => isWithin(path, root))) {
    throw new Failure('destination.forbidden', { path: showPath(path) })
  }
}

function isDanglingLink(path: string): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function isWithin(path: ResolvedPath, root: string): boolean {
  if (!root.startsWith('/')) return false
  let resolvedRoot: ResolvedPath
  try {
    resolvedRoot = namesOf(fs.realpathSync.native(root, { encoding: 'buffer' }))
  } catch {
    return false
  }
  return resolvedRoot.every((name, index) => path[index]?.equals(name) === true)
}

function namesOf(path: Buffer): Buffer[] {
  // Latin-1 maps bytes to characters one to one, so names that are not UTF-8 survive the splitting.
  return path
    .toString('latin1')
    .split('/')
    .filter((name) => name !== '')
    .map((name) => Buffer.from(name, 'latin1'))
}

/**
 * Opens a resolved directory, walking from the root directory without following anything, and makes
 * what is missing of it. The caller closes the descriptor. Throws `destination.forbidden` when a link
 * or something else than a directory stands in the way.
 */
export function openResolvedDirectory(path: ResolvedPath, options: { create: boolean }): number {
  let descriptor = fs.openSync('/', O_PATH | O_DIRECTORY)
  try {
    for (const [depth, name] of path.entries()) {
      const place = pathIn(descriptor, name)
      const access = depth === path.length - 1 ? O_RDONLY : O_PATH
      const next = openOrMake(place, access | O_DIRECTORY | O_NOFOLLOW, options.create)
      fs.closeSync(descriptor)
      descriptor = next
    }
    return descriptor
  } catch (error) {
    fs.closeSync(descriptor)
    const code = errorCodeOf(error)
    if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error
    throw new Failure('destination.forbidden', { path: showPath(path) }, { cause: error })
  }
}

function openOrMake(place: Buffer, flags: number, create: boolean): number {
  try {
    return fs.openSync(place, flags)
  } catch (error) {
    if (!create || errorCodeOf(error) !== 'ENOENT') throw error
  }
  try {
    fs.mkdirSync(place, DIRECTORY_MODE)
  } catch (error) {
    // Somebody else made it in the meantime: opening it decides what it is.
    if (errorCodeOf(error) !== 'EEXIST') throw error
  }
  return fs.openSync(place, flags)
}

/** A resolved path as text, for messages. */
export function showPath(path: ResolvedPath): string {
  return `/${path.map(String).join('/')}`
}
