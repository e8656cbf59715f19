export {
  deleteBackupRows, findBackup, insertBackups, listBackupsOfCheckpoint, listBackupsOfVault, listChildren, updateBackup,
} from './backup-store.ts'
