/** Keeps the manifests behind the catalogue, as close as it may without holding anybody up. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Storage } from '@opencbr/storage'
import type { Database } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { VaultId } from '../ids.ts'
import {
  DEPLOYMENT, DEPLOYMENT_TABLES, openManifestStorage, removeManifests, saveManifest, VAULT_TABLES, type ManifestDeps, type ManifestRow,
  type ManifestTable,
} from './manifest.ts'

const PLACES_AT_ONCE_MAX = 100
const ROWS_AT_ONCE = 1000
/** A place that changes while it is read is read again, but not for ever: it stays marked, and its turn comes again. */
const READS_MAX = 3

/** Writes what has changed; answers how many manifests that were. What cannot be written stays marked. */
export async function writeManifests(
  deps: ManifestDeps, storage: Storage = openManifestStorage(deps.config), rests: Rests = openRests(() => 0),
): Promise<number> {
  const marked = await deps.db.selectFrom('manifest_marks').select('place').whereRef('revision', '>', 'written').orderBy('place').execute()
  const due = marked.filter(({ place }) => !rests.isResting(place)).slice(0, PLACES_AT_ONCE_MAX)
  for (const { place } of due) await rests.after(place, () => writePlace(deps, storage, place))
  return due.length
}

async function writePlace({ db, secrets }: ManifestDeps, storage: Storage, place: string): Promise<void> {
  let revision = await revisionOf(db, place)
  for (let read = 1; revision !== undefined; read += 1) {
    const tables = place === DEPLOYMENT ? await readDeployment(db) : await readVault(db, place as VaultId)
    const after = await revisionOf(db, place)
    if (after !== revision && read < READS_MAX) {
      revision = after
      continue
    }
    if (tables === undefined) {
      await removeManifests(storage, place)
      await db.deleteFrom('manifest_marks').where('place', '=', place).where('revision', '=', revision).execute()
      return
    }
    await saveManifest(storage, secrets, { version: 1, place, tables }, revision)
    await db.updateTable('manifest_marks').set({ written: revision })
      .where('place', '=', place).where('written', '<', revision)
      .execute()
    return
  }
}

async function revisionOf(db: Database, place: string): Promise<number | undefined> {
  return (await db.selectFrom('manifest_marks').select('revision').where('place', '=', place).executeTakeFirst())?.revision
}

type Tables = Partial<Record<ManifestTable, readonly ManifestRow[]>>

async function readDeployment(db: Database): Promise<Tables> {
  const tables: Tables = {}
  for (const table of DEPLOYMENT_TABLES) tables[table] = await db.selectFrom(table).selectAll().$castTo<ManifestRow>().execute()
  return tables
}

/** Undefined when the vault is gone. */
async function readVault(db: Database, vaultId: VaultId): Promise<Tables | undefined> {
  const vault = await db.selectFrom('vaults').selectAll().where('id', '=', vaultId).executeTakeFirst()
  if (vault === undefined) return undefined
  const tables: Tables = { vaults: [vault as unknown as ManifestRow] }
  for (const table of VAULT_TABLES) {
    if (table === 'vaults' || table === 'backups' || table === 'backup_members') continue
    tables[table] = await db.selectFrom(table).selectAll().where('vault_id', '=', vaultId).$castTo<ManifestRow>().execute()
  }
  tables.backups = await readBackups(db, vault)
  tables.backup_members = await db.selectFrom('backup_members').selectAll()
    .where('backup_id', 'in', db.selectFrom('backups').select('id').where('project_id', '=', vault.project_id).where('vault_id', '=', vaultId))
    .$castTo<ManifestRow>().execute()
  return tables
}

/** Page by page: a vault may hold very many, and others want to use the catalogue meanwhile. */
async function readBackups(db: Database, vault: Pick<Row<'vaults'>, 'id' | 'project_id'>): Promise<ManifestRow[]> {
  const rows: ManifestRow[] = []
  let last: Row<'backups'> | undefined
  for (;;) {
    let page = db.selectFrom('backups').selectAll().where('project_id', '=', vault.project_id).where('vault_id', '=', vault.id)
      .orderBy('created_at').orderBy('id').limit(ROWS_AT_ONCE)
    if (last !== undefined) {
      const { created_at: createdAt, id } = last
      page = page.where(({ eb, refTuple, tuple }) => eb(refTuple('created_at', 'id'), '>', tuple(createdAt, id)))
    }
    const found = await page.execute()
    // A backup's document follows from its other columns.
    for (const row of found) rows.push({ ...row, document: null } as unknown as ManifestRow)
    last = found.at(-1)
    if (found.length < ROWS_AT_ONCE) return rows
    await nextTurn()
  }
}

const LOOK_EVERY_MS = 2_000
/**
 * A manifest is written whole, so a vault that changes all the time costs the more the more it holds. It is left alone for
 * so many times as long as the last writing took: a twentieth of one processor's time at most. What is lost with the
 * catalogue meanwhile is found by the tags of its snapshots.
 */
const RESTS_PER_WRITING = 19

interface Rests {
  readonly isResting: (place: string) => boolean
  /** Writes, and lets the place rest. */
  readonly after: (place: string, write: () => Promise<void>) => Promise<void>
}

/** `nowMs` counts from anywhere. */
export function openRests(nowMs: () => number): Rests {
  const untilMs = new Map<string, number>()
  return {
    isResting: (place) => nowMs() < (untilMs.get(place) ?? 0),
    async after(place, write) {
      const startedAtMs = nowMs()
      await write()
      const endedAtMs = nowMs()
      for (const [other, endMs] of untilMs) if (endMs <= endedAtMs) untilMs.delete(other)
      untilMs.set(place, endedAtMs + RESTS_PER_WRITING * (endedAtMs - startedAtMs))
    },
  }
}

export interface ManifestKeeper {
  /** Writes no more: what is marked stays so, for somebody who knows better what belongs into a manifest. */
  readonly stop: () => void
  /** Writes what is still to be written, and ends. */
  readonly close: () => Promise<void>
}

/** Looks every other second for what has changed. */
export function keepManifests(deps: ManifestDeps): ManifestKeeper {
  let turn: Promise<void> | undefined
  let storage: Storage | undefined
  let isStopped = false
  let rests = openRests(() => performance.now())
  function look(): Promise<void> {
    turn ??= (async () => {
      try {
        if (isStopped) return
        storage ??= openManifestStorage(deps.config)
        await writeManifests(deps, storage, rests)
      } catch (error) {
        // It stays marked, and is tried again.
        if (deps.config.logLevel !== 'silent') process.stderr.write(`manifests: they could not be written: ${error instanceof Error ? error.message : String(error)}\n`)
      } finally {
        turn = undefined
      }
    })()
    return turn
  }
  const timer = setInterval(() => void look(), LOOK_EVERY_MS)
  timer.unref()
  return {
    stop() {
      isStopped = true
      clearInterval(timer)
    },
    async close() {
      clearInterval(timer)
      await turn
      // The last time: nothing rests any more.
      rests = openRests(() => 0)
      await look()
    },
  }
}
