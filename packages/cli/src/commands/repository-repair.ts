import {
  checkRepository, findDamagedPacks, planIndexRepair, planPackRepair, planSnapshotRepair, runIndexRepair, runPackRepair, runSnapshotRepair,
  type CheckFinding, type PackId, type Repository, type SnapshotId, type StoredSnapshot,
} from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printLine, printNote, safeText } from '../output.ts'
import {
  findSnapshot, findSnapshots, interruptible, oneOf, refuseIfGuarded, shortId, withLock, withRepository, type AccessFlags, type OpenedRepository, type SnapshotFlags,
} from './repository-access.ts'
import { describeFinding } from './repository-check.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { openProgress, showBytes, showShare } from './repository-progress.ts'

interface RepairFlags extends AccessFlags {
  readonly dryRun?: boolean
}

interface IndexRepairFlags extends RepairFlags {
  readonly readAllPacks?: boolean
}

interface SnapshotRepairFlags extends RepairFlags, SnapshotFlags {
  readonly forget?: boolean
}

type LockedWork = (opened: OpenedRepository, lock: Parameters<typeof runIndexRepair>[2], signal: AbortSignal) => Promise<void>

function repairing(location: string, flags: AccessFlags, work: LockedWork): Promise<void> {
  return interruptible((wholeSignal) => withRepository(location, flags, wholeSignal, (opened) =>
    withLock(opened.repository, flags, true, wholeSignal, (lock, signal) => work(opened, lock, signal))))
}

export function runRepairIndexCommand({ args: [location = ''], options, print }: Call<IndexRepairFlags>): Promise<void> {
  return repairing(location, options, async ({ repository, storage }, lock, signal) => {
    using progress = openProgress()
    const plan = await planIndexRepair(repository, {
      readAllPacks: options.readAllPacks, signal,
      onProgress: (done, total) => progress.show(() => `${done} of ${total} packs asked`),
    })
    const isRun = options.dryRun !== true && (plan.needed || options.readAllPacks === true)
    if (options.json !== true) {
      printLine(`${plan.packCount} packs with ${plan.blobCount} blobs are explained; ${plan.reread.length} by their own headers`)
      for (const id of plan.damagedIndexFileIds) printNote(`index file ${shortId(id)} is damaged, and is put aside`)
      for (const id of plan.headerDamaged) printNote(`pack ${shortId(id)} has a damaged header; the old index explains it: repair packs`)
      for (const id of plan.unexplained) printNote(`pack ${shortId(id)} cannot be explained, and is put aside`)
      for (const id of plan.missing) printNote(`pack ${shortId(id)} is missing, and leaves the index`)
    }
    const result = isRun ? await runIndexRepair(storage, repository, lock, plan, signal) : undefined
    const lost = result === undefined || result.leftInPlace.length > 0 ? undefined : await findLosses(repository, signal)
    print({
      dry_run: options.dryRun === true,
      needed: plan.needed,
      packs: plan.packCount,
      blobs: plan.blobCount,
      packs_reread: plan.reread.map(({ id }) => id),
      header_damaged: plan.headerDamaged,
      unexplained: plan.unexplained,
      missing: plan.missing,
      damaged_index_files: plan.damagedIndexFileIds,
      ...(result === undefined ? {} : { new_index_files: result.newIndexFiles, quarantined: result.quarantined, left_in_place: result.leftInPlace }),
      ...(lost === undefined ? {} : { damaged_snapshots: lost.snapshotIds }),
    }, () => {
      printLine(result === undefined ? `Nothing was changed${plan.needed ? '' : ': nothing needs to be'}.` : `${result.newIndexFiles} index files were written.`)
      if (lost !== undefined) showLosses(lost)
    })
    if (result !== undefined && result.leftInPlace.length > 0) {
      throw new RepositoryCommandFailure('failure', `${result.leftInPlace.join(', ')} cannot even be read to be put aside.`)
    }
  })
}

interface PackRepairAnswer {
  readonly id: string
  readonly size: number
  readonly good_blobs: number
  readonly lost_blobs: readonly { type: string, id: string }[]
}

export function runRepairPacksCommand({ args: [location = '', ...names], options, print }: Call<RepairFlags>): Promise<void> {
  return repairing(location, options, async ({ repository, storage }, lock, signal) => {
    using progress = openProgress()
    const ids = names.length > 0 ? await findPacks(repository, names, signal) : await findDamagedPacks(repository, {
      signal, onProgress: (done, total) => progress.show(() => `${showBytes(done)} of data read${showShare(done, total)}`),
    })
    const plan = await planPackRepair(repository, ids, { signal })
    if (options.json !== true) {
      for (const { id, good, lost } of plan.packs) printLine(`pack ${shortId(id)}: ${good.length} good blobs, ${lost.length} lost`)
    }
    const isRun = options.dryRun !== true && plan.packs.length > 0
    const result = isRun ? await runPackRepair(storage, repository, lock, plan, signal) : undefined
    const lost = result === undefined ? undefined : await findLosses(repository, signal)
    print({
      dry_run: options.dryRun === true,
      packs: plan.packs.map((pack): PackRepairAnswer => ({ id: pack.id, size: pack.size, good_blobs: pack.good.length, lost_blobs: pack.lost })),
      ...(result === undefined ? {} : {
        quarantined: result.quarantined, left_in_place: result.leftInPlace, new_packs: result.newPacks, blobs_saved: result.blobsSaved,
      }),
      ...(lost === undefined ? {} : { damaged_snapshots: lost.snapshotIds }),
    }, () => {
      if (result === undefined) printLine(plan.packs.length === 0 ? 'No damaged packs.' : 'Nothing was changed.')
      else printLine(`${result.quarantined.length} packs were put aside, and ${result.blobsSaved} blobs of them saved.`)
      if (lost !== undefined) showLosses(lost)
    })
    if (result !== undefined && result.leftInPlace.length > 0) {
      throw new RepositoryCommandFailure('failure', `${result.leftInPlace.length} packs cannot even be read to be put aside.`)
    }
  })
}

/** Packs by the beginning of their ids; whole ids need not be listed. */
async function findPacks(repository: Repository, names: readonly string[], signal: AbortSignal): Promise<PackId[]> {
  const stored: PackId[] = []
  for await (const { id } of repository.listPacks(signal)) stored.push(id)
  return names.map((name) => oneOf(stored.filter((id) => id.startsWith(name)), name, 'pack'))
}

interface Losses {
  readonly snapshotIds: readonly SnapshotId[]
  readonly findings: readonly CheckFinding[]
}

/** What snapshots lack now. */
async function findLosses(repository: Repository, signal: AbortSignal): Promise<Losses> {
  const { findings } = await checkRepository(repository, { level: 'structure', signal })
  const inSnapshots = findings.filter(({ severity, snapshotId }) => severity === 'error' && snapshotId !== undefined)
  const snapshotIds = new Set(inSnapshots.flatMap(({ snapshotId }) => (snapshotId === undefined ? [] : [snapshotId])))
  return { snapshotIds: [...snapshotIds], findings: inSnapshots }
}

function showLosses({ snapshotIds, findings }: Losses): void {
  for (const finding of findings) printNote(describeFinding(finding))
  if (snapshotIds.length > 0) printLine(`${snapshotIds.length} snapshots have lost something; opencbr repository repair snapshots makes them anew without it.`)
  else printLine('No snapshot has lost anything.')
}

export function runRepairSnapshotsCommand({ args: [location = '', ...names], options, print }: Call<SnapshotRepairFlags>): Promise<void> {
  return repairing(location, options, async ({ repository, storage }, lock, signal) => {
    if (options.forget === true && options.dryRun !== true) await refuseIfGuarded(storage, signal)
    const plan = await planSnapshotRepair(repository, await chooseSnapshots(repository, names, options, signal), signal)
    if (options.json !== true) {
      for (const { id, lostPaths, lostCount, tree } of plan.damaged) {
        printLine(`snapshot ${shortId(id)} has lost ${lostCount} files and directories${tree === undefined ? ': all there is' : ''}`)
        for (const path of lostPaths) printNote(`  ${safeText(path)}`)
      }
    }
    const repaired = options.dryRun === true ? [] : await runSnapshotRepair(repository, lock, plan, { forget: options.forget === true, signal })
    print({
      dry_run: options.dryRun === true,
      damaged: plan.damaged.map(({ id, lostPaths, lostCount }) => ({ id, lost_count: lostCount, lost_paths: lostPaths })),
      repaired: repaired.map(({ id, repairedId }) => ({ id, repaired_id: repairedId ?? null })),
    }, () => {
      if (plan.damaged.length === 0) printLine('No snapshot has lost anything.')
      for (const { id, repairedId } of repaired) {
        printLine(repairedId === undefined ? `${shortId(id)} stays as it is: nothing of it is left` : `${shortId(id)} was made anew as ${shortId(repairedId)}`)
      }
    })
  })
}

async function chooseSnapshots(
  repository: Repository, names: readonly string[], flags: SnapshotFlags, signal: AbortSignal,
): Promise<StoredSnapshot[]> {
  if (names.length === 0) return findSnapshots(repository, flags, signal)
  const found = new Map<string, StoredSnapshot>()
  for (const name of names) {
    const stored = await findSnapshot(repository, name, flags, signal)
    found.set(stored.id, stored)
  }
  return [...found.values()]
}
