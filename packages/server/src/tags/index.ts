export { changeTags, createTag, deleteTag, listVaultTags } from './change-tags.ts'
export { findVaultsByTags } from './find-vaults-by-tags.ts'
export { matchesTags, parseTagFilter } from './tag-filter.ts'
export { listProjectTags } from './tag-store.ts'
