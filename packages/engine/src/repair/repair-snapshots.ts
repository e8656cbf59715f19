/**
 * Makes snapshots anew that have lost something, without what is lost: files of which any piece is
 * missing or damaged, and directories whose list of entries is. The new snapshot has the tag
 * `opencbr:repaired` and names the one that it stands for; the damaged one stays, unless its removal is
 * asked for. A snapshot of which nothing is left is only told of.
 */
import assert from 'node:assert/strict'
import { BlobHealthRecord } from '../check/blob-health.ts'
import { checkPackSizes } from '../check/check-packs.ts'
import { CheckFindings } from '../check/findings.ts'
import { idOf } from '../crypto/ids.ts'
import { throwIfCancelled } from '../failure.ts'
import { decodeTree, encodeTree, type TreeNode } from '../format/tree.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository, StoredSnapshot } from '../repository/repository.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { damageOf } from '../restore/damage.ts'

export interface DamagedSnapshot extends StoredSnapshot {
  /** Absolute paths of what is lost, for people: the first thousand. */
  readonly lostPaths: readonly string[]
  readonly lostCount: number
  /** The tree without what is lost; undefined when nothing is left. */
  readonly tree: BlobId | undefined
}

/** What repairing snapshots would do, as data to be shown; `runSnapshotRepair` carries it out. */
export interface SnapshotRepairPlan {
  readonly repositoryId: string
  /** Only those that have lost something. */
  readonly damaged: readonly DamagedSnapshot[]
}

export interface RepairedSnapshot {
  readonly id: SnapshotId
  /** The new one; undefined when nothing was left. */
  readonly repairedId: SnapshotId | undefined
}

/** The tag of snapshots that were made anew without what was lost. */
export const REPAIRED_TAG = 'opencbr:repaired'

const LOST_PATHS_MAX = 1000

interface RepairedTree {
  readonly id: BlobId | undefined
  /** Relative to the directory; the empty one is the directory itself. */
  readonly lostPaths: readonly string[]
  readonly lostCount: number
}

/** Throws `repository.damaged` when the index must be made anew first. */
export async function planSnapshotRepair(
  repository: Repository, snapshots: readonly StoredSnapshot[], signal?: AbortSignal,
): Promise<SnapshotRepairPlan> {
  await repository.loadIndex({ reload: true, ...(signal === undefined ? {} : { signal }) })
  const repair = new TreeRepair(repository, await learnHealth(repository, signal), async (tree) => idOf<BlobId>(tree), signal)
  const damaged: DamagedSnapshot[] = []
  for (const stored of snapshots) {
    const { id: tree, lostPaths, lostCount } = await repair.repair(stored.snapshot.tree)
    if (lostCount > 0) damaged.push({ ...stored, tree, lostCount, lostPaths: lostPaths.map((path) => (path === '' ? '/' : path)) })
  }
  return { repositoryId: repository.id, damaged }
}

/** Carries out a plan. With `forget` the damaged snapshots are removed, for which the lock must be exclusive. */
export async function runSnapshotRepair(
  repository: Repository, lock: RepositoryLock, plan: SnapshotRepairPlan, options: { forget?: boolean; signal?: AbortSignal | undefined } = {},
): Promise<RepairedSnapshot[]> {
  assert(plan.repositoryId === repository.id, 'the plan is about another repository')
  const { signal, forget = false } = options
  const repair = new TreeRepair(repository, await learnHealth(repository, signal), async (tree) => (await repository.saveBlob('tree', tree)).id, signal)
  const repaired: RepairedSnapshot[] = []
  const earlier = (await repository.listSnapshots({ tags: [REPAIRED_TAG], signal }))
    .map(({ id, snapshot }): [string, SnapshotId] => [`${snapshot.original} ${snapshot.tree}`, id])
  const known = new Map(earlier)
  for (const { id, snapshot } of plan.damaged) {
    const tree = (await repair.repair(snapshot.tree)).id
    if (tree === undefined) {
      repaired.push({ id, repairedId: undefined })
      continue
    }
    const original = snapshot.original ?? id
    // The counts of the run that made the snapshot are those of another tree.
    const { summary: _summary, tags = [], ...rest } = snapshot
    const repairedTags = tags.includes(REPAIRED_TAG) ? tags : [...tags, REPAIRED_TAG]
    // An earlier repair that left the damaged one there need not be repeated.
    const repairedId = known.get(`${original} ${tree}`)
      ?? await repository.saveSnapshot({ ...rest, tree, tags: repairedTags, original }, lock, signal)
    if (forget) await repository.forgetSnapshots([id], lock, signal)
    repaired.push({ id, repairedId })
  }
  return repaired
}

/** Which packs are there, and how far they go. */
async function learnHealth(repository: Repository, signal: AbortSignal | undefined): Promise<BlobHealthRecord> {
  const health = new BlobHealthRecord(repository)
  await checkPackSizes(repository, new CheckFindings(), health, signal)
  return health
}

class TreeRepair {
  readonly #repository: Repository
  readonly #health: BlobHealthRecord
  readonly #save: (tree: Uint8Array) => Promise<BlobId>
  readonly #signal: AbortSignal | undefined
  /** Snapshots share most of their trees. */
  readonly #done = new Map<BlobId, RepairedTree>()

  constructor(repository: Repository, health: BlobHealthRecord, save: (tree: Uint8Array) => Promise<BlobId>, signal: AbortSignal | undefined) {
    this.#repository = repository
    this.#health = health
    this.#save = save
    this.#signal = signal
  }

  async repair(id: BlobId): Promise<RepairedTree> {
    const known = this.#done.get(id)
    if (known !== undefined) return known
    const repaired = await this.#repair(id)
    this.#done.set(id, repaired)
    return repaired
  }

  async #repair(id: BlobId): Promise<RepairedTree> {
    throwIfCancelled(this.#signal)
    const nodes = await this.#load(id)
    if (nodes === undefined) return { id: undefined, lostPaths: [''], lostCount: 1 }
    const kept: TreeNode[] = []
    const lostPaths: string[] = []
    let lostCount = 0
    for (const node of nodes) {
      const path = `/${node.name.toString()}`
      const below = node.type === 'dir' && node.subtree !== undefined ? await this.repair(node.subtree) : undefined
      if (below !== undefined && below.lostCount > 0) {
        lostCount += below.lostCount
        for (const lost of below.lostPaths) if (lostPaths.length < LOST_PATHS_MAX) lostPaths.push(path + lost)
      }
      if (this.#isLost(node) || (below !== undefined && below.id === undefined)) {
        if (below === undefined) {
          lostCount += 1
          if (lostPaths.length < LOST_PATHS_MAX) lostPaths.push(path)
        }
      } else kept.push(below === undefined ? node : { ...node, subtree: below.id })
    }
    // A tree that has lost nothing stays as it is, to the byte.
    return { id: lostCount === 0 ? id : await this.#save(encodeTree(kept)), lostPaths, lostCount }
  }

  async #load(id: BlobId): Promise<TreeNode[] | undefined> {
    try {
      return decodeTree(await this.#repository.loadBlob('tree', id))
    } catch (error) {
      if (damageOf(error) === undefined) throw error
      return undefined
    }
  }

  #isLost(node: TreeNode): boolean {
    if (node.type === 'dir') return node.subtree === undefined
    if (node.type !== 'file') return false
    return node.content === null ? node.size > 0n : node.content.some((blob) => this.#health.healthOf('data', blob) !== 'good')
  }
}
