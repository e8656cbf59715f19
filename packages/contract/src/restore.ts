/** Restoring a backup: what the call takes and answers. */
import { Type, type Static } from 'typebox'

export const RestoreBackupBody = Type.Object({
  restore: Type.Object({
    mappings: Type.Optional(Type.Array(
      Type.Object({ backup_id: Type.String(), volume_id: Type.String() }),
      { description: 'Disk pairs for a server; ignored for what can be restored here.' },
    )),
    power_on: Type.Optional(Type.Boolean({ description: 'Start the server after the restore; ignored for what can be restored here.' })),
    server_id: Type.Optional(Type.String({ description: 'Server to restore.' })),
    volume_id: Type.Optional(Type.String({ description: 'Disk to overwrite; the one that was backed up when absent.' })),
    resource_id: Type.Optional(Type.String({ description: 'Another kind of target.' })),
    details: Type.Optional(Type.Object({
      destination_path: Type.String({
        minLength: 1, maxLength: 255, description: 'Absolute path of the directory to restore a directory into.',
      }),
    })),
  }),
})
export type RestoreBackupBody = Static<typeof RestoreBackupBody>

export const RestoreBackupAnswer = Type.Object({
  job_id: Type.String({ description: 'Id of the restore task: its operation log.' }),
})
