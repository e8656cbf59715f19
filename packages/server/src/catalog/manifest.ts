/**
 * Manifests: what of the catalogue lies with the vaults, sealed with the master key, so that a lost catalogue
 * can be made again from the storage and the key alone.
 *
 *     <storage>/manifests/deployment/<revision>       domains, users, keys, resources, agents, policies
 *     <storage>/manifests/<vault_id>/<revision>       a vault, what is in it, and its backups
 *
 * A manifest holds whole rows, under the names of their tables and columns, and is written anew when one of
 * them has changed. It follows the catalogue as the catalogue follows the repository: what is lost between
 * the two is known to the snapshots' tags. Order of writes: the new revision, then the removal of the older ones; so
 * there is always a whole one, and the highest revision counts.
 */
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import { openStorage, StorageFailure, type Storage } from '@opencbr/storage'
import { storageOf, type ServerConfig } from '../config.ts'
import type { Schema } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import type { Secrets } from '../secrets.ts'

export const DEPLOYMENT = 'deployment'
export const MANIFESTS_PREFIX = 'manifests/'

type Table = keyof Schema

/** In an order in which rows can be inserted. */
export const DEPLOYMENT_TABLES = [
  'domains', 'projects', 'users', 'user_groups', 'user_group_members', 'roles', 'role_assignments', 'access_keys', 'resources', 'resource_tags',
  'agents', 'agent_paths', 'policies', 'organization_policies', 'organization_policy_deployments',
] as const satisfies readonly Table[]

export const VAULT_TABLES = [
  'vaults', 'vault_resources', 'vault_tags', 'vault_policies', 'vault_scrubs', 'checkpoints', 'backups', 'backup_members', 'replication_records',
] as const satisfies readonly Table[]

/** What a rebuild does without: it passes, it is counted anew, or it is about this one catalogue. */
export const LEFT_OUT_TABLES = [
  'tokens', 'operation_logs', 'jobs', 'events', 'webhook_deliveries', 'verifications', 'policy_runs', 'planned_expiries', 'scheduler_duties', 'servers',
  'backup_revisions', 'backup_counts', 'backup_cells', 'shared_backups', 'identity_revision', 'vault_usage', 'catalogue_facts', 'manifest_marks',
  'audit_records', 'audit_head', 'audit_begun',
] as const satisfies readonly Table[]

export type ManifestTable = (typeof DEPLOYMENT_TABLES)[number] | (typeof VAULT_TABLES)[number]
export type ManifestRow = Readonly<Record<string, string | number | null>>

export interface Manifest {
  readonly version: 1
  readonly place: string
  readonly tables: Readonly<Partial<Record<ManifestTable, readonly ManifestRow[]>>>
}

export interface FoundManifest {
  readonly manifest: Manifest
  readonly revision: number
}

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const REVISION_DIGITS = 16

export function openManifestStorage(config: Pick<ServerConfig, 'dataDir' | 'storage' | 'storageKeys'>): Storage {
  return openStorage(storageOf(config), config.storageKeys)
}

function keyOf(place: string, revision: number): string {
  return `${MANIFESTS_PREFIX}${place}/${String(revision).padStart(REVISION_DIGITS, '0')}`
}

function purposeOf(place: string): string {
  return `manifest:${place}`
}

export async function saveManifest(storage: Storage, secrets: Secrets, manifest: Manifest, revision: number): Promise<void> {
  const packed = await compress(Buffer.from(JSON.stringify(manifest)))
  const sealed = secrets.seal(purposeOf(manifest.place), packed.toString('base64'))
  try {
    await storage.put(keyOf(manifest.place, revision), [Buffer.from(sealed)])
  } catch (error) {
    // Another server, or this one before it died, has written this revision.
    if (!(error instanceof StorageFailure) || error.code !== 'storage.exists') throw error
  }
  await removeManifests(storage, manifest.place, revision)
}

/** Removes the revisions before one, or all of them. */
export async function removeManifests(storage: Storage, place: string, before = Infinity): Promise<void> {
  for (const revision of await listRevisions(storage, place)) if (revision < before) await storage.delete(keyOf(place, revision))
}

async function listRevisions(storage: Storage, place: string): Promise<number[]> {
  const revisions: number[] = []
  for await (const { key } of storage.list(`${MANIFESTS_PREFIX}${place}/`)) revisions.push(Number(key.split('/').at(-1)))
  return revisions.filter(Number.isSafeInteger).toSorted((a, b) => b - a)
}

/** Every place that has manifests. */
export async function listManifestPlaces(storage: Storage): Promise<string[]> {
  const places = new Set<string>()
  for await (const { key } of storage.list(MANIFESTS_PREFIX)) {
    const [, place, revision] = key.split('/')
    if (place !== undefined && revision !== undefined) places.add(place)
  }
  return [...places].toSorted()
}

/** The newest one that opens; undefined when none does, with the reason why not. */
export async function readManifest(
  storage: Storage, secrets: Secrets, place: string,
): Promise<FoundManifest | { readonly unreadable: string }> {
  let unreadable = 'there is none'
  for (const revision of await listRevisions(storage, place)) {
    try {
      const sealed = Buffer.from(await storage.get(keyOf(place, revision))).toString()
      const packed = Buffer.from(secrets.unseal(purposeOf(place), sealed), 'base64')
      const manifest = JSON.parse((await decompress(packed)).toString()) as Manifest
      if (manifest.version === 1 && manifest.place === place) return { manifest, revision }
      unreadable = 'it has an unknown form'
    } catch (error) {
      unreadable = error instanceof Error ? error.message : String(error)
    }
  }
  return { unreadable }
}

export type ManifestDeps = Pick<Deps, 'db' | 'config' | 'secrets'>
