import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { sql } from 'kysely'
import { openScratchDatabase, type Database } from '../db/database.ts'
import type { OpenCatalogue } from '../open-catalogue.ts'

/**
 * Fills a copy of SQLite's file and puts it in the place of the file when it is whole. The copy needs no journal, since
 * what was broken off is thrown away. `catalogue` has the file at `path`, nobody else uses that; its connections are closed.
 */
export async function fillCopy<Result>({ db, reads }: Pick<OpenCatalogue, 'db' | 'reads'>, path: string, fill: (copy: Database) => Promise<Result>): Promise<Result> {
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
    await reads.destroy()
    await db.destroy()
    // Whoever still had the old file open would have left its log, which must not be read together with the new one.
    assert.ok(!existsSync(`${path}-wal`), 'the catalogue is still open')
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
