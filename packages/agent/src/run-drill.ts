/**
 * A restore for practice: a backup is restored into a scratch directory, what arrived there is read back from the
 * disk and compared with the repository's own content, and then it is removed. Shows what no check of the
 * repository alone can: that the whole way back works.
 */
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import {
  Failure, findInSnapshot, listTree, openContent, restoreImage, restoreTree, type Repository, type SnapshotId, type TreeNode,
} from '@opencbr/engine'
import { FINDINGS_MAX, type VerifyFinding, type VerifyOutcome, type VerifyScope } from './protocol.ts'

/** Nothing else on the disk is brought into trouble by a drill. */
const SPARE_SHARE = 0.05
const LEFTOVER_AGE_MS = 24 * 3600 * 1000

interface Drill {
  readonly scope: Extract<VerifyScope, { kind: 'backup' }>
  readonly snapshotId: SnapshotId
  /** A directory of this job's own. */
  readonly scratch: string
  readonly signal: AbortSignal
  readonly onProgress: (percent: number) => void
}

export async function runDrill(repository: Repository, drill: Drill): Promise<VerifyOutcome> {
  const { scratch } = drill
  await removeLeftovers(join(scratch, '..'))
  await remove(scratch)
  await fs.mkdir(scratch, { recursive: true, mode: 0o700 })
  try {
    await assertRoom(drill)
    await repository.loadIndex({ signal: drill.signal })
    return await (drill.scope.isDisk ? drillDisk(repository, drill) : drillTree(repository, drill))
  } finally {
    await remove(scratch)
  }
}

/** Restored directories may forbid even their owner to change them. */
async function remove(path: string): Promise<void> {
  try {
    await fs.rm(path, { recursive: true, force: true })
  } catch (error) {
    if (!isForbidden(error)) throw error
    await openUp(Buffer.from(path))
    await fs.rm(path, { recursive: true, force: true })
  }
}

async function openUp(directory: Buffer): Promise<void> {
  await fs.chmod(directory, 0o700)
  for (const entry of await fs.readdir(directory, { withFileTypes: true, encoding: 'buffer' })) {
    if (entry.isDirectory()) await openUp(Buffer.concat([directory, Buffer.from('/'), entry.name]))
  }
}

function isForbidden(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM')
}

/** Of drills whose agent was killed, and which did not run again. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await fs.readdir(parent).catch(() => [])) {
    const path = join(parent, name)
    const found = await fs.stat(path).catch(() => undefined)
    if (found !== undefined && found.mtimeMs < Date.now() - LEFTOVER_AGE_MS) await remove(path)
  }
}

async function assertRoom({ scratch, scope }: Drill): Promise<void> {
  const { bavail, blocks, bsize } = await fs.statfs(scratch)
  const available = bavail * bsize - blocks * bsize * SPARE_SHARE
  if (available < scope.contentBytes) {
    throw new Failure('destination.full', { path: scratch, needed: scope.contentBytes, available: Math.max(0, Math.floor(available)) })
  }
}

async function drillTree(repository: Repository, { scope, snapshotId, scratch, signal, onProgress }: Drill): Promise<VerifyOutcome> {
  const findings = new Findings(snapshotId)
  const destination = join(scratch, 'restored')
  const restored = await restoreTree(repository, {
    snapshotId, sourcePath: scope.sourcePath, destination, allowedRoots: [scratch], signal, onProgress: halfOf(onProgress),
  })
  if (!restored.whole) {
    for (const { path, message } of restored.warnings) findings.add({ severity: 'error', code: 'drill.not_restored', message, path })
  }
  const depth = scope.sourcePath.split('/').filter((name) => name !== '').length
  let bytesRead = 0
  for await (const { path, node } of listTree(repository, snapshotId, scope.sourcePath, { signal })) {
    // The source itself: what is in it lies in the destination.
    const below = namesOf(path).slice(depth)
    if (below.length === 0 || node.type !== 'file') continue
    const place = Buffer.concat([Buffer.from(destination), ...below.flatMap((name) => [Buffer.from('/'), name])])
    const difference = await compare(repository, node, place, signal)
    if (difference !== undefined) findings.add({ severity: 'error', code: 'drill.differs', message: difference, path: path.toString() })
    bytesRead += Number(node.size)
    if (scope.contentBytes > 0) onProgress(50 + (bytesRead / scope.contentBytes) * 50)
  }
  return findings.outcome(bytesRead)
}

function namesOf(path: Buffer): Buffer[] {
  return path.toString('latin1').split('/').filter((name) => name !== '').map((name) => Buffer.from(name, 'latin1'))
}

async function drillDisk(repository: Repository, { scope, snapshotId, scratch, signal, onProgress }: Drill): Promise<VerifyOutcome> {
  const findings = new Findings(snapshotId)
  const found = await findInSnapshot(repository, snapshotId, scope.sourcePath)
  const content = await openContent(repository, found)
  if (content === undefined) throw new Failure('snapshot.path_not_found', { snapshotId, path: scope.sourcePath })
  const targetPath = join(scratch, 'disk')
  await fs.writeFile(targetPath, '', { mode: 0o600 })
  await fs.truncate(targetPath, content.sizeBytes)
  const restored = await restoreImage(repository, {
    snapshotId, sourcePath: scope.sourcePath, targetPath, allowedRoots: [scratch], signal, onProgress: halfOf(onProgress),
  })
  if (!restored.whole) {
    for (const { message } of restored.warnings) findings.add({ severity: 'error', code: 'drill.not_restored', message, path: scope.sourcePath })
  }
  const difference = await comparePieces(content.read(0, content.sizeBytes, signal), content.sizeBytes, Buffer.from(targetPath), (bytes) =>
    onProgress(50 + (bytes / Math.max(1, content.sizeBytes)) * 50))
  if (difference !== undefined) findings.add({ severity: 'error', code: 'drill.differs', message: difference, path: scope.sourcePath })
  return findings.outcome(content.sizeBytes)
}

function halfOf(onProgress: (percent: number) => void) {
  return ({ bytesDone, bytesTotal }: { bytesDone: number, bytesTotal: number }): void =>
    onProgress(bytesTotal > 0 ? (bytesDone / bytesTotal) * 50 : 0)
}

/** What is wrong with a restored file; undefined when nothing is. */
async function compare(repository: Repository, node: TreeNode, place: Buffer, signal: AbortSignal): Promise<string | undefined> {
  try {
    const content = await openContent(repository, { node, treeId: undefined })
    if (content === undefined) return undefined
    return await comparePieces(content.read(0, content.sizeBytes, signal), content.sizeBytes, place)
  } catch (error) {
    if (error instanceof Failure && (error.code === 'blob.missing' || error.code === 'blob.damaged')) return error.message
    throw error
  }
}

/** Whose files they were may not be restored, and then their modes say nothing about us. */
async function openForReading(place: Buffer): Promise<fs.FileHandle> {
  try {
    return await fs.open(place, 'r')
  } catch (error) {
    if (!isForbidden(error)) throw error
    await fs.chmod(place, 0o600)
    return fs.open(place, 'r')
  }
}

async function comparePieces(
  pieces: AsyncIterable<Uint8Array>, size: number, place: Buffer, onProgress?: (bytes: number) => void,
): Promise<string | undefined> {
  let handle: fs.FileHandle
  try {
    handle = await openForReading(place)
  } catch (error) {
    return `It was not restored: ${error instanceof Error ? error.message : String(error)}`
  }
  try {
    const { size: restored } = await handle.stat()
    if (restored !== size) return `It has ${restored} bytes instead of ${size}.`
    let at = 0
    for await (const piece of pieces) {
      const bytes = Buffer.alloc(piece.length)
      await handle.read(bytes, 0, piece.length, at)
      if (!bytes.equals(piece)) return `It differs in the ${piece.length} bytes at ${at}.`
      at += piece.length
      onProgress?.(at)
    }
    return undefined
  } finally {
    await handle.close()
  }
}

class Findings {
  readonly #list: VerifyFinding[] = []
  readonly #snapshotId: string
  #count = 0

  constructor(snapshotId: string) {
    this.#snapshotId = snapshotId
  }

  add(finding: VerifyFinding): void {
    this.#count += 1
    if (this.#list.length < FINDINGS_MAX) this.#list.push({ ...finding, snapshotId: this.#snapshotId })
  }

  outcome(bytesRead: number): VerifyOutcome {
    return {
      kind: 'verify', whole: this.#count === 0, findings: this.#list, findingsCount: this.#count,
      snapshots: 1, packs: 0, packsRead: 0, bytesRead,
    }
  }
}
