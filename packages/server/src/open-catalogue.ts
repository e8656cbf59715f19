/** The data directory, the catalogue and what opens its secrets, together: what a server or a command on a catalogue begins with. */
import { databaseLocation, databasePath, masterKeyPath, type ServerConfig } from './config.ts'
import { makeMasterKey, openDataDirectory, StartRefusal } from './data-directory.ts'
import { hasMasterKey, verifyMasterKey } from './db/catalogue-facts.ts'
import { checkAfterCrash } from './db/check-sqlite.ts'
import { openDatabase, openSqliteReader, type Database } from './db/database.ts'
import { openSecrets, type Secrets } from './secrets.ts'

export interface OpenCatalogue {
  readonly db: Database
  /** For reading alone: with SQLite a connection of its own. */
  readonly reads: Database
  readonly secrets: Secrets
  /** Closes the catalogue and lets another process have the directory. */
  readonly close: () => Promise<void>
}

/**
 * Takes the data directory, making it on the first start. Throws a `StartRefusal` when another server uses it, when
 * the catalogue cannot be opened, or when the master key is not the catalogue's.
 */
export async function openCatalogue(config: ServerConfig): Promise<OpenCatalogue> {
  const directory = await openDataDirectory(config)
  let db: Database | undefined
  let reads: Database | undefined
  async function close(): Promise<void> {
    if (reads !== db) await reads?.destroy()
    await db?.destroy()
    directory.release()
  }
  try {
    if (config.database === undefined) checkAfterCrash(databasePath(config))
    db = await openDatabase(databaseLocation(config))
    reads = config.database === undefined ? await openSqliteReader(databasePath(config)) : db
    const secrets = openSecrets(directory.masterKey ?? await makeFirstKey(config, db))
    await verifyMasterKey(db, secrets, masterKeyPath(config))
    return { db, reads, secrets, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function makeFirstKey(config: ServerConfig, db: Database): Promise<Uint8Array> {
  if (await hasMasterKey(db)) {
    throw new StartRefusal(`${masterKeyPath(config)} is missing, but the catalogue needs it: put the key there with which the catalogue was first used, `
      + 'or name its file with --master-key-file.')
  }
  return makeMasterKey(config)
}
