import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'

export async function insertDeliveries(tx: Transaction, rows: readonly NewRow<'webhook_deliveries'>[]): Promise<void> {
  if (rows.length > 0) await tx.insertInto('webhook_deliveries').values(rows).execute()
}

export async function listDueDeliveries(reader: Reader, now: Micros, limit: number): Promise<Row<'webhook_deliveries'>[]> {
  return reader.selectFrom('webhook_deliveries').selectAll().where('due_at', '<=', now).orderBy('due_at').orderBy('id').limit(limit).execute()
}

/** Puts off a delivery that is as it was seen, so that nobody else makes the attempt. False when somebody else does. */
export async function claimDelivery(tx: Transaction, seen: Row<'webhook_deliveries'>, until: Micros): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('webhook_deliveries').set({ due_at: until, attempts: seen.attempts + 1 })
    .where('id', '=', seen.id).where('attempts', '=', seen.attempts).where('due_at', '=', seen.due_at)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

export async function putOffDelivery(tx: Transaction, id: string, dueAt: Micros): Promise<void> {
  await tx.updateTable('webhook_deliveries').set({ due_at: dueAt }).where('id', '=', id).execute()
}

export async function deleteDelivery(tx: Transaction, id: string): Promise<void> {
  await tx.deleteFrom('webhook_deliveries').where('id', '=', id).execute()
}
