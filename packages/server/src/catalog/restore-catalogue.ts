/**
 * A copy of the catalogue becomes the catalogue again. Everything is checked before anything is touched: that the copy
 * is whole, of a version that this program knows, and of the master key that is there. On SQLite the catalogue that was there is
 * kept beside the new one, whose renaming is the moment of the change; on PostgreSQL the change is one transaction.
 */
import { existsSync } from 'node:fs'
import { copyFile, link, mkdtemp, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openRepository, restoreTree, type SnapshotId } from '@opencbr/engine'
import { openStorage, storageOptionsFromEnvironment } from '@opencbr/storage'
import { formatTime, type Clock } from '../clock.ts'
import { databasePath, masterKeyPath, type ServerConfig } from '../config.ts'
import { openDataDirectory, StartRefusal } from '../data-directory.ts'
import { verifyMasterKey } from '../db/catalogue-facts.ts'
import { openDatabase } from '../db/database.ts'
import { openSecrets } from '../secrets.ts'
import { CATALOGUE_FILE, CATALOGUE_TAG } from './backup-catalogue.ts'
import { checkCatalogueFile } from './catalogue-file.ts'
import { copyTables } from './copy-tables.ts'

export type CatalogueCopy =
  | { readonly file: string }
  /** The newest snapshot of a catalogue in a repository, unless one is named. */
  | { readonly repository: string, readonly password: string, readonly snapshotId?: string | undefined }

export interface CatalogueRestored {
  /** When the copy was made; undefined for a file. */
  readonly takenAt: string | undefined
  /** The catalogue that was there before; undefined where there was none, and on PostgreSQL. */
  readonly keptAs: string | undefined
}

/** Throws a `StartRefusal`, and changes nothing, while a server uses the catalogue or when the copy does not fit. */
export async function restoreCatalogue(
  config: ServerConfig, clock: Clock, copy: CatalogueCopy, { replace }: { readonly replace: boolean },
): Promise<CatalogueRestored> {
  if (!existsSync(masterKeyPath(config))) {
    throw new StartRefusal(`${masterKeyPath(config)} is missing: put the master key of the catalogue there first, for the copy does not hold it.`)
  }
  const directory = await openDataDirectoryForRestore(config)
  let folder: string | undefined
  try {
    folder = await mkdtemp(join(config.dataDir, 'catalogue-restore-'))
    const path = join(folder, CATALOGUE_FILE)
    const takenAt = await fetchCopy(copy, folder, path)
    checkCatalogueFile(path)
    const incoming = await openDatabase(path)
    try {
      await verifyMasterKey(incoming, openSecrets(await readFile(masterKeyPath(config))), masterKeyPath(config))
      if (config.database !== undefined) {
        await intoPostgres(config.database, incoming, replace)
        return { takenAt, keptAs: undefined }
      }
      await incoming.deleteFrom('servers').execute()
    } finally {
      await incoming.destroy()
    }
    return { takenAt, keptAs: await intoPlace(config, clock, path, replace) }
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    directory.release()
  }
}

/** A catalogue that is lost must not keep its copy from coming back, so none is needed here. */
async function openDataDirectoryForRestore(config: ServerConfig): Promise<{ readonly release: () => void }> {
  const had = existsSync(databasePath(config))
  const directory = await openDataDirectory(config)
  // An empty file is made for a server to open; nothing stays of it here.
  if (!had && config.database === undefined) await rm(databasePath(config), { force: true })
  return directory
}

async function fetchCopy(copy: CatalogueCopy, folder: string, path: string): Promise<string | undefined> {
  if ('file' in copy) {
    await copyFile(copy.file, path).catch((error: Error) => {
      throw new StartRefusal(`The copy ${copy.file} cannot be read: ${error.message}`, { cause: error })
    })
    return undefined
  }
  await using repository = await openRepository(openStorage(copy.repository, storageOptionsFromEnvironment(process.env)), { password: copy.password })
  const all = await repository.listSnapshots({ onDamaged: () => undefined })
  const found = all.filter(({ id, snapshot }) => snapshot.tags?.includes(CATALOGUE_TAG) === true && (copy.snapshotId === undefined || id.startsWith(copy.snapshotId)))
    .toSorted((a, b) => Date.parse(b.snapshot.time) - Date.parse(a.snapshot.time))
  const [newest] = found
  if (newest === undefined) throw new StartRefusal(`The repository ${copy.repository} holds no such copy of a catalogue.`)
  await repository.loadIndex()
  const restored = await restoreTree(repository, {
    snapshotId: newest.id as SnapshotId, sourcePath: newest.snapshot.paths[0] ?? '/', allowedRoots: [folder], destination: folder,
  })
  if (!restored.whole) throw new Error('The copy of the catalogue could not be restored whole.')
  return newest.snapshot.time
}

async function intoPostgres(url: string, incoming: Awaited<ReturnType<typeof openDatabase>>, replace: boolean): Promise<void> {
  const db = await openDatabase(url)
  try {
    await db.transaction().execute(async (to) => {
      const servers = await to.selectFrom('servers').select('host').execute()
      if (servers.length > 0) {
        throw new StartRefusal(`Servers are using this catalogue (on ${servers.map(({ host }) => host).join(', ')}): stop them. `
          + 'One that was killed is off the list when another has run for its --server-lease, or when it has been started and stopped again.')
      }
      if (!replace && await to.selectFrom('vaults').select('id').limit(1).executeTakeFirst() !== undefined) throw new StartRefusal(NOT_EMPTY)
      await incoming.transaction().execute((from) => copyTables(from, to))
    })
  } finally {
    await db.destroy()
  }
}

const NOT_EMPTY = 'There is a catalogue already: --replace puts the copy in its place.'

async function intoPlace(config: ServerConfig, clock: Clock, path: string, replace: boolean): Promise<string | undefined> {
  const place = databasePath(config)
  let keptAs: string | undefined
  if (existsSync(place)) {
    if (!replace) throw new StartRefusal(NOT_EMPTY)
    keptAs = `${place}.${formatTime(clock.now()).replaceAll(/[:.]/g, '-')}`
    await foldLogIn(place, keptAs)
    await link(place, keptAs)
  }
  const written = await open(path, 'r+')
  await written.chmod(0o600)
  await written.sync()
  await written.close()
  await rename(path, place)
  const folder = await open(config.dataDir, 'r')
  await folder.sync()
  await folder.close()
  return keptAs
}

/** What was written last into the file itself: it is kept without its log. The log of a damaged one is kept beside it. */
async function foldLogIn(place: string, keptAs: string): Promise<void> {
  try {
    const file = new DatabaseSync(place)
    try {
      file.exec('pragma wal_checkpoint(truncate)')
      file.exec('pragma journal_mode = delete')
    } finally {
      file.close()
    }
  } catch {
    // It is being replaced, perhaps because it is damaged.
  }
  for (const suffix of ['-wal', '-shm']) if (existsSync(place + suffix)) await rename(place + suffix, keptAs + suffix)
}
