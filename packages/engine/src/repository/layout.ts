import { isId } from '../crypto/ids.ts'

/** The directories of a repository whose files are named by the hash of their content. */
export type FileKind = 'data' | 'index' | 'keys' | 'locks' | 'snapshots'

export const CONFIG_KEY = 'config'

/** Beside what restic knows, which ignores it: a file for every pack that was found to be needed by nobody, named as the pack. */
export const TOMBSTONES_PREFIX = 'opencbr-tombstones/'

/** Where a file lies: packs are spread over 256 directories, nothing else is. */
export function keyOf(kind: FileKind, id: string): string {
  return kind === 'data' ? `data/${id.slice(0, 2)}/${id}` : `${kind}/${id}`
}

/** The id of the file at a key, or undefined for foreign files, which everybody leaves alone. */
export function idOfKey<Id extends string>(kind: FileKind, key: string): Id | undefined {
  const name = key.slice(key.lastIndexOf('/') + 1)
  return isId<Id>(name) && key === keyOf(kind, name) ? name : undefined
}
