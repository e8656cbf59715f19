/**
 * The directory that holds everything of one server: who owns it, and the key that opens its secrets.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync } from 'node:fs'
import { chmod, mkdir, open, readFile, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { databasePath, masterKeyPath, type ServerConfig } from './config.ts'
import { MASTER_KEY_BYTES } from './secrets.ts'

/** Why a server does not start, in words for the operator. */
export class StartRefusal extends Error {
  override name = 'StartRefusal'
}

export interface DataDirectory {
  /** Undefined where there is none yet and only the catalogue can tell whether there should be. */
  readonly masterKey: Uint8Array | undefined
  /** Lets another server have the directory. */
  readonly release: () => void
}

type DirectoryConfig = Pick<ServerConfig, 'dataDir' | 'database' | 'masterKeyFile'>

/**
 * Makes the directory if it is missing, takes it for this process alone, and reads its master key.
 * Whether that key belongs to the catalogue is for `verifyMasterKey` to say.
 */
export async function openDataDirectory(config: DirectoryConfig): Promise<DataDirectory> {
  const { dataDir } = config
  try {
    await makePrivateDirectory(dataDir)
  } catch (error) {
    throw new StartRefusal(`The data directory ${dataDir} cannot be used: ${(error as Error).message}`, { cause: error })
  }
  const release = takeDirectory(dataDir)
  try {
    const masterKey = await readMasterKey(config)
    if (config.database === undefined) await makePrivateFile(databasePath(config))
    return { masterKey, release }
  } catch (error) {
    release()
    throw error
  }
}

async function makePrivateDirectory(dataDir: string): Promise<void> {
  const existed = existsSync(dataDir)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  if (!(await stat(dataDir)).isDirectory()) throw new Error('it is not a directory')
  // The process's umask may have taken bits away; a directory that the operator made keeps its own.
  if (!existed) await chmod(dataDir, 0o700)
}

/** SQLite gives its own files the mode that it finds on the database. */
async function makePrivateFile(path: string): Promise<void> {
  const file = await open(path, 'a', 0o600)
  await file.close()
}

/**
 * Two servers on one catalogue would both lease its jobs. SQLite's exclusive lock on a file of its
 * own keeps the second one out, and the kernel drops it when the first one dies, however it dies.
 */
function takeDirectory(dataDir: string): () => void {
  const path = join(dataDir, 'server.lock')
  let file: DatabaseSync | undefined
  try {
    // Whoever can read the file can lock it too, and keep the server from starting.
    closeSync(openSync(path, 'a', 0o600))
    file = new DatabaseSync(path, { timeout: 0 })
    file.exec('pragma journal_mode = memory')
    file.exec('begin exclusive')
    const taken = file
    return () => taken.close()
  } catch (error) {
    file?.close()
    if (isBusy(error)) throw new StartRefusal(`Another server is using the data directory ${dataDir}. Stop it, or choose another directory.`)
    throw new StartRefusal(`The data directory ${dataDir} cannot be locked: ${(error as Error).message}`, { cause: error })
  }
}

const SQLITE_BUSY = 5

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY
}

async function readMasterKey(config: DirectoryConfig): Promise<Uint8Array | undefined> {
  const path = masterKeyPath(config)
  if (!existsSync(path)) {
    if (config.masterKeyFile !== undefined) {
      // Made here, a slip of the pen in the name would become the key of everything.
      throw new StartRefusal(`The master key ${path} does not exist: name the one of the server that used this catalogue first.`)
    }
    if (config.database !== undefined) return undefined
    // A new key would open none of the passwords that the catalogue holds.
    if (existsSync(databasePath(config))) {
      throw new StartRefusal(`${path} is missing, but the catalogue needs it: put the key of this catalogue back.`)
    }
    // Before the catalogue: a crash in between leaves a key that nothing needs, and not the other way round.
    return makeMasterKey(config)
  }
  let key: Uint8Array
  try {
    key = await readFile(path)
  } catch (error) {
    throw new StartRefusal(`The master key ${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  if (key.length !== MASTER_KEY_BYTES) throw new StartRefusal(`${path} is damaged: it has ${key.length} bytes instead of ${MASTER_KEY_BYTES}.`)
  return key
}

/** For a catalogue that has none yet. */
export async function makeMasterKey(config: Pick<ServerConfig, 'dataDir' | 'masterKeyFile'>): Promise<Uint8Array> {
  const key = randomBytes(MASTER_KEY_BYTES)
  await writePrivateFile(masterKeyPath(config), key)
  return key
}

/** Writes a file that only its owner may read; after a crash there is the old one or the new one, whole. */
export async function writePrivateFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
