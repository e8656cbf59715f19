/**
 * Which paths of this machine may be read and written on somebody's behalf: those inside the roots
 * that the operator allows, and never the server's own data. Judged on resolved paths, so a link
 * leads nowhere else. This is the check that gives an answer; the engine walks without following
 * links, so what changes after it cannot mislead a restore.
 */
import * as fs from 'node:fs/promises'
import { isInside } from './inspect-path.ts'

export interface PathRules {
  /** Absolute directories. */
  readonly allowedRoots: readonly string[]
  /** Absolute paths; neither they, nor what is in them, nor what holds them may be used. */
  readonly forbiddenPaths: readonly string[]
}

/**
 * The resolved path of something that exists. Undefined when it may not be used or does not exist:
 * which of the two is not told, for that would tell what lies outside.
 */
export async function resolveAllowedPath(path: string, rules: PathRules): Promise<string | undefined> {
  if (!isPlainAbsolute(path)) return undefined
  const resolved = await realPath(path)
  return resolved !== undefined && (await isAllowed(resolved, rules)) ? resolved : undefined
}

/** Whether something may be put at a path, which need not exist: its nearest existing parent decides. */
export async function isAllowedDestination(path: string, rules: PathRules): Promise<boolean> {
  if (!isPlainAbsolute(path)) return false
  const names = path.split('/').filter((name) => name !== '' && name !== '.')
  const missing: string[] = []
  for (;;) {
    const place = `/${names.join('/')}`
    const resolved = await realPath(place)
    if (resolved !== undefined) return isAllowed(joinAll(resolved, missing), rules)
    const last = names.pop()
    // A link to nowhere is there and resolves to nothing: what it would lead to cannot be judged.
    if (last === undefined || await isThere(place)) return false
    missing.unshift(last)
  }
}

/** `..` behind a link would not lead where the text says. */
function isPlainAbsolute(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..')
}

async function isAllowed(resolved: string, { allowedRoots, forbiddenPaths }: PathRules): Promise<boolean> {
  for (const forbidden of forbiddenPaths) {
    const place = (await realPath(forbidden)) ?? forbidden
    if (isInside(resolved, place) || isInside(place, resolved)) return false
  }
  for (const root of allowedRoots) {
    const place = root.startsWith('/') ? await realPath(root) : undefined
    if (place !== undefined && isInside(resolved, place)) return true
  }
  return false
}

function joinAll(directory: string, names: readonly string[]): string {
  return names.reduce((path, name) => (path.endsWith('/') ? path + name : `${path}/${name}`), directory)
}

/** Undefined when there is nothing, or it cannot be looked at, or its name is no text. */
async function realPath(path: string): Promise<string | undefined> {
  try {
    const bytes = await fs.realpath(path, { encoding: 'buffer' })
    const text = bytes.toString()
    return Buffer.from(text).equals(bytes) ? text : undefined
  } catch {
    return undefined
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await fs.lstat(path)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT')
  }
}
