import { basename } from 'node:path'

const BYTES_PER_GB = 1024 ** 3
const NAME_CHARACTERS_MAX = 64

/** Sizes on the wire are whole GB, and nothing that exists has none. */
export function sizeInGb(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / BYTES_PER_GB))
}

/** A name from the last part of a path, with a line for what names may not hold. */
export function nameFromPath(path: string): string {
  const characters = [...basename(path).replaceAll(/[^\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-.]/gu, '_')]
  return characters.slice(0, NAME_CHARACTERS_MAX).join('') || 'root'
}

/** Whether one of two absolute paths is the other, or lies in it. */
export function pathsOverlap(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => (path.endsWith('/') ? path : `${path}/`)) as [string, string]
  return a.startsWith(b) || b.startsWith(a)
}
