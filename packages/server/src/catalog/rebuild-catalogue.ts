/**
 * Makes a new catalogue from the vaults' storage and the master key. The manifests give the rows; the
 * repositories have the last word: a backup whose snapshot is gone is not listed, one whose snapshot is there and
 * that no manifest knows, because the catalogue was lost the moment after it was made, is found by its tags.
 *
 * Nothing is written to the storage. What no manifest holds does not come back: tasks, tokens, events,
 * results of verifications, and the history of schedules.
 */
import { existsSync } from 'node:fs'
import { Failure, INCOMPLETE_TAG, openRepository, type StoredSnapshot } from '@opencbr/engine'
import { openStorage, type Storage } from '@opencbr/storage'
import { databasePath, masterKeyPath, storageOf, type ServerConfig } from '../config.ts'
import { StartRefusal } from '../data-directory.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { formatTime } from '../clock.ts'
import { isUuid, randomHex } from '../ids.ts'
import { openCatalogue } from '../open-catalogue.ts'
import type { Secrets } from '../secrets.ts'
import { openVaultPassword } from '../vaults/index.ts'
import {
  DEPLOYMENT, DEPLOYMENT_TABLES, listManifestPlaces, openManifestStorage, readManifest, VAULT_TABLES, type FoundManifest, type Manifest,
  type ManifestRow, type ManifestTable,
} from './manifest.ts'

export interface RebuiltVault {
  readonly id: string
  readonly name: string
  readonly backups: number
  /** Backups that the manifest knew, and whose data is not there. */
  readonly lost: readonly string[]
  /** Backups that only the repository knew. */
  readonly found: readonly string[]
}

export interface Rebuilt {
  readonly projects: number
  readonly users: number
  readonly resources: number
  readonly policies: number
  readonly vaults: readonly RebuiltVault[]
  /** What could not be made again, and why. */
  readonly skipped: readonly { readonly place: string, readonly reason: string }[]
  /** Kinds of rows that no rebuild brings back. */
  readonly not_rebuilt: readonly string[]
}

const NOT_REBUILT = ['tasks', 'tokens', 'events', 'verifications', 'runs of policies']

type Lost = { readonly unreadable: string }

/** Throws a `StartRefusal` when there is a catalogue already, no master key, or nothing to make one from. */
export async function rebuildCatalogue(config: ServerConfig): Promise<Rebuilt> {
  if (!existsSync(masterKeyPath(config))) {
    throw new StartRefusal(`${masterKeyPath(config)} is missing: without the master key nothing in the storage can be opened. Put it there, or name its file with --master-key-file.`)
  }
  if (config.database === undefined && existsSync(databasePath(config))) {
    throw new StartRefusal(`There is a catalogue at ${databasePath(config)}: take it away, with the files -wal and -shm beside it, if it is to be made anew.`)
  }
  const storage = openManifestStorage(config)
  const places = await listManifestPlaces(storage)
  if (places.length === 0) throw new StartRefusal(`There are no manifests in ${storage.location}: name the place of the vaults with --storage.`)
  const { db, secrets, close } = await openCatalogue(config)
  try {
    if (await db.selectFrom('domains').select('id').limit(1).executeTakeFirst() !== undefined) {
      throw new StartRefusal('There are rows in this catalogue: a rebuild needs an empty one.')
    }
    const deployment = await readManifest(storage, secrets, DEPLOYMENT)
    if ('unreadable' in deployment) {
      throw new StartRefusal(`The manifest of the deployment in ${storage.location} cannot be read: ${deployment.unreadable}`)
    }
    await db.transaction().execute((tx) => insertManifest(tx, deployment, DEPLOYMENT_TABLES))
    const vaults: RebuiltVault[] = []
    const skipped: { place: string, reason: string }[] = []
    for (const place of places) {
      if (place === DEPLOYMENT) continue
      const found = await readManifest(storage, secrets, place)
      const rebuilt = 'unreadable' in found ? found : await rebuildVault(config, secrets, found)
      if ('unreadable' in rebuilt) skipped.push({ place, reason: rebuilt.unreadable })
      else {
        await db.transaction().execute((tx) => insertManifest(tx, rebuilt, VAULT_TABLES))
        vaults.push(rebuilt.summary)
      }
    }
    const count = (table: ManifestTable): number => deployment.manifest.tables[table]?.length ?? 0
    return {
      projects: count('projects'), users: count('users'), resources: count('resources'), policies: count('policies'),
      vaults, skipped, not_rebuilt: NOT_REBUILT,
    }
  } finally {
    await close()
  }
}

const ROWS_AT_ONCE = 100

async function insertManifest(tx: Transaction, { manifest, revision }: FoundManifest, tables: readonly ManifestTable[]): Promise<void> {
  for (const table of tables) {
    const rows = manifest.tables[table] ?? []
    for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
      // Every table takes rows of its own form, which is the one that they were written in.
      await tx.insertInto(table as 'vaults').values(rows.slice(at, at + ROWS_AT_ONCE) as unknown as Row<'vaults'>[]).execute()
    }
  }
  // Above whatever is in the storage, so that the next manifest is the newest.
  await tx.insertInto('manifest_marks').values({ place: manifest.place, revision: revision + 1, written: revision })
    .onConflict((mark) => mark.column('place').doUpdateSet({ revision: revision + 1, written: revision }))
    .execute()
}

type RebuiltManifest = FoundManifest & { readonly summary: RebuiltVault }

async function rebuildVault(config: ServerConfig, secrets: Secrets, { manifest, revision }: FoundManifest): Promise<RebuiltManifest | Lost> {
  const [vault] = (manifest.tables.vaults ?? []) as unknown as Row<'vaults'>[]
  if (vault === undefined) return { unreadable: 'its manifest names no vault' }
  const storage = openStorage(`${storageOf(config)}/${vault.project_id}/${vault.id}`, config.storageKeys)
  let snapshots: StoredSnapshot[] = []
  let usedBytes = 0
  let repository: { id: string, location: string } | undefined
  try {
    await using opened = await openRepository(storage, { password: openVaultPassword({ secrets }, vault) })
    snapshots = await opened.listSnapshots({ onDamaged: () => undefined })
    usedBytes = await measure(storage)
    repository = { id: opened.id, location: opened.location }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    if (error.code !== 'repository.not_found') return { unreadable: `its repository cannot be opened: ${error.message}` }
    // It was being deleted, or its storage is not all there: in both cases there is nothing to list.
    if (vault.repository_url !== null) return { unreadable: 'there is no repository at its place' }
  }
  const settled = settleBackups(manifest, vault, snapshots)
  const settledVault: Row<'vaults'> = {
    ...vault,
    used_bytes: usedBytes,
    status: vault.status === 'deleting' ? 'error' : vault.status,
    repository_url: repository?.location ?? null,
    repository_id: repository?.id ?? null,
  }
  return {
    revision,
    manifest: {
      ...manifest,
      tables: {
        ...manifest.tables,
        ...settled.tables,
        vaults: [settledVault as unknown as ManifestRow],
        vault_resources: (manifest.tables.vault_resources ?? []).map((row) => ({ ...row, protect_status: 'available' })),
        vault_scrubs: (manifest.tables.vault_scrubs ?? []).map((row) => ({ ...row, verification_id: null })),
      },
    },
    summary: { id: vault.id, name: vault.name, backups: settled.tables.backups.length, lost: settled.lost, found: settled.found },
  }
}

async function measure(storage: Storage): Promise<number> {
  let bytes = 0
  for await (const { size } of storage.list('data/')) bytes += size
  return bytes
}

const TAGS = { backup: 'opencbr:backup=', checkpoint: 'opencbr:checkpoint=', resource: 'opencbr:resource=' } as const

function tagOf({ snapshot }: StoredSnapshot, name: keyof typeof TAGS): string | undefined {
  const id = snapshot.tags?.find((tag) => tag.startsWith(TAGS[name]))?.slice(TAGS[name].length)
  return id !== undefined && isUuid(id) ? id : undefined
}

/** The catalogue makes the documents itself. */
type BackupRow = Omit<Row<'backups'>, 'document'>

interface Settled {
  readonly tables: { readonly backups: readonly ManifestRow[], readonly checkpoints: readonly ManifestRow[], readonly backup_members: readonly ManifestRow[] }
  readonly lost: readonly string[]
  readonly found: readonly string[]
}

/** Brings a vault's rows in line with what its repository holds. */
function settleBackups(manifest: Manifest, vault: Row<'vaults'>, snapshots: readonly StoredSnapshot[]): Settled {
  const rows = (manifest.tables.backups ?? []) as unknown as BackupRow[]
  const byBackup = new Map<string, StoredSnapshot>()
  const byId = new Map<string, StoredSnapshot>()
  for (const stored of snapshots) {
    byId.set(stored.id, stored)
    if (stored.snapshot.original !== undefined) byId.set(stored.snapshot.original, stored)
    const backupId = tagOf(stored, 'backup')
    // Of several attempts the last one counts.
    if (backupId !== undefined) byBackup.set(backupId, stored)
  }
  const kept: BackupRow[] = []
  const lost: string[] = []
  const parents = new Set(rows.flatMap(({ parent_id: parent }) => (parent === null ? [] : [parent as string])))
  for (const row of rows) {
    const stored = byBackup.get(row.id) ?? (row.snapshot_id === null ? undefined : byId.get(row.snapshot_id))
    if (stored !== undefined) kept.push(settleRow(row, stored))
    // A failed run without data, and the backup that is only its parts, are listed as they were.
    else if (row.status === 'error' || (row.snapshot_id === null && parents.has(row.id))) kept.push(row)
    else lost.push(row.id)
  }
  const known = new Set<string>(rows.map((row) => row.id))
  const resources = new Map(((manifest.tables.vault_resources ?? []) as unknown as Row<'vault_resources'>[]).map((row) => [row.resource_id as string, row]))
  const found: BackupRow[] = []
  for (const [backupId, stored] of byBackup) {
    if (!known.has(backupId)) found.push(makeRow(vault, backupId, stored, resources.get(tagOf(stored, 'resource') ?? '')))
  }
  const backups = [...kept, ...found]
  const listed = new Set<string>(backups.map((row) => row.id))
  return {
    tables: {
      backups: backups as unknown as ManifestRow[],
      checkpoints: settleCheckpoints(manifest, vault, backups),
      backup_members: (manifest.tables.backup_members ?? []).filter((row) => listed.has(String(row['backup_id']))),
    },
    lost,
    found: found.map((row) => row.id),
  }
}

/** No work survives its catalogue: what was in between is what its data says. */
function settleRow(row: BackupRow, stored: StoredSnapshot): BackupRow {
  const wasMade = row.status === 'waiting_protect' || row.status === 'protecting'
  const wasLeaving = row.status === 'waiting_delete' || row.status === 'deleting'
  const isWhole = stored.snapshot.tags?.includes(INCOMPLETE_TAG) !== true
  return {
    ...row,
    ...(row.snapshot_id === null ? factsOf(stored) : {}),
    snapshot_id: stored.id,
    status: wasLeaving || !isWhole ? 'error' : wasMade || row.status !== 'error' ? 'available' : row.status,
    protected_at: row.protected_at ?? (isWhole ? endOf(stored) : null),
  }
}

function factsOf({ snapshot }: StoredSnapshot): Pick<BackupRow, 'source_path' | 'content_bytes' | 'stored_bytes'> {
  const [path] = snapshot.paths
  return {
    source_path: snapshot.paths.length === 1 && path !== undefined ? path : '/',
    content_bytes: snapshot.summary?.total_bytes_processed ?? 0,
    stored_bytes: snapshot.summary?.data_added_packed ?? 0,
  }
}

function timeOf({ snapshot }: StoredSnapshot): number {
  return Date.parse(snapshot.time) * 1000
}

function endOf(stored: StoredSnapshot): number {
  const end = Date.parse(stored.snapshot.summary?.backup_end ?? '') * 1000
  return Number.isNaN(end) ? timeOf(stored) : end
}

const BYTES_PER_GB = 1024 ** 3

/** A backup that was finished after the last manifest. Its name is made up as runs make theirs up; the rest is what its snapshot says. */
function makeRow(
  vault: Row<'vaults'>, backupId: string, stored: StoredSnapshot, resource: Row<'vault_resources'> | undefined,
): BackupRow {
  const facts = factsOf(stored)
  const isDisk = vault.object_type === 'disk'
  const isWhole = stored.snapshot.tags?.includes(INCOMPLETE_TAG) !== true
  const createdAt = timeOf(stored)
  return {
    id: backupId as BackupRow['id'],
    project_id: vault.project_id,
    vault_id: vault.id,
    checkpoint_id: (tagOf(stored, 'checkpoint') ?? backupId) as BackupRow['checkpoint_id'],
    parent_id: null,
    name: `manualbk_${randomHex(4)}`,
    description: `Found in the repository when the catalogue was rebuilt; made ${formatTime(createdAt)}.`,
    status: isWhole ? 'available' : 'error',
    image_type: 'backup',
    resource_id: (tagOf(stored, 'resource') ?? backupId) as BackupRow['resource_id'],
    resource_name: resource?.name ?? facts.source_path?.split('/').at(-1) ?? '',
    resource_type: resource?.resource_type ?? (isDisk ? 'OS::Cinder::Volume' : 'OS::Sfs::Turbo'),
    resource_size_gb: Math.max(1, Math.ceil(facts.content_bytes / BYTES_PER_GB)),
    resource_az: vault.availability_zone,
    enterprise_project_id: vault.enterprise_project_id,
    provider_id: vault.provider_id,
    incremental: stored.snapshot.parent === undefined ? 0 : 1,
    auto_trigger: 0,
    created_at: createdAt,
    updated_at: createdAt,
    protected_at: isWhole ? endOf(stored) : null,
    expired_at: null,
    bootable: null,
    snapshot_id: stored.id,
    support_lld: 0,
    supported_restore_mode: isDisk ? 'backup' : 'na',
    contain_system_disk: 0,
    encrypted: 1,
    system_disk: 0,
    is_multi_az: vault.is_multi_az,
    os_images_data: null,
    version: 3,
    policy_id: null,
    ...facts,
  }
}

/** Each checkpoint that has backups; one that no manifest knows is made from them. */
function settleCheckpoints(manifest: Manifest, vault: Row<'vaults'>, backups: readonly BackupRow[]): ManifestRow[] {
  const rows = (manifest.tables.checkpoints ?? []) as unknown as Row<'checkpoints'>[]
  const known = new Map<string, Row<'checkpoints'>>(rows.map((row) => [row.id, row]))
  const byCheckpoint = Map.groupBy(backups, (row) => row.checkpoint_id)
  return Array.from(byCheckpoint, ([id, members]): ManifestRow => {
    const status = members.every((row) => row.status === 'available') ? 'available' : 'error'
    const row = known.get(id)
    if (row !== undefined) return { ...row, status: row.status === 'available' || row.status === 'error' ? row.status : status } as unknown as ManifestRow
    const [first] = members
    const made: Row<'checkpoints'> = {
      id, project_id: vault.project_id, vault_id: vault.id, status, name: first?.name ?? '', description: first?.description ?? '',
      auto_trigger: 0, incremental: first?.incremental ?? 0, skipped_resources: '[]', created_at: Math.min(...members.map((each) => each.created_at)),
    }
    return made as unknown as ManifestRow
  })
}
