export { openBackupCounter, type CountBackups } from './backup-counter.ts'
export {
  changeBackup, deleteBackupRows, findBackup, insertBackups, listBackupsOfCheckpoint, listBackupsOfVault,
  listChildren,
} from './backup-store.ts'
export { backupPageToWire, metadataToWire, shownBackupToWire } from './backup-wire.ts'
export { deleteBackup } from './delete-backup.ts'
export { listBackups } from './list-backups.ts'
export { setProtectStatus } from './record-protect-status.ts'
export { restoreBackup } from './restore-backup.ts'
export { showBackup } from './show-backup.ts'
export { showMetadata } from './show-metadata.ts'
export { updateBackup } from './update-backup.ts'
