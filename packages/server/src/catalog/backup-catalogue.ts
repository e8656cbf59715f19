/** The catalogue into a vault's repository, beside a running server or without one. */
import { mkdir, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { archiveTree, openRepository } from '@opencbr/engine'
import { openStorage, storageOptionsFromEnvironment } from '@opencbr/storage'
import type { Clock } from '../clock.ts'
import { databaseLocation, masterKeyPath, type ServerConfig } from '../config.ts'
import { StartRefusal } from '../data-directory.ts'
import { identifyCatalogue, verifyMasterKey } from '../db/catalogue-facts.ts'
import { openDatabase } from '../db/database.ts'
import { openSecrets } from '../secrets.ts'
import { openVaultPassword, placeOf } from '../vaults/index.ts'
import { writeCatalogueFile } from './catalogue-file.ts'

/** Marks the snapshots that hold a copy of a catalogue, and says of which. */
export const CATALOGUE_TAG = 'opencbr:catalogue'
export const CATALOGUE_FILE = 'catalogue.db'

export interface CatalogueBackup {
  readonly snapshotId: string
  /** Where it is: a repository that stock restic opens with the vault's recovery kit. */
  readonly repository: string
  readonly bytesAdded: number
}

/** `vault`: its id, or a name that only one vault has. Throws a `StartRefusal`, in words for the operator. */
export async function backUpCatalogue(config: ServerConfig, clock: Clock, vault: string, programVersion: string): Promise<CatalogueBackup> {
  const db = await openDatabase(databaseLocation(config))
  let target: { location: string, password: string, catalogueId: string }
  try {
    const secrets = openSecrets(await readFile(masterKeyPath(config)))
    await verifyMasterKey(db, secrets, masterKeyPath(config))
    const found = await db.selectFrom('vaults').selectAll().where(({ eb, or }) => or([eb('id', '=', vault as never), eb('name', '=', vault)])).limit(2).execute()
    const [only, another] = found
    if (only === undefined || another !== undefined) {
      throw new StartRefusal(only === undefined ? `There is no vault ${vault}.` : `Several vaults are named ${vault}: use the id of one.`)
    }
    if (only.repository_url === null) throw new StartRefusal(`The vault ${vault} has no repository before its first backup.`)
    target = { location: placeOf(config, only).address, password: openVaultPassword({ secrets }, only), catalogueId: await identifyCatalogue(db) }
  } finally {
    await db.destroy()
  }
  // Always the same path, so that restic finds the parent of the next one.
  const folder = join(config.dataDir, 'catalogue-copy')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { mode: 0o700 })
  try {
    await writeCatalogueFile(config, join(folder, CATALOGUE_FILE))
    await using repository = await openRepository(openStorage(target.location, storageOptionsFromEnvironment(process.env)), { password: target.password })
    await using lock = await repository.lock({ exclusive: false, hostname: hostname() })
    const made = await archiveTree(repository, lock, {
      path: folder,
      hostname: config.region,
      tags: [CATALOGUE_TAG, `${CATALOGUE_TAG}=${target.catalogueId}`],
      time: new Date(clock.now() / 1000),
      programVersion,
    })
    if (!made.whole) throw new Error('The copy of the catalogue could not be read to its end.')
    return { snapshotId: made.snapshotId, repository: target.location, bytesAdded: made.bytesAddedPacked }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
