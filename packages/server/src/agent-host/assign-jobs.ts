/**
 * From the queue to the agent: leases jobs and, in the same transaction, says in the catalogue that
 * they run. Passwords are unsealed here and leave over the IPC channel only.
 */
import type { Assignment, BackupAssignment, SourceKind, VaultAccess } from '@opencbr/agent'
import { excludePatterns, findAgentOfResource, statusOf, type AgentView } from '../agents/index.ts'
import { findReadableBackup } from '../backups/index.ts'
import type { Micros } from '../clock.ts'
import { pathRulesOf } from '../config.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import type { ResourceId } from '../ids.ts'
import { leaseJobs, parseJobPayload } from '../jobs/index.ts'
import { findResource } from '../resources/index.ts'
import { findVault, guardOf, openVaultPassword, placeOf } from '../vaults/index.ts'
import { endInFailure } from './end-job.ts'
import { findJobBackup, ownerOf } from './job-backup.ts'
import { startBackup } from './record-backup.ts'
import { startMigration } from './record-migration.ts'
import { isRemoval, startRemoval } from './record-removal.ts'
import { startRestore } from './record-restore.ts'
import { startVerification } from './record-verification.ts'

const MICROS_PER_MS = 1000

/** Why a job cannot even be begun. */
interface Refusal {
  readonly code: string
  readonly message: string
}

/**
 * Leases at most `places` jobs. One that cannot be begun ends in failure at once, and another takes
 * its place.
 */
export async function assignJobs(
  deps: Pick<Deps, 'db' | 'clock' | 'config' | 'secrets'>, lease: { holder: string, places: number },
): Promise<Assignment[]> {
  const assignments: Assignment[] = []
  while (assignments.length < lease.places) {
    const begun = await deps.db.transaction().execute(async (tx) => {
      const now = deps.clock.now()
      const [job] = await leaseJobs(tx, { holder: lease.holder, limit: 1, now, writersPerVault: deps.config.writersPerVault })
      if (job === undefined) return undefined
      const assignment = await begin(tx, deps, job, now)
      if (!('code' in assignment)) return { assignment }
      await endInFailure(tx, job, assignment, now)
      return {}
    })
    if (begun === undefined) break
    if (begun.assignment !== undefined) assignments.push(begun.assignment)
  }
  return assignments
}

type AssignDeps = Pick<Deps, 'config' | 'secrets'>

async function begin(tx: Transaction, deps: AssignDeps, job: Row<'jobs'>, now: Micros): Promise<Assignment | Refusal> {
  const row = await findVault(tx, ownerOf(job), job.vault_id)
  if (row === undefined) return { code: 'unknown', message: 'The vault is gone.' }
  const vault = await openAccess(tx, deps, row)
  if (vault === undefined) return NO_PASSWORD
  if (job.kind === 'migrate_resource') {
    return await startMigration(tx, job, vault, (target) => openAccess(tx, deps, target), now) ?? { code: 'unknown', message: 'The vault to move to is gone, or cannot be opened.' }
  }
  if (job.kind === 'forget_moved') return { kind: 'forget', jobId: job.id, vault, backupIds: parseJobPayload(job, 'forget_moved').backupIds }
  if (isRemoval(job.kind)) {
    const backupIds = await startRemoval(tx, job, now)
    return job.kind === 'delete_vault'
      ? { kind: 'remove_vault', jobId: job.id, vault }
      : { kind: 'forget', jobId: job.id, vault, backupIds }
  }
  if (job.kind === 'verify') {
    return await startVerification(tx, job, vault, now) ?? { code: 'unknown', message: 'What was to be verified is gone.' }
  }
  const backup = await findJobBackup(tx, job)
  if (backup === undefined) return { code: 'unknown', message: 'The backup is gone.' }
  const { allowedRoots } = pathRulesOf(deps.config, job.project_id)
  return job.kind === 'backup' ? beginBackup(tx, { job, vault, allowedRoots }, backup, now) : beginRestore(tx, { job, vault, allowedRoots }, backup, now)
}

const NO_PASSWORD: Refusal = {
  code: 'unknown',
  message: 'The password of the vault does not open with the master key of this server: put back the key that belongs to the catalogue.',
}

/** Undefined when the password does not open. */
async function openAccess(tx: Transaction, deps: AssignDeps, row: Row<'vaults'>): Promise<VaultAccess | undefined> {
  const password = findPassword(deps, row)
  if (password === undefined) return undefined
  return {
    projectId: row.project_id,
    vaultId: row.id,
    ...placeOf(deps.config, row),
    password,
    repositoryExpected: row.repository_url !== null,
    guard: await guardOf(tx, row) ?? null,
  }
}

/** One password that does not open must not hold up everybody else's jobs. */
function findPassword(deps: AssignDeps, row: Row<'vaults'>): string | undefined {
  try {
    return openVaultPassword(deps, row)
  } catch {
    return undefined
  }
}

interface Task {
  readonly job: Row<'jobs'>
  readonly vault: VaultAccess
  readonly allowedRoots: readonly string[]
}

async function beginBackup(
  tx: Transaction, { job, vault, allowedRoots }: Task, backup: Row<'backups'>, now: Micros,
): Promise<Assignment | Refusal> {
  await startBackup(tx, job, backup, now)
  const { resourceId, incremental } = parseJobPayload(job, 'backup')
  const resource = await findResource(tx, job.project_id, resourceId)
  if (resource === undefined) return notOffered(resourceId)
  const source = await describeSource(tx, resource)
  if ('code' in source) return source
  return {
    kind: 'backup',
    jobId: job.id,
    vault,
    backupId: backup.id,
    checkpointId: backup.checkpoint_id,
    resourceId,
    takenAtMs: Math.floor(backup.created_at / MICROS_PER_MS),
    source,
    allowedRoots,
    incremental,
    expectedBytes: resource.size_bytes,
  }
}

async function beginRestore(
  tx: Transaction, { job, vault, allowedRoots }: Task, backup: Row<'backups'>, now: Micros,
): Promise<Assignment | Refusal> {
  await startRestore(tx, job, backup, now)
  // A share may have ended since the restore was asked for.
  if (await findReadableBackup(tx, job.project_id, backup.id) === undefined) {
    return { code: 'unknown', message: 'The backup is not shared with this project any more.' }
  }
  if (backup.snapshot_id === null || backup.source_path === null) return { code: 'unknown', message: 'The backup holds no data.' }
  const payload = parseJobPayload(job, 'restore')
  let target: { kind: SourceKind, path: string }
  if (payload.target === 'directory') {
    target = { kind: 'directory', path: payload.destinationPath }
  } else {
    const resource = await findResource(tx, job.project_id, payload.resourceId)
    if (resource === undefined) return notOffered(payload.resourceId)
    target = { kind: 'disk', path: resource.path }
  }
  return {
    kind: 'restore', jobId: job.id, vault, backupId: backup.id, snapshotId: backup.snapshot_id, sourcePath: backup.source_path, target, allowedRoots,
  }
}

async function describeSource(tx: Transaction, { type, path, project_id, id }: Row<'resources'>): Promise<BackupAssignment['source'] | Refusal> {
  switch (type) {
    case 'OS::Sfs::Turbo': return { kind: 'directory', path }
    case 'OS::Cinder::Volume': return { kind: 'disk', path }
    case 'OS::Native::Server': return describeAgent(await findAgentOfResource(tx, project_id, id), id)
  }
}

function describeAgent(view: AgentView | undefined, resourceId: ResourceId): BackupAssignment['source'] | Refusal {
  if (view === undefined) return notOffered(resourceId)
  const { host_name: host } = view.agent
  const status = statusOf(view.agent)
  if (status === 'uninstall') return refuseAgent(`The agent of ${host} is out of service: register it again.`)
  if (status === 'offline') return refuseAgent(`The agent of ${host} is offline: it is of another machine than this server.`)
  const directories = view.paths.filter((path) => path.status === 'available')
  if (directories.length === 0) return refuseAgent(`The agent of ${host} has no directories: add some.`)
  return { kind: 'directories', directories: directories.map((each) => ({ path: each.dir_path, excludes: excludePatterns(each) })) }
}

function refuseAgent(message: string): Refusal {
  return { code: 'source.not_offered', message }
}

function notOffered(resourceId: ResourceId): Refusal {
  return { code: 'source.not_offered', message: `No agent offers the resource ${resourceId}: declare it with its path, then try again.` }
}
