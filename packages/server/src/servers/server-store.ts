import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ServerId } from '../ids.ts'

/** Of an id that was there already the earlier run is over: whoever starts holds the data directory of that server. */
export async function enterServer(tx: Transaction, server: { id: ServerId, run: string, host: string, now: Micros }): Promise<void> {
  const { id, run, host, now } = server
  await tx.deleteFrom('servers').where('id', '=', id).execute()
  await tx.insertInto('servers').values({ id, run, host, beats: 0, started_at: now, beat_at: now }).execute()
}

/** False when the server is not listed any more: the others hold it for dead. */
export async function countBeat(tx: Transaction, run: string, now: Micros): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('servers')
    .set(({ eb }) => ({ beats: eb('beats', '+', 1), beat_at: now }))
    .where('run', '=', run).executeTakeFirst()
  return numUpdatedRows > 0n
}

export async function removeServer(tx: Transaction, run: string): Promise<void> {
  await tx.deleteFrom('servers').where('run', '=', run).execute()
}

/** Where nobody else can be: SQLite's file is in the data directory, which one server at a time has. */
export async function removeAllServers(tx: Transaction): Promise<void> {
  await tx.deleteFrom('servers').execute()
}

export async function listServers(reader: Reader): Promise<Row<'servers'>[]> {
  return reader.selectFrom('servers').selectAll().orderBy('id').execute()
}
