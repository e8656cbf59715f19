/** Looking into backups; not a part of the cloud's API (`/x/v1`). */
import { Type, type Static } from 'typebox'

const PathText = Type.String({
  maxLength: 16_384,
  description: 'Inside the backup, from its root `/`. A byte that is not UTF-8 is written `\\xff`, a backslash `\\\\`, as in answers.',
})

export const ListBackupFilesQuery = Type.Object({
  path: Type.Optional(PathText),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  marker: Type.Optional(Type.String({ maxLength: 4096, description: 'Name of the last entry of the previous page, as it was answered.' })),
})
export type ListBackupFilesQuery = Static<typeof ListBackupFilesQuery>

export const BackupFile = Type.Object({
  name: Type.String({ description: 'With escapes, as in paths.' }),
  path: Type.String({ description: 'What to ask for to see or download it.' }),
  type: Type.Enum(['file', 'directory', 'symlink', 'fifo', 'socket', 'block_device', 'character_device', 'other'], { type: 'string' }),
  size: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'Bytes of a file.' }),
  mode: Type.String({ pattern: '^[0-7]{4}$', description: 'Permissions in octal: 0644.' }),
  mtime: Type.String({ description: 'RFC 3339, up to nanoseconds.' }),
  uid: Type.Integer(),
  gid: Type.Integer(),
  user: Type.String(),
  group: Type.String(),
  link_target: Type.Union([Type.String(), Type.Null()], { description: 'With escapes, as in paths.' }),
})
export type BackupFile = Static<typeof BackupFile>

export const ListBackupFilesAnswer = Type.Object({
  path: Type.String(),
  files: Type.Array(BackupFile, { description: 'By the bytes of their names.' }),
  count: Type.Integer({ minimum: 0, description: 'Entries of the directory.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
})
export type ListBackupFilesAnswer = Static<typeof ListBackupFilesAnswer>

export const DownloadBackupQuery = Type.Object({
  path: Type.Optional(PathText),
  format: Type.Optional(Type.Enum(['file', 'zip', 'tar'], { type: 'string', description: 'A file as it is, and a directory as zip, when absent.' })),
})
export type DownloadBackupQuery = Static<typeof DownloadBackupQuery>
