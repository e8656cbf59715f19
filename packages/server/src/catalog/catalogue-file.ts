/**
 * A copy of the catalogue in one file: an SQLite catalogue, whichever database the catalogue lies in. One form serves
 * both, can be looked into with any SQLite, and is how a catalogue moves from one to the other.
 *
 * Neither kind of copy stops a server. From SQLite it is made by SQLite's own online backup, in one step, so that
 * what is written meanwhile is not in it and does not begin it anew; from PostgreSQL row by row in one read-only
 * transaction, which sees one state. `pg_dump` would need the program of the right version beside us, and give a
 * form that only PostgreSQL reads. The master key is in neither.
 */
import { existsSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { backup, DatabaseSync } from 'node:sqlite'
import { databaseLocation, type ServerConfig } from '../config.ts'
import { StartRefusal } from '../data-directory.ts'
import { findDamage } from '../db/check-sqlite.ts'
import { openDatabase } from '../db/database.ts'
import { copyTables } from './copy-tables.ts'

/** More pages than any catalogue has. */
const ALL_PAGES = 2 ** 30

/** Writes the copy to a path where nothing is yet; it is synced when this returns. */
export async function writeCatalogueFile(config: Pick<ServerConfig, 'dataDir' | 'database'>, path: string): Promise<void> {
  // Made here, with its mode, so that neither a file of somebody else is written over nor anybody reads along.
  const file = await open(path, 'wx', 0o600).catch((error: Error) => {
    throw new StartRefusal(`The copy ${path} cannot be made: ${error.message}`, { cause: error })
  })
  await file.close()
  try {
    await (config.database === undefined ? copySqlite(databaseLocation(config), path) : copyPostgres(config.database, path))
    checkCatalogueFile(path)
    const written = await open(path, 'r+')
    await written.sync()
    await written.close()
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

async function copySqlite(from: string, path: string): Promise<void> {
  if (!existsSync(from)) throw new StartRefusal(`There is no catalogue ${from}.`)
  const source = new DatabaseSync(from, { readOnly: true, timeout: 10_000 })
  try {
    await backup(source, path, { rate: ALL_PAGES })
  } finally {
    source.close()
  }
  leaveOneFile(path)
}

async function copyPostgres(url: string, path: string): Promise<void> {
  const source = await openDatabase(url)
  try {
    const target = await openDatabase(path)
    try {
      await source.transaction().setAccessMode('read only').execute((from) => target.transaction().execute((to) => copyTables(from, to)))
    } finally {
      await target.destroy()
    }
  } finally {
    await source.destroy()
  }
  leaveOneFile(path)
}

/** Without the write-ahead log beside it. */
function leaveOneFile(path: string): void {
  const file = new DatabaseSync(path)
  try {
    file.exec('pragma journal_mode = delete')
  } finally {
    file.close()
  }
}

/** Throws a `StartRefusal` when the file is no whole SQLite database. */
export function checkCatalogueFile(path: string): void {
  const findings = findDamage(path, 'integrity_check')
  if (findings.length > 0) throw new StartRefusal(`${path} is no whole catalogue: ${findings.join('; ')}`)
}
