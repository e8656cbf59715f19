import type { StoredSnapshot } from '../repository/repository.ts'

export type GroupField = 'host' | 'paths' | 'tags'

/** Snapshots that a policy judges together; a field by which they are not grouped is undefined. */
export interface SnapshotGroup {
  readonly host: string | undefined
  readonly paths: readonly string[] | undefined
  readonly tags: readonly string[] | undefined
  readonly snapshots: readonly StoredSnapshot[]
}

/** Divides snapshots by what they have in common; the order of paths and of tags does not matter. */
export function groupSnapshots(snapshots: readonly StoredSnapshot[], by: ReadonlySet<GroupField>): SnapshotGroup[] {
  const groups = new Map<string, SnapshotGroup & { readonly snapshots: StoredSnapshot[] }>()
  for (const stored of snapshots) {
    const { hostname = '', paths, tags = [] } = stored.snapshot
    const group = {
      host: by.has('host') ? hostname : undefined,
      paths: by.has('paths') ? paths.toSorted() : undefined,
      tags: by.has('tags') ? tags.toSorted() : undefined,
    }
    const key = JSON.stringify([group.host, group.paths, group.tags])
    const known = groups.get(key)
    if (known === undefined) groups.set(key, { ...group, snapshots: [stored] })
    else known.snapshots.push(stored)
  }
  return [...groups.values()]
}
