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
import type { NewRow, Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import type { DomainId, ProjectId, VaultId } from '../ids.ts'
import { makeBootstrapUser } from '../identity/index.ts'
import { openCatalogue, type OpenCatalogue } from '../open-catalogue.ts'
import { openSecrets } from '../secrets.ts'
import { vaultPasswordPurpose } from '../vaults/index.ts'
import { openBatchInsert } from './batch-insert.ts'
import { loadWithoutIndexes } from './bulk-load.ts'
import { chooseEpoch, makeRuns, makeTenant, vaultResourceRows, type CatalogueRows, type CatalogueSize } from './catalogue-rows.ts'
import { fillCopy } from './fill-copy.ts'
import { openRandom, type Random } from './random.ts'

export interface PopulateOptions {
  /** Top-level backups, 1 to 10,000,000: what the list then counts. Their children, and the backups of partners, come on top. */
  readonly backups: number
  /** Over how many projects of the domain backups, vaults and resources are spread; default 1. */
  readonly projects?: number
  /** Default: by the number of backups. */
  readonly vaults?: number
  readonly resources?: number
  /** An integer; the same seed gives the same rows. Default 1. */
  readonly seed?: number
  /** The first of the projects; default: that of the first start. The others are made. */
  readonly projectId?: ProjectId
}

export interface Populated {
  /** The first of `projectIds`. */
  readonly projectId: ProjectId
  readonly projectIds: readonly ProjectId[]
  /** The project that shares backups with the first one, and receives shares of it. Each has one. */
  readonly partnerProjectId: ProjectId
  /** Rows written, by table. */
  readonly rows: {
    readonly vaults: number
    readonly backups: number
    readonly backupMembers: number
    readonly replicationRecords: number
  }
}

/** Rows that are inserted together. */
type Batch = {
  readonly [Table in 'domains' | 'projects' | 'vaults' | 'vault_resources' | keyof CatalogueRows]?: readonly NewRow<Table>[]
}

/** Why nothing was populated, in words for the operator. */
export class PopulateRefusal extends Error {
  override name = 'PopulateRefusal'
}

const BACKUPS_MAX = 10_000_000
const PROJECTS_MAX = 1000
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
    if (config.database !== undefined) return await writeCatalogue({ db, secrets }, options, 'at-once')
    return await fillCopy(catalogue, databasePath(config), (copy) => writeCatalogue({ db: copy, secrets }, options, 'at-once'))
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
  const sizes = chooseSizes(options)
  const random = openRandom(options.seed ?? 1)
  const first = await findProject(db, options.projectId)
  const projects = sizes.map((size, index) => ({ size, ...(index === 0 ? first : { ...first, id: random.hex(32) as ProjectId }) }))
  const partnerProjectId = random.hex(32) as ProjectId
  if (await hasProject(db, partnerProjectId)) {
    throw new PopulateRefusal(`This catalogue holds rows of the seed ${options.seed ?? 1} already; choose another seed.`)
  }
  const sealPassword = (vaultId: VaultId): string => secrets.seal(vaultPasswordPurpose(vaultId), random.hex(64))
  function* makeAll(): Generator<Batch> {
    for (const [index, { id, domain_id: domainId, size }] of projects.entries()) {
      if (index > 0) yield { projects: [{ id, domain_id: domainId, name: `populated-${id.slice(0, 8)}` }] }
      yield* makeNeighbourhood(random, { projectId: id, partnerProjectId: index === 0 ? partnerProjectId : random.hex(32) as ProjectId, size, sealPassword })
    }
  }
  const insert = openBatchInsert()
  const written = { vaults: 0, backups: 0, backupMembers: 0, replicationRecords: 0 }
  async function insertBatch(tx: Transaction, batch: Batch): Promise<void> {
    await insert(tx, 'domains', batch.domains ?? [])
    await insert(tx, 'projects', batch.projects ?? [])
    await insert(tx, 'vaults', batch.vaults ?? [])
    await insert(tx, 'vault_resources', batch.vault_resources ?? [])
    await insert(tx, 'checkpoints', batch.checkpoints ?? [])
    await insert(tx, 'backups', (batch.backups ?? []).map((row) => ({ ...row, document: row.parent_id === null ? documentOf(row as Row<'backups'>) : null })))
    await insert(tx, 'backup_members', batch.backup_members ?? [])
    await insert(tx, 'replication_records', batch.replication_records ?? [])
    written.vaults += batch.vaults?.length ?? 0
    written.backups += batch.backups?.length ?? 0
    written.backupMembers += batch.backup_members?.length ?? 0
    written.replicationRecords += batch.replication_records?.length ?? 0
  }
  if (pace === 'at-once') {
    await db.transaction().execute((tx) => loadWithoutIndexes(tx, async () => {
      for (const batch of makeAll()) await insertBatch(tx, batch)
    }))
  } else {
    for (const batch of makeAll()) await db.transaction().execute((tx) => insertBatch(tx, batch))
  }
  // Made-up backups are not worth manifests, and a million of them would keep a server busy with theirs.
  await db.updateTable('manifest_marks').set(({ ref }) => ({ written: ref('revision') }))
    .where('place', 'in', db.selectFrom('vaults').select('id').where('repository_url', 'is', null))
    .execute()
  // PostgreSQL plans by what it has counted, and would count by itself only in a while.
  if (dialectOf(db) === 'postgres') {
    await db.connection().execute(async (connection) => {
      await sql`set statement_timeout = 0`.execute(connection)
      await sql`vacuum analyze`.execute(connection)
      await sql`reset statement_timeout`.execute(connection)
    })
  }
  return { projectId: first.id, projectIds: projects.map(({ id }) => id), partnerProjectId, rows: written }
}

/** One project, and those it shares backups with: a partner with vaults of its own, and a stranger who never accepts. */
function* makeNeighbourhood(random: Random, { projectId, partnerProjectId, size, sealPassword }: {
  readonly projectId: ProjectId, readonly partnerProjectId: ProjectId, readonly size: CatalogueSize, readonly sealPassword: (vaultId: VaultId) => string
}): Generator<Batch> {
  const strangerProjectId = random.hex(32) as ProjectId
  const epoch = chooseEpoch(random)
  const partnerSize = {
    backups: Math.max(20, Math.ceil(size.backups / PARTNER_PART)),
    vaults: Math.min(10, size.vaults),
    resources: Math.max(Math.min(10, size.vaults), Math.ceil(size.resources / PARTNER_PART)),
  }
  const own = makeTenant(random, projectId, size, epoch, sealPassword)
  const partner = makeTenant(random, partnerProjectId, partnerSize, epoch, sealPassword)
  const stranger = { projectId: strangerProjectId, vaults: [] }
  const domainId = random.hex(32) as DomainId
  const vaults = [...own.vaults, ...partner.vaults]
  yield {
    domains: [{ id: domainId, name: `populated-${random.hex(8)}` }],
    projects: [
      { id: partnerProjectId, domain_id: domainId, name: 'partner' },
      { id: strangerProjectId, domain_id: domainId, name: 'stranger' },
    ],
    vaults: vaults.map((vault) => vault.row),
    vault_resources: vaults.flatMap(vaultResourceRows),
  }
  yield* makeRuns(random, own, size.backups, epoch, { receivers: [partner, stranger], probability: SHARED_OUT })
  yield* makeRuns(random, partner, partnerSize.backups, epoch, { receivers: [own, stranger], probability: SHARED_IN })
}

/** Of each project; the first ones take what does not divide. */
function chooseSizes({ backups, vaults, resources, projects = 1 }: PopulateOptions): CatalogueSize[] {
  requireInteger('backups', backups, BACKUPS_MAX)
  requireInteger('projects', projects, Math.min(PROJECTS_MAX, backups))
  if (vaults !== undefined) requireInteger('vaults', vaults, VAULTS_MAX, projects)
  const shareOf = (whole: number, index: number): number => Math.floor(whole / projects) + (index < whole % projects ? 1 : 0)
  const sizes = Array.from({ length: projects }, (_, index) => {
    const own = shareOf(backups, index)
    return { backups: own, vaults: vaults === undefined ? Math.min(VAULTS_MAX, Math.max(10, Math.ceil(Math.sqrt(own) / 2))) : shareOf(vaults, index) }
  })
  requireInteger('resources', resources ?? projects, RESOURCES_PER_VAULT_MAX * sizes.reduce((sum, size) => sum + size.vaults, 0), projects)
  return sizes.map((size, index) => ({
    ...size,
    resources: resources === undefined
      ? Math.min(RESOURCES_PER_VAULT_MAX * size.vaults, Math.max(size.vaults, Math.ceil(size.backups / 20)))
      : shareOf(resources, index),
  }))
}

function requireInteger(name: string, value: number, max: number, min = 1): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new PopulateRefusal(`The number of ${name} must be an integer from ${min} to ${max}, not ${value}.`)
  }
}

async function findProject(db: Database, projectId: ProjectId | undefined): Promise<Pick<Row<'projects'>, 'id' | 'domain_id'>> {
  const projects = db.selectFrom('projects').select(['projects.id', 'projects.domain_id'])
  const found = await (projectId === undefined
    ? projects.innerJoin('users', 'users.domain_id', 'projects.domain_id').orderBy('users.created_at').orderBy('projects.created_at').orderBy('projects.id')
    : projects.where('projects.id', '=', projectId)
  ).limit(1).executeTakeFirst()
  if (found === undefined) throw new PopulateRefusal(projectId === undefined ? 'The catalogue has no project yet: start its server once.' : `There is no project ${projectId}.`)
  return found
}

async function hasProject(db: Database, projectId: ProjectId): Promise<boolean> {
  return await db.selectFrom('projects').select('id').where('id', '=', projectId).executeTakeFirst() !== undefined
}
