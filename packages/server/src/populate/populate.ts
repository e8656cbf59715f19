/** Fills a catalogue with invented rows, for benchmarks and tests; `catalogue-rows.ts` says what they are like. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { sql } from 'kysely'
import { systemClock } from '../clock.ts'
import { documentOf } from '../backups/index.ts'
import { databaseLocation, databasePath, masterKeyPath, type ServerConfig } from '../config.ts'
import { StartRefusal } from '../data-directory.ts'
import { openDatabase, type Database, type Transaction } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import type { DomainId, ProjectId, VaultId } from '../ids.ts'
import { makeBootstrapUser } from '../identity/index.ts'
import { openCatalogue, type OpenCatalogue } from '../open-catalogue.ts'
import { openSecrets } from '../secrets.ts'
import { vaultPasswordPurpose } from '../vaults/index.ts'
import { openBatchInsert } from './batch-insert.ts'
import { loadWithoutBackupIndexes } from './bulk-load.ts'
import { chooseEpoch, makeRuns, makeTenant, vaultResourceRows, type CatalogueRows, type CatalogueSize } from './catalogue-rows.ts'
import { openRandom } from './random.ts'

export interface PopulateOptions {
  /** Top-level backups of the project, 1 to 10,000,000: what its list then counts. Their children come on top. */
  readonly backups: number
  /** Default: by the number of backups. */
  readonly vaults?: number
  readonly resources?: number
  /** An integer; the same seed gives the same rows. Default 1. */
  readonly seed?: number
  /** Default: the project of the first start. */
  readonly projectId?: ProjectId
}

export interface Populated {
  readonly projectId: ProjectId
  /** The project that shares backups with the populated one, and receives shares of it. */
  readonly partnerProjectId: ProjectId
  /** Rows written, by table. */
  readonly rows: {
    readonly vaults: number
    readonly backups: number
    readonly backupMembers: number
    readonly replicationRecords: number
  }
}

/** Why nothing was populated, in words for the operator. */
export class PopulateRefusal extends Error {
  override name = 'PopulateRefusal'
}

const BACKUPS_MAX = 10_000_000
const VAULTS_MAX = 10_000
const RESOURCES_PER_VAULT_MAX = 256
/** How many of the project's backups are offered to each of the two receiving projects. */
const SHARED_OUT = 0.03
/** The partner has a twentieth of the project's backups, and offers half of them to it. */
const PARTNER_PART = 20
const SHARED_IN = 0.5

/**
 * Fills a data directory; makes it as a first start does if it is new. When no server is running, all is
 * written at once, which is fast; beside a running server, in steps.
 */
export async function populateDirectory(config: ServerConfig, options: PopulateOptions): Promise<Populated> {
  const catalogue = await takeCatalogue(config)
  if (catalogue === undefined) {
    const secrets = openSecrets(await readFile(masterKeyPath(config)))
    const db = await openDatabase(databaseLocation(config))
    try {
      return await populate({ db, secrets }, options)
    } finally {
      await db.destroy()
    }
  }
  const { db, secrets, close } = catalogue
  try {
    await makeBootstrapUser({ db, config, secrets, clock: systemClock() })
    return await writeCatalogue({ db, secrets }, options, 'at-once')
  } finally {
    await close()
  }
}

/** Undefined when a server is using the directory. */
async function takeCatalogue(config: ServerConfig): Promise<OpenCatalogue | undefined> {
  try {
    return await openCatalogue(config)
  } catch (error) {
    if (error instanceof StartRefusal && (config.database !== undefined || existsSync(databasePath(config)))) return undefined
    throw error
  }
}

/**
 * Fills a catalogue that has a project. Writes in many transactions, so that a running server waits
 * for none of them long; a run that was killed leaves what it had written.
 */
export async function populate(deps: Pick<Deps, 'db' | 'secrets'>, options: PopulateOptions): Promise<Populated> {
  return writeCatalogue(deps, options, 'in-steps')
}

async function writeCatalogue(
  { db, secrets }: Pick<Deps, 'db' | 'secrets'>, options: PopulateOptions, pace: 'at-once' | 'in-steps',
): Promise<Populated> {
  const size = chooseSize(options)
  const random = openRandom(options.seed ?? 1)
  const projectId = options.projectId ?? await findFirstProject(db)
  const partnerProjectId = random.hex(32) as ProjectId
  const strangerProjectId = random.hex(32) as ProjectId
  if (await hasProject(db, partnerProjectId)) {
    throw new PopulateRefusal(`This catalogue holds rows of the seed ${options.seed ?? 1} already; choose another seed.`)
  }
  const epoch = chooseEpoch(random)
  const sealPassword = (vaultId: VaultId): string => secrets.seal(vaultPasswordPurpose(vaultId), random.hex(64))
  const partnerSize = {
    backups: Math.max(20, Math.ceil(size.backups / PARTNER_PART)),
    vaults: Math.min(10, size.vaults),
    resources: Math.max(Math.min(10, size.vaults), Math.ceil(size.resources / PARTNER_PART)),
  }
  const own = makeTenant(random, projectId, size, epoch, sealPassword)
  const partner = makeTenant(random, partnerProjectId, partnerSize, epoch, sealPassword)
  const stranger = { projectId: strangerProjectId, vaults: [] }

  const insert = openBatchInsert()
  const domainId = random.hex(32) as DomainId
  const vaults = [...own.vaults, ...partner.vaults]
  const written = { vaults: vaults.length, backups: 0, backupMembers: 0, replicationRecords: 0 }
  function* makeAllRuns(): Generator<CatalogueRows> {
    yield* makeRuns(random, own, size.backups, epoch, { receivers: [partner, stranger], probability: SHARED_OUT })
    yield* makeRuns(random, partner, partnerSize.backups, epoch, { receivers: [own, stranger], probability: SHARED_IN })
  }
  async function insertFrame(tx: Transaction): Promise<void> {
    await insert(tx, 'domains', [{ id: domainId, name: `populated-${random.hex(8)}` }])
    await insert(tx, 'projects', [
      { id: partnerProjectId, domain_id: domainId, name: 'partner' },
      { id: strangerProjectId, domain_id: domainId, name: 'stranger' },
    ])
    await insert(tx, 'vaults', vaults.map((vault) => vault.row))
    await insert(tx, 'vault_resources', vaults.flatMap(vaultResourceRows))
  }
  async function insertRuns(tx: Transaction, rows: CatalogueRows): Promise<void> {
    await insert(tx, 'checkpoints', rows.checkpoints)
    await insert(tx, 'backups', rows.backups.map((row) => ({ ...row, document: documentOf(row as Row<'backups'>) })))
    await insert(tx, 'backup_members', rows.members)
    await insert(tx, 'replication_records', rows.replicationRecords)
    written.backups += rows.backups.length
    written.backupMembers += rows.members.length
    written.replicationRecords += rows.replicationRecords.length
  }
  if (pace === 'at-once') {
    await db.transaction().execute(async (tx) => {
      await insertFrame(tx)
      await loadWithoutBackupIndexes(tx, async () => {
        for (const rows of makeAllRuns()) await insertRuns(tx, rows)
      })
    })
  } else {
    await db.transaction().execute(insertFrame)
    for (const rows of makeAllRuns()) await db.transaction().execute((tx) => insertRuns(tx, rows))
  }
  // Made-up backups are not worth manifests, and a million of them would keep a server busy with theirs.
  await db.updateTable('manifest_marks').set(({ ref }) => ({ written: ref('revision') }))
    .where('place', 'in', db.selectFrom('vaults').select('id').where('repository_url', 'is', null))
    .execute()
  // PostgreSQL plans by what it has counted, and would count by itself only in a while.
  if (dialectOf(db) === 'postgres') await sql`analyze`.execute(db)
  return { projectId, partnerProjectId, rows: written }
}

function chooseSize({ backups, vaults, resources }: PopulateOptions): CatalogueSize {
  requireInteger('backups', backups, BACKUPS_MAX)
  const chosenVaults = vaults ?? Math.min(VAULTS_MAX, Math.max(10, Math.ceil(Math.sqrt(backups) / 2)))
  requireInteger('vaults', chosenVaults, VAULTS_MAX)
  const resourcesMax = chosenVaults * RESOURCES_PER_VAULT_MAX
  const chosenResources = resources ?? Math.min(resourcesMax, Math.max(chosenVaults, Math.ceil(backups / 20)))
  requireInteger('resources', chosenResources, resourcesMax)
  return { backups, vaults: chosenVaults, resources: chosenResources }
}

function requireInteger(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new PopulateRefusal(`The number of ${name} must be an integer from 1 to ${max}, not ${value}.`)
  }
}

async function findFirstProject(db: Database): Promise<ProjectId> {
  const found = await db.selectFrom('projects').innerJoin('users', 'users.domain_id', 'projects.domain_id')
    .select('projects.id').orderBy('users.created_at').orderBy('projects.created_at').orderBy('projects.id').limit(1).executeTakeFirst()
  if (found === undefined) throw new PopulateRefusal('The catalogue has no project yet: start its server once.')
  return found.id
}

async function hasProject(db: Database, projectId: ProjectId): Promise<boolean> {
  return await db.selectFrom('projects').select('id').where('id', '=', projectId).executeTakeFirst() !== undefined
}
