/**
 * Checks of a whole repository and of one snapshot.
 *
 * The order is that of every reader: snapshots are listed before the index is loaded, so that a run
 * that ends meanwhile cannot look like damage. A caller that holds a lock is safe from a prune
 * meanwhile, too.
 */
import { Failure, throwIfCancelled } from '../failure.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId, PackId, SnapshotId } from '../repository/types.ts'
import { ByteBudget } from '../restore/byte-budget.ts'
import { damageOf } from '../restore/damage.ts'
import { fetchBlobs } from '../restore/fetch-blobs.ts'
import { BlobHealthRecord } from './blob-health.ts'
import { checkPackSizes, readPacks } from './check-packs.ts'
import { nameStructureProblems, surveyStructure, type SnapshotRoot, type Structure } from './check-structure.ts'
import { CheckFindings, type CheckFinding } from './findings.ts'

/**
 * `index`: the index is readable, and every pack is there and as long as the index says.
 * `structure`: also every snapshot and directory is readable, and every piece of every file is there.
 * `data`: also every byte of every pack is what it should be.
 * `packs`: the bytes of packs, and directories only when something is wrong, to name what it hits. For those
 * who read a repository a share at a time, and need not judge all directories each time.
 */
export type CheckLevel = 'index' | 'structure' | 'data' | 'packs'

const DAY_MS = 86_400_000

export interface CheckProgress {
  readonly stage: 'data' | 'structure'
  /** Bytes of packs at stage `data`, directories at stage `structure`. */
  readonly done: number
  /** How many directories there are is known only in the end. */
  readonly total: number | undefined
}

export interface CheckOptions {
  readonly level: CheckLevel
  /** When data is read, which packs may be; all by default. */
  readonly choosePack?: ((id: PackId) => boolean) | undefined
  /** When data is read, the share of packs to read, in percent and rounded up, chosen anew each time; all by default. */
  readonly samplePercent?: number | undefined
  /** When data is read, only packs that were written in the last so many days, by the storage's clock. */
  readonly writtenInDays?: number | undefined
  /** What those days are counted back from; the machine's clock by default. */
  readonly now?: (() => Date) | undefined
  /** Chooses the sample: numbers from 0 to below 1. */
  readonly random?: (() => number) | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: CheckProgress) => void) | undefined
}

export interface CheckResult {
  /** The first ten thousand. */
  readonly findings: readonly CheckFinding[]
  readonly findingsTotal: number
  /** Whether there is no error among the findings, as far as the level looks. */
  readonly whole: boolean
  readonly snapshots: number
  /** Different directories that were judged. */
  readonly trees: number
  readonly packs: number
  readonly packsRead: number
  /** Bytes of packs that were read whole. */
  readonly bytesRead: number
}

/**
 * Checks a repository; damage is a finding, never an error. Loads the index anew. Throws `cancelled`
 * and failures of the storage that say nothing about the data.
 */
export async function checkRepository(repository: Repository, options: CheckOptions): Promise<CheckResult> {
  const { level, signal } = options
  const findings = new CheckFindings()
  const roots: SnapshotRoot[] = []
  if (level !== 'index') {
    const onDamaged = (snapshotId: SnapshotId): void => findings.add('snapshot.damaged', { snapshotId })
    for (const { id, snapshot } of await repository.listSnapshots({ onDamaged, ...(signal === undefined ? {} : { signal }) })) {
      roots.push({ id, tree: snapshot.tree })
    }
  }
  const result = (parts: Partial<CheckResult> = {}): CheckResult => ({
    findings: findings.list, findingsTotal: findings.total, whole: findings.errors === 0,
    snapshots: roots.length, trees: 0, packs: 0, packsRead: 0, bytesRead: 0, ...parts,
  })
  if (!(await loadIndex(repository, findings, signal))) return result()

  if (level === 'data' || level === 'packs') repository.expectWork(repository.indexFindings().packBytes * (options.samplePercent ?? 100) / 100)
  const health = new BlobHealthRecord(repository)
  const stored = await checkPackSizes(repository, findings, health, signal)
  const packs = stored.bytes.size
  if (level === 'index') return result({ packs })

  const survey = (onProgress?: (done: number) => void, surveySignal = signal): Promise<Structure> =>
    surveyStructure(repository, roots, health, { signal: surveySignal, onProgress })
  const onTrees = (done: number): void => options.onProgress?.({ stage: 'structure', done, total: undefined })
  if (level === 'structure') {
    const structure = await survey(onTrees)
    if (!structure.isWhole) await nameStructureProblems(repository, roots, health, findings, signal)
    return result({ packs, trees: structure.trees })
  }

  const { choosePack = () => true, samplePercent = 100, random = Math.random, writtenInDays = Infinity, now = () => new Date() } = options
  const writtenSince = now().getTime() - writtenInDays * DAY_MS
  // A pack that no listing shows yet must be new.
  const isRecent = (id: PackId): boolean => (stored.modifiedAt.get(id) ?? Infinity) >= writtenSince
  const chosen = drawSample(stored.bytes.keys().filter((id) => isRecent(id) && choosePack(id)).toArray(), samplePercent, random)
  const readChosen = (readSignal = signal) => readPacks(repository, stored, findings, health, {
    choose: (id) => chosen.has(id),
    signal: readSignal,
    onProgress: (done, total) => options.onProgress?.({ stage: 'data', done, total }),
  })
  if (level === 'packs') {
    const read = await readChosen()
    const structure = findings.errors === 0 ? undefined : await survey(onTrees)
    if (structure?.isWhole === false) await nameStructureProblems(repository, roots, health, findings, signal)
    return result({ packs, trees: structure?.trees ?? 0, packsRead: read.packs, bytesRead: read.bytes })
  }

  // Threads read packs while this one goes through the directories.
  const [read, structure] = await besideEachOther(signal, readChosen, (ownSignal) => survey(undefined, ownSignal))
  onTrees(structure.trees)
  // What proved damaged while the trees were being judged was not known to be when they were.
  if (!structure.isWhole || health.hasDamage) await nameStructureProblems(repository, roots, health, findings, signal)
  return result({ packs, trees: structure.trees, packsRead: read.packs, bytesRead: read.bytes })
}

/** Does two things at once, and ends both before it throws what the first one that failed has thrown. */
async function besideEachOther<A, B>(
  signal: AbortSignal | undefined, doOne: (signal: AbortSignal) => Promise<A>, doOther: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const stop = new AbortController()
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  const orStop = async <Value>(work: Promise<Value>): Promise<Value> => {
    try {
      return await work
    } catch (error) {
      stop.abort(error)
      throw error
    }
  }
  const [one, other] = await Promise.allSettled([orStop(doOne(both)), orStop(doOther(both))])
  if (stop.signal.aborted) throw stop.signal.reason
  if (one.status === 'rejected') throw one.reason
  if (other.status === 'rejected') throw other.reason
  return [one.value, other.value]
}

/** So many percent of them, rounded up: a small share of few packs is not none. */
function drawSample(ids: readonly PackId[], percent: number, random: () => number): ReadonlySet<PackId> {
  const drawn = percent >= 100 ? ids : ids.map((id) => ({ id, rank: random() })).toSorted((a, b) => a.rank - b.rank).map(({ id }) => id)
  return new Set(drawn.slice(0, Math.ceil((ids.length * percent) / 100)))
}

async function loadIndex(repository: Repository, findings: CheckFindings, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await repository.loadIndex({ reload: true, ...(signal === undefined ? {} : { signal }) })
    return true
  } catch (error) {
    const damage = damageOf(error)
    if (damage === undefined) throw error
    findings.add('index.damaged', {}, `${damage.facts['key'] ?? ''}: ${damage.facts['reason'] ?? damage.code}`)
    return false
  }
}

export interface VerifyOptions {
  /** Whether to read every piece of every file, or only to see that the index has it and its pack is there. */
  readonly readData: boolean
  /** When data is read, the share of the pieces to read, in percent, chosen anew each time; all by default. */
  readonly samplePercent?: number | undefined
  /** Chooses the sample: numbers from 0 to below 1. */
  readonly random?: (() => number) | undefined
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes of content that were read so far, also while directories are read. */
  readonly onProgress?: ((bytesRead: number) => void) | undefined
}

export interface VerifyResult {
  /** The first ten thousand. */
  readonly findings: readonly CheckFinding[]
  readonly findingsTotal: number
  /** Whether the snapshot can be restored whole. */
  readonly whole: boolean
  /** Different directories. */
  readonly trees: number
  /** Different pieces of content. */
  readonly blobs: number
  /** Bytes of content, each piece once; 0 unless data was read. */
  readonly bytesRead: number
}

const VERIFY_BYTES_HELD_MAX = 64 * 1024 * 1024
const VERIFY_BATCH_BLOBS = 4096

/**
 * Verifies that one snapshot is whole. Loads the index anew. Throws `snapshot.not_found`, `cancelled`
 * and failures of the storage that say nothing about the data.
 */
export async function verifySnapshot(repository: Repository, snapshotId: SnapshotId, options: VerifyOptions): Promise<VerifyResult> {
  const { signal, readData, samplePercent = 100, random = Math.random } = options
  const findings = new CheckFindings()
  const seen = new Set<BlobId>()
  let trees = 0
  let bytesRead = 0
  const result = (): VerifyResult => ({
    findings: findings.list, findingsTotal: findings.total, whole: findings.errors === 0, trees, blobs: seen.size, bytesRead,
  })

  const root = await findRoot(repository, snapshotId, findings, signal)
  if (root === undefined || !(await loadIndex(repository, findings, signal))) return result()

  const health = new BlobHealthRecord(repository)
  await learnStoredPacks(repository, health, signal)
  const budget = new ByteBudget(VERIFY_BYTES_HELD_MAX)
  let batch: BlobId[] = []
  const readBatch = async (): Promise<void> => {
    const ids = batch
    batch = []
    await fetchBlobs(repository, 'data', ids, {
      onBlob(_id, plaintext) {
        bytesRead += plaintext.length
      },
      onDamage(id) {
        const location = repository.locate('data', id)
        if (location === undefined) return
        health.setDamaged('data', id)
        findings.add('blob.damaged', { packId: location.packId, blobId: id }, `${location.length} bytes at ${location.offset}`)
      },
    }, { budget, signal })
    options.onProgress?.(bytesRead)
  }
  const survey = await surveyStructure(repository, [root], health, {
    signal,
    onProgress: () => options.onProgress?.(bytesRead),
    async onContent(content) {
      for (const id of content) {
        if (seen.has(id)) continue
        seen.add(id)
        if (!readData || (samplePercent < 100 && random() * 100 >= samplePercent)) continue
        batch.push(id)
        if (batch.length >= VERIFY_BATCH_BLOBS) await readBatch()
      }
    },
  })
  await readBatch()
  trees = survey.trees
  // Content that proved damaged while the trees were being judged was not known to be when they were.
  if (!survey.isWhole || health.hasDamage) await nameStructureProblems(repository, [root], health, findings, signal)
  return result()
}

async function findRoot(
  repository: Repository, snapshotId: SnapshotId, findings: CheckFindings, signal: AbortSignal | undefined,
): Promise<SnapshotRoot | undefined> {
  try {
    const snapshot = await repository.findSnapshot(snapshotId, signal)
    if (snapshot === undefined) throw new Failure('snapshot.not_found', { snapshotId })
    return { id: snapshotId, tree: snapshot.tree }
  } catch (error) {
    if (damageOf(error) === undefined) throw error
    findings.add('snapshot.damaged', { snapshotId })
    return undefined
  }
}

/** Learns which packs are missing or too short; whether that matters, the snapshot's content decides. */
async function learnStoredPacks(repository: Repository, health: BlobHealthRecord, signal: AbortSignal | undefined): Promise<void> {
  const listed = new Map<string, number>()
  for await (const { id, size } of repository.listPacks(signal)) listed.set(id, size)
  for (const { id, size } of repository.indexedPacks()) {
    throwIfCancelled(signal)
    const bytes = listed.get(id) ?? (await repository.statPack(id, signal)) ?? 0
    if (bytes < size) health.setPackBytes(id, bytes)
  }
}
