export { listTree, readContent } from './list-tree.ts'
export { openContent } from './open-content.ts'
export type { OpenedContent } from './open-content.ts'
export type { ListTreeOptions, SnapshotEntry } from './list-tree.ts'
