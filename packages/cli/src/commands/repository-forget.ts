import {
  groupSnapshots, isEmptyPolicy, judgeRetention, parseSpan, planPrune, runPrune, type GroupField, type PrunePlan, type PruneProgress, type Repository,
  type RepositoryLock, type RetentionPolicy, type RetentionVerdict, type SnapshotGroup, type Span, type StoredSnapshot,
} from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printJson, printLine, printNote, printTable, safeText } from '../output.ts'
import {
  findSnapshot, findSnapshots, interruptible, refuseIfGuarded, shortId, takeLock, withLock, withRepository, type AccessFlags, type SnapshotFlags,
} from './repository-access.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { openProgress, showBytes, showShare } from './repository-progress.ts'
import { describeSnapshot, showSnapshotLine } from './repository-read.ts'

interface ForgetFlags extends AccessFlags, SnapshotFlags {
  readonly keepLast?: string
  readonly keepHourly?: string
  readonly keepDaily?: string
  readonly keepWeekly?: string
  readonly keepMonthly?: string
  readonly keepYearly?: string
  readonly keepWithin?: string
  readonly keepWithinHourly?: string
  readonly keepWithinDaily?: string
  readonly keepWithinWeekly?: string
  readonly keepWithinMonthly?: string
  readonly keepWithinYearly?: string
  readonly keepTag?: readonly string[]
  readonly groupBy: string
  readonly dryRun?: boolean
  readonly prune?: boolean
  readonly unsafeAllowRemoveAll?: boolean
}

interface JudgedGroup {
  readonly group: SnapshotGroup
  readonly verdicts: readonly RetentionVerdict<StoredSnapshot>[]
}

export function runForget({ args: [location = '', ...names], options }: Call<ForgetFlags>): Promise<void> {
  return interruptible(async (wholeSignal) => {
    const policy = readPolicy(options)
    const fields = readGroupFields(options.groupBy)
    if (names.length > 0 && !isEmptyPolicy(policy)) throw new RepositoryCommandFailure('usage', 'Name snapshots or give rules, not both.')
    if (names.length === 0 && isEmptyPolicy(policy)) throw new RepositoryCommandFailure('usage', 'Nothing says what to forget: name snapshots, or give rules with --keep-….')
    await withRepository(location, options, wholeSignal, async ({ repository, storage }) => {
      const isDry = options.dryRun === true
      if (!isDry) await refuseIfGuarded(storage, wholeSignal)
      const { judged, leaving } = await withLock(repository, options, true, wholeSignal, (lock, signal) => forget(repository, lock, names, policy, fields, options, signal))
      if (options.json !== true) printLine(`${leaving.length} snapshots ${isDry ? 'would be' : 'were'} removed.`)
      const pruned = options.prune === true ? await pruneWith(repository, options, leaving, isDry, {}, wholeSignal) : undefined
      if (options.json === true) {
        printJson({
          dry_run: isDry,
          groups: judged.map(describeGroup),
          removed: leaving.map(({ id }) => id),
          ...(pruned === undefined ? {} : { prune: pruned.answer }),
        })
      } else pruned?.show()
    })
  })
}

/** Decides what goes, shows it, and unless it is a dry run lets it go. */
async function forget(
  repository: Repository, lock: RepositoryLock, names: readonly string[], policy: RetentionPolicy, fields: ReadonlySet<GroupField>,
  options: ForgetFlags, signal: AbortSignal,
): Promise<{ judged: readonly JudgedGroup[], leaving: readonly StoredSnapshot[] }> {
  const isDry = options.dryRun === true
  const judged = names.length > 0 ? [] : await judge(repository, policy, fields, options, signal)
  const leaving = names.length > 0 ? await findNamed(repository, names, options, signal) : judged.flatMap(({ verdicts }) => itemsOf(verdicts, false))
  // What will happen is shown before it happens.
  if (options.json !== true) show(judged, leaving, isDry)
  const emptied = judged.find(({ verdicts }) => itemsOf(verdicts, true).length === 0)
  if (emptied !== undefined && options.unsafeAllowRemoveAll !== true) {
    throw new RepositoryCommandFailure('failure', `The rules keep nothing of ${nameGroup(emptied.group)}, so nothing was done. If that is meant, add --unsafe-allow-remove-all.`)
  }
  if (!isDry) await repository.forgetSnapshots(leaving.map(({ id }) => id), lock, signal)
  return { judged, leaving }
}

function readPolicy(flags: ForgetFlags): RetentionPolicy {
  return {
    last: readCount('last', flags.keepLast),
    hourly: readCount('hourly', flags.keepHourly),
    daily: readCount('daily', flags.keepDaily),
    weekly: readCount('weekly', flags.keepWeekly),
    monthly: readCount('monthly', flags.keepMonthly),
    yearly: readCount('yearly', flags.keepYearly),
    within: readSpan('within', flags.keepWithin),
    withinHourly: readSpan('within-hourly', flags.keepWithinHourly),
    withinDaily: readSpan('within-daily', flags.keepWithinDaily),
    withinWeekly: readSpan('within-weekly', flags.keepWithinWeekly),
    withinMonthly: readSpan('within-monthly', flags.keepWithinMonthly),
    withinYearly: readSpan('within-yearly', flags.keepWithinYearly),
    tags: flags.keepTag?.map((list) => list.split(',')),
  }
}

function readCount(name: string, text: string | undefined): number | 'unlimited' | undefined {
  if (text === undefined) return undefined
  if (text === 'unlimited' || text === '-1') return 'unlimited'
  if (!/^\d{1,9}$/.test(text)) throw new RepositoryCommandFailure('usage', `--keep-${name} wants a number, or unlimited, not ${text}.`)
  return Number(text)
}

function readSpan(name: string, text: string | undefined): Span | undefined {
  if (text === undefined) return undefined
  const span = parseSpan(text)
  if (span === undefined) throw new RepositoryCommandFailure('usage', `--keep-${name} wants a time such as 1y5m7d2h, not ${text}.`)
  return span
}

function readGroupFields(text: string): ReadonlySet<GroupField> {
  const fields = new Set<GroupField>()
  for (const word of text.split(',').filter((each) => each !== '')) {
    const field = word === 'path' ? 'paths' : word === 'tag' ? 'tags' : word
    if (field !== 'host' && field !== 'paths' && field !== 'tags') throw new RepositoryCommandFailure('usage', `--group-by knows host, paths and tags, not ${word}.`)
    fields.add(field)
  }
  return fields
}

async function judge(
  repository: Repository, policy: RetentionPolicy, fields: ReadonlySet<GroupField>, flags: SnapshotFlags, signal: AbortSignal,
): Promise<JudgedGroup[]> {
  const now = new Date()
  return groupSnapshots(await findSnapshots(repository, flags, signal), fields)
    .map((group) => ({ group, verdicts: judgeRetention(group.snapshots, policy, now, ({ snapshot }) => snapshot) }))
}

async function findNamed(repository: Repository, names: readonly string[], flags: SnapshotFlags, signal: AbortSignal): Promise<StoredSnapshot[]> {
  const found = new Map<string, StoredSnapshot>()
  for (const name of names) {
    const stored = await findSnapshot(repository, name, flags, signal)
    found.set(stored.id, stored)
  }
  return [...found.values()]
}

function itemsOf(verdicts: readonly RetentionVerdict<StoredSnapshot>[], kept: boolean): StoredSnapshot[] {
  return verdicts.filter(({ keptBecause }) => keptBecause.length > 0 === kept).map(({ item }) => item)
}

function nameGroup({ host, paths, tags }: SnapshotGroup): string {
  const parts = [
    host === undefined ? '' : `host ${safeText(host === '' ? '-' : host)}`,
    paths === undefined ? '' : `paths ${safeText(paths.join(', '))}`,
    tags === undefined ? '' : `tags ${safeText(tags.length === 0 ? '-' : tags.join(', '))}`,
  ].filter((part) => part !== '')
  return parts.length === 0 ? 'all snapshots' : parts.join(', ')
}

function show(judged: readonly JudgedGroup[], leaving: readonly StoredSnapshot[], isDry: boolean): void {
  if (judged.length === 0) {
    for (const stored of leaving) showSnapshotLine(stored)
    return
  }
  for (const { group, verdicts } of judged) {
    printLine(`${nameGroup(group)}:`)
    printTable(verdicts, [
      { title: 'id', value: ({ item }) => shortId(item.id) },
      { title: 'time', value: ({ item }) => item.snapshot.time.slice(0, 19).replace('T', ' ') },
      { title: 'tags', value: ({ item }) => item.snapshot.tags?.join(', ') },
      { title: '', value: ({ keptBecause }) => (keptBecause.length > 0 ? 'stays' : isDry ? 'would go' : 'goes') },
      { title: 'reasons', value: ({ keptBecause }) => keptBecause.join(', ') },
    ], 'No snapshots.')
    printLine()
  }
}

function describeGroup({ group, verdicts }: JudgedGroup): object {
  const { host = '', paths = null, tags = null } = group
  return {
    host, paths, tags,
    keep: itemsOf(verdicts, true).map(describeSnapshot),
    remove: itemsOf(verdicts, false).map(describeSnapshot),
    reasons: verdicts.filter(({ keptBecause }) => keptBecause.length > 0)
      .map(({ item, keptBecause }) => ({ snapshot: describeSnapshot(item), matches: keptBecause })),
  }
}

interface PruneFlags extends AccessFlags {
  readonly maxUnused?: number
  /** Milliseconds. */
  readonly grace?: number
  readonly dryRun?: boolean
}

export function runPruneCommand({ args: [location = ''], options, print }: Call<PruneFlags>): Promise<void> {
  return interruptible(async (wholeSignal) => {
    if ((options.maxUnused ?? 0) > 100) throw new RepositoryCommandFailure('usage', '--max-unused is at most 100.')
    await withRepository(location, options, wholeSignal, async ({ repository, storage }) => {
      if (options.dryRun !== true) await refuseIfGuarded(storage, wholeSignal)
      const { answer, show: showResult } = await pruneWith(repository, options, [], options.dryRun === true, { maxUnusedPercent: options.maxUnused, graceMs: options.grace }, wholeSignal)
      print(answer, showResult)
    })
  })
}

/**
 * Plans and runs a prune. Dry, the plan is what would be done; snapshots that were only forgotten for show
 * still count in it, so that it promises less than the run will do.
 */
async function pruneWith(
  repository: Repository, flags: AccessFlags, forgotten: readonly StoredSnapshot[], isDry: boolean,
  { graceMs, ...options }: { maxUnusedPercent?: number | undefined, graceMs?: number | undefined }, wholeSignal: AbortSignal,
): Promise<{ answer: object, show: () => void }> {
  using progress = openProgress()
  const onProgress = ({ stage, done, total }: PruneProgress): void => progress.show(() =>
    `${stage}${showShare(done, total)}${stage === 'repacking' ? ` of ${showBytes(total)}` : ''}`)
  const plan = await withLock(repository, flags, false, wholeSignal, (_lock, signal) => planPrune(repository, { ...options, signal, onProgress }))
  const planned = describePlan(plan)
  if (isDry) {
    return {
      answer: { dry_run: true, ...planned },
      show() {
        showPlan(plan)
        printLine('Nothing was removed.')
        if (plan.tombstones.length > 0) printNote(`${plan.tombstones.length} packs were marked as unneeded by earlier runs.`)
        if (forgotten.length > 0) printNote('The data of the snapshots above is not counted yet: they are still there.')
      },
    }
  }
  const result = await runPrune(repository, (exclusive) => takeLock(repository, flags, exclusive, wholeSignal), plan, { signal: wholeSignal, onProgress, graceMs })
  return {
    answer: {
      dry_run: false, ...planned, freed_bytes: result.freedBytes, removed_packs: result.removedPackCount, spared_packs: result.sparedPackCount,
      written_packs: result.writtenPackCount, pending_packs: result.pendingPackCount, pending_bytes: result.pendingBytes,
    },
    show() {
      showPlan(plan)
      printLine(result.freedBytes < 0 ? `Copying took ${showBytes(-result.freedBytes)}; nothing was freed yet.` : `${showBytes(result.freedBytes)} were freed.`)
      if (result.pendingPackCount > 0) printLine(`${showBytes(result.pendingBytes)} in ${result.pendingPackCount} packs are unneeded and stay until their grace is over.`)
    },
  }
}

function describePlan(plan: PrunePlan): object {
  return {
    planned: {
      marked_packs: plan.tombstones.length,
      unindexed_packs: plan.unindexedPacks.length,
      removed_packs: plan.removedPacks.length,
      repacked_packs: plan.repackedPacks.length,
      used_bytes: plan.usedBytes,
      remaining_unused_bytes: plan.remainingUnusedBytes,
      freed_bytes: plan.freedBytes,
    },
  }
}

function showPlan(plan: PrunePlan): void {
  printLine(`needed: ${showBytes(plan.usedBytes)}; packs without a name: ${plan.unindexedPacks.length}, not needed: ${plan.removedPacks.length}, `
    + `to be packed anew: ${plan.repackedPacks.length}; to be freed: ${showBytes(Math.max(0, plan.freedBytes))}, `
    + `unneeded that stays: ${showBytes(plan.remainingUnusedBytes)}`)
}
