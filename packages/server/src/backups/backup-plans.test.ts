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
  // The catalogue says how many rows there are of what, and so which way is the shorter one.
  const count = file.prepare(`insert into backup_counts (project_id, facet, value, status, rows) values ('${PROJECT}', ?, ?, ?, ?)`)
  for (const [facet, value, status, rows] of [
    ['all', '', 'available', 840_000], ['all', '', 'error', 50_000], ['all', '', 'deleting', 100], ['all', '', 'restoring', 50], ['vault', 'v', 'available', 2000],
    ['vault', 'huge', 'available', 400_000], ['name', 'a', 'available', 4000], ['resource_name', 'r', 'available', 30_000],
    ['day', '119700', 'available', 2500], ['day', '119800', 'available', 2500],
  ] as const) count.run(facet, value, status, rows)
  file.prepare(`insert into backup_cells values ('${PROJECT}', '', 'available', 'backup', 'OS::Sfs::Turbo', 1, 'az-1', '0', 100000)`).run()
})

after(async () => {
  await db.destroy()
  rmSync(folder, { recursive: true })
})

/** The plans of the statements that the query needs: of the page, and of all that are counts. */
async function plansOf(query: ListBackupsQuery): Promise<{ page: string, counts: string[] }> {
  statements.length = 0
  // Behind the end there is nothing, so that the count cannot be told from the page.
  await listBackups({ db }, openListMemory(), PROJECT, parseListing(query.marker === undefined ? { offset: 10, ...query } : query))
  const shown = statements.filter(({ sql }) => !sql.startsWith('select "revision"') && !sql.startsWith('select "b".* from "backups"'))
  const [page] = shown.filter(({ sql }) => sql.includes('"documents"'))
  return { page: page === undefined ? '' : planOf(page.sql, page.parameters), counts: shown.filter((each) => !each.sql.includes('"documents"')).map(({ sql, parameters }) => planOf(sql, parameters)) }
}

function planOf(sql: string, parameters: readonly unknown[]): string {
  const steps = file.prepare(`explain query plan ${sql}`).all(...parameters as SQLInputValue[])
  return steps.map((step) => String(step['detail'])).join('\n')
}

const SUMMED = /SEARCH backup_counts USING PRIMARY KEY \(project_id=\? AND facet=\?/
const CELLS = /SEARCH backup_cells USING PRIMARY KEY \(project_id=\? AND scope=\?/

const shapes: readonly (readonly [name: string, query: ListBackupsQuery, page: RegExp, count: RegExp])[] = [
  ['everything', {}, /INDEX backups_by_created_at \(project_id=\?\)/, SUMMED],
  ['a page behind a marker', { marker: BACKUP }, /INDEX backups_by_created_at \(project_id=\? AND \(created_at,id\)<\(\?,\?\)\)/, SUMMED],
  ['a name', { name: 'a' }, /INDEX backups_of_name \(project_id=\? AND name=\?\)/, SUMMED],
  ['a status', { status: ['error'] }, /INDEX backups_of_status \(project_id=\? AND status=\?\)/, SUMMED],
  ['frequent statuses', { status: ['error', 'available'] }, /INDEX backups_by_created_at/, SUMMED],
  ['rare statuses', { status: ['deleting', 'restoring'] }, /COVERING INDEX backups_of_status \(project_id=\? AND status=\?\)/, SUMMED],
  ['a vault', { vault_id: 'v' }, /INDEX backups_of_vault \(project_id=\? AND vault_id=\?\)/, SUMMED],
  ['a vault by name', { vault_id: 'v', sort: 'name:asc' }, /COVERING INDEX backups_of_vault \(project_id=\? AND vault_id=\?\)/, SUMMED],
  ['nearly all in one vault, by name', { vault_id: 'huge', sort: 'name:asc' }, /INDEX backups_by_name \(project_id=\?\)/, SUMMED],
  ['a status in a vault', { vault_id: 'v', status: ['available'] }, /INDEX backups_of_vault \(project_id=\? AND vault_id=\?\)/, SUMMED],
  [
    'a status in a vault, in a window, by name', { vault_id: 'v', status: ['available'], start_time: '2024-01-01T00:00:00Z', sort: 'name:asc' },
    /COVERING INDEX backups_of_vault \(project_id=\? AND vault_id=\? AND created_at>\?\)/, /COVERING INDEX backups_of_vault \(project_id=\? AND vault_id=\? AND created_at>\?\)/,
  ],
  ['a resource', { resource_id: 'r' }, /INDEX backups_of_resource \(project_id=\? AND resource_id=\?\)/, /COVERING INDEX backups_of_resource/],
  ['the name of a resource', { resource_name: 'r' }, /INDEX backups_of_resource_name \(project_id=\? AND resource_name=\?\)/, SUMMED],
  ['a checkpoint', { checkpoint_id: 'c' }, /INDEX backups_of_checkpoint \(project_id=\? AND checkpoint_id=\?\)/, /COVERING INDEX backups_of_checkpoint/],
  ['children', { parent_id: 'p' }, /INDEX backups_of_parent \(project_id=\? AND parent_id=\?\)/, /COVERING INDEX backups_of_parent/],
  ['a window of time', { start_time: '2024-01-01T00:00:00Z', end_time: '2024-01-02T00:00:00Z' }, /INDEX backups_by_created_at \(project_id=\? AND created_at>\? AND created_at<\?\)/, /COVERING INDEX \w+ \(project_id=\? AND created_at>\? AND created_at<\?\)/],
  [
    'columns with few values',
    { image_type: 'backup', resource_type: 'OS::Sfs::Turbo', incremental: true, resource_az: 'az-1', enterprise_project_id: '0' },
    /INDEX backups_by_created_at/, CELLS,
  ],
  ['use of the vault', { used_percent: '80' }, /backups_(by_created_at|of_vault) .*COVERING INDEX vaults_use \(project_id=\?\)/s, /COVERING INDEX vaults_use/],
  ['shares given', { member_status: 'pending' }, /INDEX shared_backups_by_created_at \(project_id=\? AND role=\?\)/, CELLS],
  ['shares received', { own_type: 'shared' }, /INDEX shared_backups_by_created_at \(project_id=\? AND role=\?\)/, CELLS],
  ['shares accepted, by name', { own_type: 'shared', member_status: 'accepted', sort: 'name' }, /INDEX shared_backups_by_name \(project_id=\? AND role=\?\)/, CELLS],
  ['received into a vault', { own_type: 'shared', vault_id: 'v' }, /INDEX shared_backups_of_vault \(project_id=\? AND role=\? AND vault_id=\?\)/, /INDEX shared_backups_of_vault/],
  ['a received name', { own_type: 'shared', name: 'a' }, /INDEX shared_backups_by_name \(project_id=\? AND role=\? AND name=\?\)/, /INDEX shared_backups_by_name/],
  ['received children', { own_type: 'shared', parent_id: 'p' }, /INDEX shared_backups_of_parent \(project_id=\? AND role=\? AND parent_id=\?\)/, /INDEX shared_backups_of_parent/],
]

for (const [name, query, page, count] of shapes) {
  test(`${name}: page and count come through the index`, async () => {
    const plans = await plansOf(query)
    assert.match(plans.page, page)
    assert.ok(plans.counts.some((each) => count.test(each)), plans.counts.join('\n\n'))
    for (const plan of [plans.page, ...plans.counts]) {
      assert.doesNotMatch(plan, /SCAN (?!page)/, 'nothing but the finished page is read without an index')
    }
  })
}

test('own and received backups together are read in their order, each up to the end of the page', async () => {
  const { page } = await plansOf({ own_type: 'all_granted' })
  assert.match(page, /COVERING INDEX backups_by_created_at \(project_id=\?\)/)
  assert.match(page, /COVERING INDEX shared_backups_by_created_at \(project_id=\? AND role=\?\)/)
  assert.doesNotMatch(page, /SCAN (?!page|part|\(subquery)/)
})

for (const key of ['created_at', 'updated_at', 'name', 'protected_at', 'id']) {
  for (const direction of ['asc', 'desc']) {
    test(`sorting by ${key} ${direction} reads an index in its order, from the marker on`, async () => {
      const whole = await plansOf({ sort: `${key}:${direction}` })
      const rest = await plansOf({ sort: `${key}:${direction}`, marker: BACKUP })
      for (const { page } of [whole, rest]) {
        const [, step = ''] = page.split('\n')
        assert.match(step, new RegExp(`SEARCH b USING INDEX backups_by_${key} `))
        assert.doesNotMatch(page, /TEMP B-TREE/)
      }
      assert.match(rest.page, /\(project_id=\? AND (\(.+\)|id|<expr>)[<>=]/)
    })
  }
}

for (const [sort, index] of [['status:asc', 'backups_by_status'], ['status:desc,created_at:desc', 'backups_of_status'], ['status:asc,name:asc', 'backups_by_name']] as const) {
  test(`sorting by ${sort} reads one status after the other, each in its order`, async () => {
    const { page } = await plansOf({ sort, offset: 10 })
    assert.match(page, new RegExp(`SEARCH b USING INDEX ${index} \\(project_id=\\?`))
    assert.doesNotMatch(page, /TEMP B-TREE/)
  })
}
