/**
 * Triggers that mark what has to be written into manifests, from which a lost catalogue is made again.
 * A migration that makes a table whose rows must survive that calls one of these, and names the table in
 * `catalog/manifest.ts`; a test asks every table which of the two it is.
 */
import type { Kysely } from 'kysely'
import { createRowTrigger } from './dialect.ts'

const BUMP = 'on conflict (place) do update set revision = manifest_marks.revision + 1;'
const EVENTS = [['insert', 'new'], ['update', 'new'], ['delete', 'old']] as const

export function markPlace(place: string): string {
  return `insert into manifest_marks (place, revision, written) values (${place}, 1, 0) ${BUMP}`
}

/** Rows that belong to one vault, which an expression over `new` or `old` names. */
export async function markVaultManifest<Tables>(db: Kysely<Tables>, table: string, vaultId: (row: 'new' | 'old') => string): Promise<void> {
  for (const [event, row] of EVENTS) {
    await createRowTrigger(db, { name: `manifest_${table}_${event}`, table, event, statements: markPlace(vaultId(row)) })
  }
}

/** Rows that hang on a backup. */
export async function markVaultManifestOfBackup<Tables>(db: Kysely<Tables>, table: string): Promise<void> {
  for (const [event, row] of EVENTS) {
    await createRowTrigger(db, {
      name: `manifest_${table}_${event}`, table, event,
      statements: `insert into manifest_marks (place, revision, written) select vault_id, 1, 0 from backups where id = ${row}.backup_id ${BUMP}`,
    })
  }
}

/** Rows that belong to no vault. */
export async function markDeploymentManifest<Tables>(db: Kysely<Tables>, table: string): Promise<void> {
  for (const [event] of EVENTS) {
    await createRowTrigger(db, { name: `manifest_${table}_${event}`, table, event, statements: markPlace(`'deployment'`) })
  }
}
