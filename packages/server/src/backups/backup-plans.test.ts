/** How SQLite answers the listing: which indexes it uses, in a catalogue that has just been made. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { after, before, test } from 'node:test'
import type { ListBackupsQuery } from '@opencbr/contract'
import { Kysely } from 'kysely'
import { openDatabase, type Database } from '../db/database.ts'
import { nodeSqliteDialect } from '../db/node-sqlite-dialect.ts'
import type { Schema } from '../db/schema.ts'
import type { ProjectId } from '../ids.ts'
import { listBackups, openListMemory, parseListing } from './list-backups.ts'

const PROJECT = 'f'.repeat(32) as ProjectId
const BACKUP = 'b0000000-0000-4000-8000-000000000001'

let folder: string
let file: DatabaseSync
let db: Database
const statements: { sql: string, parameters: readonly unknown[] }[] = []

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'opencbr-test-'))
  await (await openDatabase(join(folder, 'catalogue.db'))).destroy()
  file = new DatabaseSync(join(folder, 'catalogue.db'))
  db = new Kysely<Schema>({
    dialect: nodeSqliteDialect(file),
    log({ query }) {
      statements.push({ sql: query.sql, parameters: query.parameters })
    },
  })
  // A row for the marker; the plans do not depend on it.
  const columns = file.prepare("select name, type from pragma_table_info('backups')").all() as { name: string, type: string }[]
  const given: Readonly<Record<string, SQLInputValue>> = { id: BACKUP, project_id: PROJECT, parent_id: null }
  const values = columns.map(({ name, type }) => Object.hasOwn(given, name) ? given[name] ?? null : type === 'text' ? 'x' : 1)
  file.prepare(`insert into backups values (${columns.map(() => '?').join(', ')})`).run(...values)
})

after(async () => {
  await db.destroy()
  rmSync(folder, { recursive: true })
})

/** The plan of each statement that the query needs; the count is always among them. */
async function plansOf(query: ListBackupsQuery): Promise<{ page: string, count: string }> {
  statements.length = 0
  // Behind the end there is nothing, so that the count cannot be told from the page.
  await listBackups({ db }, openListMemory(), PROJECT, parseListing(query.marker === undefined ? { offset: 10, ...query } : query))
  const [page, count, ...others] = statements
    .filter(({ sql }) => !sql.includes('backup_revisions') && !sql.startsWith('select "b".* from "backups"'))
    .map(({ sql, parameters }) => planOf(sql, parameters))
  assert.deepEqual(others, [])
  return { page: page ?? '', count: count ?? '' }
}

function planOf(sql: string, parameters: readonly unknown[]): string {
  const steps = file.prepare(`explain query plan ${sql}`).all(...parameters as SQLInputValue[])
  return steps.map((step) => String(step['detail'])).join('\n')
}

const SUMMED = /SEARCH backup_counts USING INDEX \w+ \(project_id=\? AND facet=\?/

const shapes: readonly (readonly [name: string, query: ListBackupsQuery, page: RegExp, count: RegExp])[] = [
  ['everything', {}, /INDEX backups_by_created_at \(project_id=\?\)/, SUMMED],
  ['a page behind a marker', { marker: BACKUP }, /INDEX backups_by_created_at \(project_id=\? AND \(created_at,id\)<\(\?,\?\)\)/, SUMMED],
  ['a name', { name: 'a' }, /INDEX backups_by_name \(project_id=\? AND name=\?\)/, /COVERING INDEX backups_by_name \(project_id=\? AND name=\?\)/],
  ['a status', { status: ['error'] }, /INDEX backups_of_status \(project_id=\? AND status=\?\)/, SUMMED],
  ['several statuses', { status: ['error', 'available'] }, /INDEX backups_by_created_at/, SUMMED],
  ['a vault', { vault_id: 'v' }, /INDEX backups_of_vault \(project_id=\? AND vault_id=\?\)/, SUMMED],
  ['a status in a vault, by name', { vault_id: 'v', status: ['available'], sort: 'name:asc' }, /INDEX backups_of_vault \(project_id=\? AND vault_id=\?\)/, SUMMED],
  ['a status in a vault, in a window', { vault_id: 'v', status: ['available'], start_time: '2024-01-01T00:00:00Z' }, /INDEX backups_of_vault \(project_id=\? AND vault_id=\? AND created_at>\?\)/, /COVERING INDEX backups_of_vault/],
  ['a resource', { resource_id: 'r' }, /INDEX backups_of_resource \(project_id=\? AND resource_id=\?\)/, /COVERING INDEX backups_of_resource/],
  ['the name of a resource', { resource_name: 'r' }, /INDEX backups_of_resource_name \(project_id=\? AND resource_name=\?\)/, /COVERING INDEX backups_of_resource_name/],
  ['a checkpoint', { checkpoint_id: 'c' }, /INDEX backups_of_checkpoint \(project_id=\? AND checkpoint_id=\?\)/, /INDEX backups_of_checkpoint/],
  ['children', { parent_id: 'p' }, /INDEX backups_of_parent \(project_id=\? AND parent_id=\?\)/, /COVERING INDEX backups_of_parent/],
  ['a window of time', { start_time: '2024-01-01T00:00:00Z', end_time: '2024-01-02T00:00:00Z' }, /INDEX backups_by_created_at \(project_id=\? AND created_at>\? AND created_at<\?\)/, /COVERING INDEX \w+ \(project_id=\? AND created_at>\? AND created_at<\?\)/],
  [
    'columns with few values',
    { image_type: 'backup', resource_type: 'OS::Sfs::Turbo', incremental: true, resource_az: 'az-1', enterprise_project_id: '0' },
    /INDEX backups_by_created_at/, /COVERING INDEX backups_by_created_at/,
  ],
  ['use of the vault', { used_percent: '80' }, /backups_by_created_at .*\n.*\n.*vaults_project \(project_id=\?\)/s, /vaults_project/],
  ['shares given', { member_status: 'pending' }, /COVERING INDEX backup_members_owner \(project_id=\? AND status=\?\)/, /COVERING INDEX backup_members_owner/],
  ['shares received', { own_type: 'shared' }, /INDEX backup_members_dest \(dest_project_id=\?\)/, /backup_members_dest \(dest_project_id=\?\)/],
  ['shares accepted', { own_type: 'shared', member_status: 'accepted' }, /backup_members_dest \(dest_project_id=\? AND status=\?\)/, /backup_members_dest \(dest_project_id=\? AND status=\?\)/],
]

for (const [name, query, page, count] of shapes) {
  test(`${name}: page and count come through the index`, async () => {
    const plans = await plansOf(query)
    assert.match(plans.page, page)
    assert.match(plans.count, count)
    for (const plan of [plans.page, plans.count]) {
      assert.doesNotMatch(plan, /SCAN (?!page|found)/, 'nothing but the finished page is read without an index')
    }
  })
}

test('own and received backups together are merged in their order', async () => {
  statements.length = 0
  await listBackups({ db }, openListMemory(), PROJECT, parseListing({ own_type: 'all_granted' }))
  const [page] = statements
  const plan = planOf(page?.sql ?? '', page?.parameters ?? [])
  assert.match(plan, /MERGE \(UNION ALL\)/)
  assert.match(plan, /COVERING INDEX backups_by_created_at \(project_id=\?\)/)
  assert.doesNotMatch(plan, /SCAN (?!page)/)
})

for (const key of ['created_at', 'updated_at', 'name', 'status', 'protected_at', 'id']) {
  for (const direction of ['asc', 'desc']) {
    test(`sorting by ${key} ${direction} reads an index in its order, from the marker on`, async () => {
      const whole = await plansOf({ sort: `${key}:${direction}` })
      const rest = await plansOf({ sort: `${key}:${direction}`, marker: BACKUP })
      for (const { page } of [whole, rest]) {
        const [, step = ''] = page.split('\n')
        assert.match(step, new RegExp(`SEARCH b USING INDEX backups_by_${key} `))
        assert.doesNotMatch(page, /TEMP B-TREE/)
      }
      assert.match(rest.page, /\(project_id=\? AND (\(.+\)|id|<expr>)[<>]/)
    })
  }
}
