/**
 * - Children have no document of their own any more: they are listed a few at a time, by their parent, and what is listed is then
 *   written as it is read. A third of all rows is shorter by two thirds.
 * - Backups are counted by the day of their making together with the columns that have few values each, so a window of time with one of those
 *   is a sum.
 */
import { sql, type Kysely } from 'kysely'
import { createRowTrigger, dialectOf, dropRowTrigger } from '../dialect.ts'
import { documentColumns, documentOf } from './010-backup-lists.ts'
import {
  countAllBackups as countAllFormerly, countFacets, createCounters, createShareTriggers, dayOf, dropCounters, dropShareTriggers, facets,
  fillShared as fillSharedFormerly, LISTED_COLUMNS, RECEIVED_DOCUMENT, refreshShared, type CountedFacet,
} from './018-listing-at-scale.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await dropCounters(db)
  await createCounters(db, [...facets, ...ofDays])
  await countFacets(db, ofDays)
  await dropShareTriggers(db)
  await (dialectOf(db) === 'sqlite' ? forgetDocumentsInSqlite(db) : forgetDocumentsInPostgres(db))
  await createShareTriggers(db, fillShared)
}

/** A value and the day, so that the days of one value follow each other. With its length no value is the beginning of another one. */
function byDay(value: string): string {
  return `length(${value}) || ' ' || ${value} || ' ' || ${dayOf('created_at')}`
}

const ofDays: readonly CountedFacet[] = [
  ['image_type_day', byDay('ROW.image_type')],
  ['resource_type_day', byDay('ROW.resource_type')],
  ['incremental_day', byDay('cast(ROW.incremental as text)')],
  ['enterprise_project_day', byDay('ROW.enterprise_project_id')],
]

/** Counts the rows that are there, into tables that are empty but for shares: for rows that were loaded without the triggers. */
export async function countAllBackups<Tables>(db: Kysely<Tables>): Promise<void> {
  await countAllFormerly(db)
  await countFacets(db, ofDays)
}

function ofTop(document: string): string {
  return `case when b.parent_id is null then ${document} else '' end`
}

function fillShared(which: string): string[] {
  return fillSharedFormerly(which, '(b.document is not null or b.parent_id is not null)', [ofTop(RECEIVED_DOCUMENT), ofTop('b.document')])
}

/** Makes the rows of all shares, in a table that is empty: for rows that were loaded without the triggers. */
export async function fillSharedBackups<Tables>(db: Kysely<Tables>): Promise<void> {
  for (const statement of fillShared('true')) await sql.raw(statement).execute(db)
}

async function forgetDocumentsInSqlite(db: Kysely<unknown>): Promise<void> {
  for (const event of ['insert', 'update']) await dropRowTrigger(db, { name: `backups_${event}_described`, table: 'backups' })
  const { rows: triggers } = await sql<{ name: string, sql: string }>`
    select name, sql from sqlite_schema where type = 'trigger' and tbl_name in ('backups', 'shared_backups')`.execute(db)
  // No list shows anything else than before.
  for (const { name } of triggers) await sql`drop trigger ${sql.ref(name)}`.execute(db)
  await forgetDocuments(db)
  for (const each of triggers) await sql.raw(each.sql).execute(db)

  const describe = `update backups set document = case when parent_id is null then ${documentOf('sqlite')} end where id = new.id;`
  // A row that brings its document is believed: the loader of many rows makes them faster.
  await createRowTrigger(db, {
    name: 'backups_insert_described', table: 'backups', event: 'insert', when: 'new.document is null and new.parent_id is null', statements: describe,
  })
  await createRowTrigger(db, {
    name: 'backups_update_described', table: 'backups', event: 'update', columns: documentColumns,
    when: 'new.document is not null or new.parent_id is null', statements: describe,
  })
  // No document tells of a child's changes.
  await createRowTrigger(db, {
    name: 'backups_update_shared_child', table: 'backups', event: 'update', columns: [...LISTED_COLUMNS, 'vault_id'],
    when: 'new.parent_id is not null', statements: refreshShared('new', fillShared),
  })
}

async function forgetDocumentsInPostgres(db: Kysely<unknown>): Promise<void> {
  await sql`create or replace function backups_described() returns trigger language plpgsql as ${sql.lit(`begin
    new.document := case when new.parent_id is null then ${documentOf('postgres', 'new.')} end;
    return new;
  end`)}`.execute(db)
  await sql`alter table backups disable trigger user`.execute(db)
  await forgetDocuments(db)
  await sql`alter table backups enable trigger user`.execute(db)
}

async function forgetDocuments(db: Kysely<unknown>): Promise<void> {
  await sql`update backups set document = null where parent_id is not null`.execute(db)
  await sql`update shared_backups set document = '' where parent_id is not null`.execute(db)
}
