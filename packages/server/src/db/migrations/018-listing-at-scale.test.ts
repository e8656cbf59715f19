import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Kysely, sql } from 'kysely'
import { nodeSqliteDialect } from '../node-sqlite-dialect.ts'
import { migrate } from '../migrate.ts'
import type { Schema } from '../schema.ts'
import { openDatabase, type Database } from '../database.ts'
import { populate } from '../../populate/index.ts'
import { migrations } from './index.ts'

const KEPT = ['backup_counts', 'backup_cells', 'shared_backups'] as const

async function read(db: Database): Promise<unknown[][]> {
  return Promise.all(KEPT.map(async (table) => {
    const { rows } = await sql<Record<string, unknown>>`select * from ${sql.table(table)}`.execute(db)
    return rows.filter((row) => row['rows'] !== 0).map((row) => JSON.stringify(Object.entries(row).toSorted())).sort()
  }))
}

test('a catalogue with backups and shares, made before, comes to have what triggers would have written', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'opencbr-test-'))
  try {
    await using made = await openDatabase(join(folder, 'made.db'))
    await made.insertInto('users').values({ id: 'u', domain_id: 'd', name: 'a', password_hash: '', created_at: 0 } as never).execute()
    await made.insertInto('projects').values({ id: 'p', domain_id: 'd', name: 'p' } as never).execute()
    await populate({ db: made, secrets: { seal: (_purpose, secret) => secret, unseal: (_purpose, sealed) => sealed } }, { backups: 300 })

    const file = new DatabaseSync(join(folder, 'old.db'))
    await using old = new Kysely<Schema>({ dialect: nodeSqliteDialect(file) })
    await migrate(old, Object.fromEntries(Object.entries(migrations).filter(([name]) => name < '018')))
    file.exec(`attach '${join(folder, 'made.db')}' as made`)
    for (const table of ['users', 'projects', 'vaults', 'checkpoints', 'backups', 'backup_members', 'replication_records']) {
      file.exec(`delete from main.${table}; insert into main.${table} select * from made.${table}`)
    }
    await migrate(old)
    assert.deepEqual(await read(old), await read(made))
    const [, , shared] = await read(old)
    assert.ok((shared?.length ?? 0) > 20, 'there are shares')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
