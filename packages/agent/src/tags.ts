/**
 * What says of a snapshot whose it is. Tags outlive every change that restic programs make to a
 * snapshot, and the catalogue: it can be rebuilt from them.
 */
export const BACKUP_TAG_PREFIX = 'opencbr:backup='
export const backupTag = (backupId: string): string => BACKUP_TAG_PREFIX + backupId
export const checkpointTag = (checkpointId: string): string => `opencbr:checkpoint=${checkpointId}`
export const resourceTag = (resourceId: string): string => `opencbr:resource=${resourceId}`
