import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { sql } from 'kysely'
import { openScratchDatabase, type Database } from '../db/database.ts'

/**
 * Fills a copy of SQLite's file and puts it in the place of the file when it is whole. The copy needs no journal, since
 * what was broken off is thrown away. `db` has the file at `path`, nobody else uses that, and it is closed afterwards.
 */
export async function fillCopy<Result>(db: Database, path: string, fill: (copy: Database) => Promise<Result>): Promise<Result> {
  const copyPath = `${path}.populating`
  await rm(copyPath, { force: true })
  try {
    // SQLite copies into an empty file too, and only we may read what is made here.
    await (await open(copyPath, 'wx', 0o600)).close()
    await sql`vacuum into ${copyPath}`.execute(db)
    const copy = openScratchDatabase(copyPath)
    let result: Result
    try {
      result = await fill(copy)
    } finally {
      await copy.destroy()
    }
    await sync(copyPath)
    await db.destroy()
    await rename(copyPath, path)
    await sync(dirname(path))
    return result
  } catch (error) {
    await rm(copyPath, { force: true })
    throw error
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
