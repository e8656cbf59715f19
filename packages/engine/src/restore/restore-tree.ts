/**
 * Restores a directory of a snapshot.
 *
 * Two passes over the trees. The survey counts, and refuses hostile trees before anything is written.
 * The walk then makes directories, links and special files at once, and gathers the content of many
 * files into a window; a full window is restored while the walk fills the next one. Within a window
 * blobs are read in the order of packs, so files fill up in any order: each is made when its first
 * blob arrives, and finished, attributes and all, with its last.
 *
 * What is made is private to the restore at first. A file gets its own attributes with its content,
 * a directory when everything in it is finished: before, its times would not last.
 *
 * What is in the way. Directories are kept, everything else that is not a directory gives way to one.
 * A regular file with no name outside the destination is compared chunk by chunk, and only what
 * differs is fetched and written, which is how an interrupted restore goes on; all others are
 * unlinked, never opened for writing. Names that the backup does not know stay.
 *
 * Nothing is ever reached but through descriptors (see confined-directories.ts), and attributes are
 * only set through descriptors of what this run made or compared.
 */
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { Failure, throwIfCancelled } from '../failure.ts'
import type { TreeNode } from '../format/tree.ts'
import { makeNode, pathIn, S_IFBLK, S_IFCHR, S_IFIFO } from '../posix/posix.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { setAttributes } from './attributes.ts'
import { ByteBudget } from './byte-budget.ts'
import { compareChunks, layOutContent, type Chunk, type ContentList } from './chunks.ts'
import { ConfinedDirectories, namesBelowBase, O_PATH, type ConfinedDirectory } from './confined-directories.ts'
import { writeIntoHole, writeOver } from './content-file.ts'
import { errorOfCall, NEW_FILE, PRIVATE_FILE, type DeliveryOutcome, type DeliveryTarget, type FileToMake } from './deliver.ts'
import { fetchBlobs, type BlobSource, type Wanted } from './fetch-blobs.ts'
import { findInSnapshot, type SnapshotReader } from './find-in-snapshot.ts'
import { assertAllowed, openResolvedDirectory, resolvePath } from './resolve-destination.ts'
import { RestoreWarnings, type RestoreWarning, type RestoreWarningCode } from './restore-warnings.ts'
import { linkKeyOf, surveyTree, type Survey } from './survey.ts'
import { asDestinationFailure, errorCodeOf, isFatalForDestination, reasonOf } from './system-errors.ts'
import { assertSafeNames, TreeSource, type LoadedTree } from './tree-source.ts'
import { isKnownZeroBlob } from './zero-blobs.ts'

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, S_IFMT } = fs.constants

const PRIVATE_DIRECTORY = 0o700

const BYTES_HELD_MAX = 48 * 1024 * 1024
const TREE_BYTES_KEPT_MAX = 8 * 1024 * 1024
const WALK_SLICE_BYTES_MAX = 256 * 1024
/** The threads idle at the end of each window, so there should be few. */
const WINDOW_BYTES_MAX = 128 * 1024 * 1024
const WINDOW_CHUNKS_MAX = 8192
const ENTRIES_BETWEEN_PAUSES = 64
/** Files of several chunks stay open until their window is done. */
const WINDOW_OPEN_FILES_MAX = 256

export interface RestoreTreeOptions {
  readonly snapshotId: SnapshotId
  /** Absolute path, in the snapshot, of the directory whose content is restored. */
  readonly sourcePath: string
  /** Absolute path of the directory that the content goes into; made when missing. */
  readonly destination: string
  /** Absolute paths; the destination must lie in one of them or be one. None allows nothing. */
  readonly allowedRoots: readonly string[]
  readonly signal?: AbortSignal | undefined
  /** Called often; the caller decides which of the calls to pass on. */
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
}

export interface RestoreProgress {
  readonly filesDone: number
  readonly filesTotal: number
  /** Content that was written, or found to be there already. */
  readonly bytesDone: number
  readonly bytesTotal: number
}

export interface RestoreTreeResult {
  /** Names of regular files that are in place. */
  readonly files: number
  /** The destination included. */
  readonly directories: number
  /** Symbolic links, fifos and devices. */
  readonly others: number
  /** Content fetched and put in place, holes included. */
  readonly bytesWritten: number
  /** Content that was there already. */
  readonly bytesUnchanged: number
  /** The first thousand. */
  readonly warnings: readonly RestoreWarning[]
  readonly warningsTotal: number
  /** Whether every file, directory and other thing is there with its exact content; attributes may be warned of. */
  readonly whole: boolean
}

/**
 * Restores a directory's content and attributes into a destination; may be run again over its own
 * unfinished or finished work. Damage in the repository costs only what is damaged, and is warned of.
 * Throws `destination.*`, `snapshot.not_found`, `snapshot.path_not_found`, `repository.damaged` for a
 * tree that no archiver writes, `cancelled`, and failures of the storage.
 */
export async function restoreTree(repository: SnapshotReader, options: RestoreTreeOptions): Promise<RestoreTreeResult> {
  const resolved = resolvePath(options.destination)
  assertAllowed(resolved, options.allowedRoots)
  const top = await findInSnapshot(repository, options.snapshotId, options.sourcePath)
  if (top.treeId === undefined) throw new Failure('snapshot.path_not_found', { path: options.sourcePath, reason: 'It is no directory.' })

  const budget = new ByteBudget(BYTES_HELD_MAX)
  const trees = new TreeSource(repository, { budget, signal: options.signal, keptBytesMax: TREE_BYTES_KEPT_MAX })
  const survey = await surveyTree(trees, top.treeId)
  try {
    const descriptor = openResolvedDirectory(resolved, { create: true })
    using directories = new ConfinedDirectories(descriptor)
    const run = new TreeRestore(repository, trees, directories, survey, budget, options)
    return await run.restore(top.treeId, top.node)
  } catch (error) {
    throw asDestinationFailure(error, options.destination)
  }
}

/** A directory that is being filled. */
interface DirectoryTask {
  readonly place: ConfinedDirectory
  readonly above: DirectoryTask | undefined
  /** Undefined for the root of a snapshot, of which no attributes are kept. */
  readonly node: TreeNode | undefined
  /** Whether this run made it: then nothing can be in the way. */
  readonly isNew: boolean
  /** What is not finished yet: its entries, and the walk itself. */
  pending: number
}

interface DirectoryEntry {
  readonly directory: DirectoryTask
  readonly node: TreeNode
}

/** A regular file that is being filled. */
interface FileTask extends DirectoryEntry {
  /** As long as its content is. */
  readonly sizeBytes: number
  /** Whether this run made it, or will: all that is not written reads as zeros. */
  isNew: boolean
  descriptor: number | undefined
  /** Other names of it that the walk has made, in directories that wait for it. */
  readonly furtherNames: DirectoryEntry[]
  /** Whether a thread makes it, from its beginning to its attributes. */
  isMade: boolean
  /** Whether any chunk of it has been put in place. */
  hasContent: boolean
  /** Set when it was removed again, because nothing of it could be read. */
  isRemoved: boolean
  /** What is not finished yet: its chunks, and the walk itself. */
  pending: number
  /** What is wrong with it; the first thing counts. */
  problem: { readonly code: RestoreWarningCode; readonly reason: string } | undefined
}

interface Target {
  readonly file: FileTask
  readonly offset: number
  readonly length: number
}

interface Window {
  readonly targets: Map<BlobId, Target[]>
  readonly files: Set<FileTask>
  chunks: number
  bytes: number
  openFiles: number
}

function emptyWindow(): Window {
  return { targets: new Map(), files: new Set(), chunks: 0, bytes: 0, openFiles: 0 }
}

function isFull(window: Window): boolean {
  return (
    window.bytes >= WINDOW_BYTES_MAX ||
    window.chunks >= WINDOW_CHUNKS_MAX ||
    window.openFiles >= WINDOW_OPEN_FILES_MAX
  )
}

interface LinkedFile {
  /** Undefined for what is no regular file. */
  readonly file: FileTask | undefined
  readonly directory: ConfinedDirectory
  readonly name: Buffer
  readonly device: bigint
  readonly inode: bigint
}

class TreeRestore {
  readonly #blobs: BlobSource
  readonly #trees: TreeSource
  readonly #directories: ConfinedDirectories
  readonly #survey: Survey
  readonly #budget: ByteBudget
  readonly #options: RestoreTreeOptions

  readonly #warnings = new RestoreWarnings()
  readonly #openFiles = new Set<FileTask>()
  /** What this run restored and is known under several names. */
  readonly #linked = new Map<string, LinkedFile>()
  #window = emptyWindow()
  /** The window that is being restored while the walk fills the next one. */
  #restoring: Promise<void> = Promise.resolve()

  #entriesSincePause = 0
  #files = 0
  #directoriesDone = 0
  #others = 0
  #bytesWritten = 0
  #bytesUnchanged = 0

  constructor(
    blobs: BlobSource, trees: TreeSource, directories: ConfinedDirectories, survey: Survey, budget: ByteBudget, options: RestoreTreeOptions,
  ) {
    this.#blobs = blobs
    this.#trees = trees
    this.#directories = directories
    this.#survey = survey
    this.#budget = budget
    this.#options = options
  }

  async restore(treeId: BlobId, node: TreeNode | undefined): Promise<RestoreTreeResult> {
    try {
      const top: DirectoryTask = { place: this.#directories.base, above: undefined, node, isNew: false, pending: 1 }
      const trees = await this.#trees.take([treeId])
      await this.#fill(top, trees.get(treeId))
      await this.#flush()
      await this.#restoring
    } finally {
      // A window that is still being restored uses descriptors.
      await this.#restoring.catch(() => undefined)
      for (const file of this.#openFiles) if (file.descriptor !== undefined) fs.closeSync(file.descriptor)
    }
    return {
      files: this.#files,
      directories: this.#directoriesDone,
      others: this.#others,
      bytesWritten: this.#bytesWritten,
      bytesUnchanged: this.#bytesUnchanged,
      warnings: this.#warnings.list,
      warningsTotal: this.#warnings.total,
      whole: this.#warnings.contentWhole,
    }
  }

  // The walk.

  async #fill(directory: DirectoryTask, tree: LoadedTree | undefined): Promise<void> {
    if (tree === undefined || 'damage' in tree) {
      this.#warnings.add(this.#show(directory.place), 'directory.damaged', tree?.damage.code)
    } else {
      const { nodes } = tree
      assertSafeNames(nodes, this.#show(directory.place))
      const subdirectories: TreeNode[] = []
      for (const node of nodes) {
        await this.#breathe()
        if (node.type === 'dir') subdirectories.push(node)
        else await this.#restoreEntry(directory, node)
      }
      await this.#fillSubdirectories(directory, subdirectories)
    }
    this.#release(directory)
  }

  async #fillSubdirectories(directory: DirectoryTask, nodes: readonly TreeNode[]): Promise<void> {
    const treeIds = new Set(nodes.flatMap(({ subtree }) => (subtree === undefined ? [] : [subtree])))
    const nodesLeft = new Set(nodes)
    // Every level of the walk holds a slice, so the slices are small.
    for (const slice of this.#trees.slices(treeIds, WALK_SLICE_BYTES_MAX)) {
      const trees = await this.#trees.take(slice)
      for (const node of nodesLeft) {
        const tree = node.subtree === undefined ? undefined : trees.get(node.subtree)
        if (tree === undefined && node.subtree !== undefined) continue
        nodesLeft.delete(node)
        await this.#restoreDirectory(directory, node, tree)
      }
    }
    for (const node of nodesLeft) await this.#restoreDirectory(directory, node, undefined)
  }

  async #restoreDirectory(above: DirectoryTask, node: TreeNode, tree: LoadedTree | undefined): Promise<void> {
    throwIfCancelled(this.#options.signal)
    let made: { place: ConfinedDirectory; isNew: boolean }
    try {
      made = this.#makeDirectory(above, node.name)
    } catch (error) {
      this.#reportLost(above, node, error)
      return
    }
    above.pending += 1
    await this.#fill({ ...made, above, node, pending: 1 }, tree)
  }

  #makeDirectory(above: DirectoryTask, name: Buffer): { place: ConfinedDirectory; isNew: boolean } {
    try {
      fs.mkdirSync(this.#directories.place(above.place, name), PRIVATE_DIRECTORY)
      return { place: this.#directories.enter(above.place, name), isNew: true }
    } catch (error) {
      if (errorCodeOf(error) !== 'EEXIST') throw error
    }
    try {
      return { place: this.#directories.enter(above.place, name), isNew: false }
    } catch (error) {
      const code = errorCodeOf(error)
      if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error
    }
    const path = this.#directories.place(above.place, name)
    fs.unlinkSync(path)
    fs.mkdirSync(path, PRIVATE_DIRECTORY)
    return { place: this.#directories.enter(above.place, name), isNew: true }
  }

  /** Gives a directory its attributes once all in it is finished, which may finish the one above. */
  #release(finished: DirectoryTask): void {
    for (let directory: DirectoryTask | undefined = finished; directory !== undefined; directory = directory.above) {
      directory.pending -= 1
      if (directory.pending > 0) return
      const { node, place } = directory
      if (node !== undefined) {
        setAttributes(this.#directories.descriptorOf(place), node, (code, reason) => this.#warnings.add(this.#show(place), code, reason))
      }
      this.#directoriesDone += 1
    }
  }

  async #restoreEntry(directory: DirectoryTask, node: TreeNode): Promise<void> {
    try {
      const linkKey = linkKeyOf(node)
      const isLinked = linkKey !== undefined && this.#survey.linkGroups.has(linkKey)
      if (isLinked && this.#linkToRestored(directory, node, linkKey)) return
      switch (node.type) {
        case 'file': await this.#restoreFile(directory, node, isLinked); return
        case 'symlink': this.#restoreSymlink(directory, node); return
        case 'fifo': this.#restoreSpecial(directory, node, S_IFIFO); return
        case 'chardev': this.#restoreSpecial(directory, node, S_IFCHR); return
        case 'dev': this.#restoreSpecial(directory, node, S_IFBLK); return
        // A socket means something only to the process that made it.
        case 'socket': return
        default: this.#warnings.add(this.#show(directory.place, node.name), 'type.unknown', node.type)
      }
    } catch (error) {
      this.#reportLost(directory, node, error)
    }
  }

  /** Most of the walk is synchronous, so it lets others run from time to time. */
  async #breathe(): Promise<void> {
    throwIfCancelled(this.#options.signal)
    this.#entriesSincePause += 1
    if (this.#entriesSincePause < ENTRIES_BETWEEN_PAUSES) return
    this.#entriesSincePause = 0
    await setImmediate()
  }

  // Links and special files.

  /** Makes a further name of what this run has restored; false when this is the first name. */
  #linkToRestored(directory: DirectoryTask, node: TreeNode, key: string): boolean {
    const first = this.#linked.get(key)
    if (first === undefined) return false
    if (first.file?.isRemoved === true) {
      this.#finishName(first.file, { directory, node })
      return true
    }
    const present = this.#look(directory, node.name)
    const isLinkedAlready = present?.ino === first.inode && present.dev === first.device
    if (!isLinkedAlready) {
      if (present !== undefined) this.#clearPlace(directory, node.name, present)
      // Looking up the second directory may close the first one's descriptor, so it is held apart.
      const held = fs.openSync(`/proc/self/fd/${this.#directories.descriptorOf(first.directory)}/.`, O_PATH)
      try {
        fs.linkSync(pathIn(held, first.name), this.#directories.place(directory.place, node.name))
      } catch (error) {
        // Another file system begins between the two, or the file has too many names already.
        const reason = reasonOf(error)
        if (reason !== 'EXDEV' && reason !== 'EMLINK' && reason !== 'EPERM') throw error
        this.#warnings.add(this.#show(directory.place, node.name), 'link.not_made', reason)
        return false
      } finally {
        fs.closeSync(held)
      }
      const made = this.#look(directory, node.name)
      if (made?.ino !== first.inode || made.dev !== first.device) {
        // Somebody exchanged the first name for another file, which must not get a name here.
        if (made !== undefined) fs.unlinkSync(this.#directories.place(directory.place, node.name))
        throw new Failure('destination.changed', { path: this.#show(directory.place, node.name) })
      }
    }
    if (first.file === undefined) {
      this.#others += 1
    } else if (first.file.pending > 0) {
      directory.pending += 1
      first.file.furtherNames.push({ directory, node })
    } else {
      this.#finishName(first.file, { directory, node })
    }
    return true
  }

  #restoreSymlink(directory: DirectoryTask, node: TreeNode): void {
    const present = this.#look(directory, node.name)
    const path = this.#directories.place(directory.place, node.name)
    const isThere = present?.isSymbolicLink() === true && present.nlink === 1n && fs.readlinkSync(path, 'buffer').equals(node.linkTarget)
    if (!isThere) {
      if (present !== undefined) this.#clearPlace(directory, node.name, present)
      fs.symlinkSync(node.linkTarget, path)
    }
    this.#finishOther(directory, node, (status) => status.isSymbolicLink())
  }

  #restoreSpecial(directory: DirectoryTask, node: TreeNode, kind: number): void {
    const present = this.#look(directory, node.name)
    const path = this.#directories.place(directory.place, node.name)
    const isRight = (status: fs.BigIntStats): boolean =>
      (Number(status.mode) & S_IFMT) === kind && (kind === S_IFIFO || status.rdev === node.device)
    if (present === undefined || present.nlink !== 1n || !isRight(present)) {
      if (present !== undefined) this.#clearPlace(directory, node.name, present)
      makeNode(path, kind | PRIVATE_FILE, kind === S_IFIFO ? 0n : node.device)
    }
    this.#finishOther(directory, node, isRight)
  }

  #finishOther(directory: DirectoryTask, node: TreeNode, isRight: (status: fs.BigIntStats) => boolean): void {
    // Opened without reading or writing: a fifo would wait, and a device would act.
    const descriptor = fs.openSync(this.#directories.place(directory.place, node.name), O_PATH | O_NOFOLLOW)
    try {
      const status = fs.fstatSync(descriptor, { bigint: true })
      // Several names would mean that somebody has put another file there just now.
      if (!isRight(status) || status.nlink !== 1n) throw new Failure('destination.changed', { path: this.#show(directory.place, node.name) })
      this.#rememberLinked({ directory, node }, undefined, status)
      setAttributes(descriptor, node, (code, reason) => this.#warnings.add(this.#show(directory.place, node.name), code, reason))
    } finally {
      fs.closeSync(descriptor)
    }
    this.#others += 1
  }

  #rememberLinked({ directory, node }: DirectoryEntry, file: FileTask | undefined, status: fs.BigIntStats): void {
    const key = linkKeyOf(node)
    if (key === undefined || !this.#survey.linkGroups.has(key) || this.#linked.has(key)) return
    this.#linked.set(key, { file, directory: directory.place, name: node.name, device: status.dev, inode: status.ino })
  }

  // Regular files.

  async #restoreFile(directory: DirectoryTask, node: TreeNode, isLinked: boolean): Promise<void> {
    const content = layOutContent(this.#blobs, node.content ?? [], Number(node.size))
    const { sizeBytes } = content
    const file: FileTask = {
      directory, node, sizeBytes, isNew: true, descriptor: undefined, furtherNames: [], isMade: false, hasContent: false, isRemoved: false, pending: 1, problem: undefined,
    }
    if (content.missing > 0) spoil(file, 'content.damaged', 'blob.missing')
    else if (node.size !== BigInt(sizeBytes)) spoil(file, 'content.size_differs', `${sizeBytes} instead of ${node.size} bytes`)

    const present = directory.isNew ? undefined : this.#look(directory, node.name)
    const presentDescriptor = present === undefined ? undefined : this.#openPresent(directory, node, present)
    if (present !== undefined && presentDescriptor === undefined) this.#clearPlace(directory, node.name, present)
    directory.pending += 1
    try {
      const isRepaired = presentDescriptor !== undefined && (await this.#repairPresent(file, presentDescriptor, content))
      if (!isRepaired) await this.#fillNew(file, content, isLinked)
    } catch (error) {
      if (isFatalForDestination(error)) throw error
      spoil(file, 'not_created', reasonOf(error))
    }
    this.#finishPart(file)
  }

  async #fillNew(file: FileTask, content: ContentList, isLinked: boolean): Promise<void> {
    // The walk may come to the further names of such a file before its first blob does.
    if (isLinked) this.#openFile(file)
    for (const chunk of content.chunks()) {
      if (isKnownZeroBlob(chunk)) this.#bytesWritten += chunk.length
      else await this.#addToWindow(file, chunk)
    }
  }

  /**
   * Opens the regular file that is there already, unless it has names outside the destination: what
   * is written into it would be written there.
   */
  #openPresent(directory: DirectoryTask, node: TreeNode, present: fs.BigIntStats): number | undefined {
    if (!present.isFile()) return undefined
    const key = linkKeyOf(node)
    const isConfined = present.nlink === 1n || (key !== undefined && this.#namesInside(key, present) === Number(present.nlink))
    if (!isConfined) return undefined
    let descriptor: number
    try {
      descriptor = fs.openSync(this.#directories.place(directory.place, node.name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    } catch (error) {
      if (errorCodeOf(error) !== 'EACCES') throw error
      return undefined
    }
    const status = fs.fstatSync(descriptor, { bigint: true })
    if (status.ino === present.ino && status.dev === present.dev && status.nlink === present.nlink) return descriptor
    fs.closeSync(descriptor)
    throw new Failure('destination.changed', { path: this.#show(directory.place, node.name) })
  }

  /** How many of the names that the backup gives to one file are names of this one. */
  #namesInside(key: string, present: fs.BigIntStats): number {
    const names = this.#survey.linkGroups.get(key) ?? []
    return names.filter((path) => {
      const status = this.#lookAlong(path)
      return status?.ino === present.ino && status.dev === present.dev
    }).length
  }

  #lookAlong(path: readonly Buffer[]): fs.BigIntStats | undefined {
    const name = path.at(-1)
    if (name === undefined) return undefined
    let directory = this.#directories.base
    try {
      for (const part of path.slice(0, -1)) directory = this.#directories.enter(directory, part)
      return lstat(this.#directories.place(directory, name))
    } catch (error) {
      // There is no such directory yet.
      reasonOf(error)
      return undefined
    }
  }

  /**
   * Compares the present file with its chunks and adds what it lacks to the window. False when it
   * cannot be opened for writing, as a running program, and a new file must take its place.
   */
  async #repairPresent(file: FileTask, present: number, content: ContentList): Promise<boolean> {
    file.isNew = false
    let isKept = false
    let bytesUnchanged = 0
    try {
      const status = fs.fstatSync(present, { bigint: true })
      if (status.size !== BigInt(file.sizeBytes) && !this.#openForRepair(file, present)) return false
      const compared = compareChunks(present, file.sizeBytes, content.chunks(), this.#options.signal)
      for await (const { chunk, isThere } of compared) {
        if (isThere) {
          bytesUnchanged += chunk.length
          continue
        }
        if (file.descriptor === undefined && !this.#openForRepair(file, present)) return false
        await this.#addToWindow(file, chunk)
      }
      this.#rememberLinked(file, file, status)
      this.#bytesUnchanged += bytesUnchanged
      if (file.descriptor === undefined) {
        isKept = true
        this.#setDescriptor(file, present)
      }
      return true
    } finally {
      if (!isKept) fs.closeSync(present)
    }
  }

  /** False when the file may not be written; it is unlinked then. */
  #openForRepair(file: FileTask, present: number): boolean {
    try {
      // Through the descriptor, so that it is the file that was compared, whatever its name means now.
      const descriptor = fs.openSync(`/proc/self/fd/${present}`, O_RDWR)
      this.#setDescriptor(file, descriptor)
    } catch (error) {
      const reason = reasonOf(error)
      if (reason !== 'EACCES' && reason !== 'EPERM' && reason !== 'ETXTBSY') throw error
      fs.unlinkSync(this.#directories.place(file.directory.place, file.node.name))
      file.isNew = true
      return false
    }
    // Whoever could read or run the old content must not get the new one.
    fs.fchmodSync(this.#openFile(file), PRIVATE_FILE)
    fs.ftruncateSync(this.#openFile(file), file.sizeBytes)
    return true
  }

  async #addToWindow(file: FileTask, chunk: Chunk): Promise<void> {
    const window = this.#window
    const targets = window.targets.get(chunk.blobId)
    const target = { file, offset: chunk.offset, length: chunk.length }
    if (targets === undefined) window.targets.set(chunk.blobId, [target])
    else targets.push(target)
    window.chunks += 1
    window.bytes += chunk.length
    if (!window.files.has(file)) {
      window.files.add(file)
      if (file.descriptor !== undefined || (file.node.content?.length ?? 0) > 1) window.openFiles += 1
    }
    file.pending += 1
    if (isFull(window)) await this.#flush()
  }

  /** Waits for the last window, and begins to restore the one that the walk has filled. */
  async #flush(): Promise<void> {
    const window = this.#window
    this.#window = emptyWindow()
    await this.#restoring
    throwIfCancelled(this.#options.signal)
    this.#restoring = this.#restoreWindow(window)
    // Whoever waits for it next gets the error; until then it must not count as unhandled.
    this.#restoring.catch(() => undefined)
  }

  async #restoreWindow(window: Window): Promise<void> {
    const receiver = {
      wants: (id: BlobId): Wanted | undefined => this.#wish(window.targets.get(id) ?? []),
      onDelivered: async (id: BlobId, outcomes: readonly DeliveryOutcome[]): Promise<void> => {
        for (const [i, target] of (window.targets.get(id) ?? []).entries()) {
          // Somebody has put something in the way just now; it is removed when the chunk is written here.
          if (outcomes[i]?.failed?.code === 'EEXIST') await this.#writeChunk(target.file, await this.#blobs.loadBlob('data', id), target.offset)
          else this.#noteDelivery(target, outcomes[i])
        }
      },
      onBlob: async (id: BlobId, plaintext: Uint8Array): Promise<void> => {
        for (const { file, offset } of window.targets.get(id) ?? []) await this.#writeChunk(file, plaintext, offset)
      },
      onDamage: (id: BlobId, damage: Failure): void => {
        for (const { file } of window.targets.get(id) ?? []) {
          spoil(file, 'content.damaged', damage.code)
          this.#finishPart(file)
        }
      },
    }
    await fetchBlobs(this.#blobs, 'data', window.targets.keys(), receiver, { budget: this.#budget, signal: this.#options.signal })
  }

  /** Where threads shall put a chunk; undefined when it has to come here, since one of its places is not a new file. */
  #wish(targets: readonly Target[]): Wanted | undefined {
    if (targets.some(({ file }) => !file.isNew || isAbandoned(file))) return undefined
    const releases: (() => void)[] = []
    const release = () => {
      for (const each of releases) each()
    }
    const wanted: DeliveryTarget[] = []
    for (const { file, offset, length } of targets) {
      try {
        wanted.push(this.#asFileToMake(file, length, releases) ?? { descriptor: this.#openFile(file), offset })
      } catch (error) {
        release()
        if (isFatalForDestination(error)) throw error
        // It fails again when the chunk comes, and is told then.
        return undefined
      }
    }
    return { targets: wanted, release }
  }

  /** A file that a thread can make alone; undefined for one that has several chunks, several names or is open. */
  #asFileToMake(file: FileTask, length: number, releases: (() => void)[]): FileToMake | undefined {
    const { node, directory, descriptor } = file
    if (descriptor !== undefined || length !== file.sizeBytes || node.links > 1n) return undefined
    const held = this.#directories.hold(directory.place)
    if (held === undefined) return undefined
    releases.push(() => held.release())
    const { mode, uid, gid, mtime, atime, extendedAttributes } = node
    // A name is a part of its directory's bytes, all of which would go along with it.
    return {
      directory: held.descriptor, name: node.name.toString('latin1'), attributes: { mode, uid, gid, mtime, atime, extendedAttributes },
      isHidden: directory.isNew,
    }
  }

  #noteDelivery(target: Target, outcome: DeliveryOutcome | undefined): void {
    const { file } = target
    if (outcome === undefined) throw new Error('A delivery was not answered.')
    const { failed, isMade, reports } = outcome
    for (const [code, reason] of reports) this.#warn(file.directory, file.node, code, reason)
    file.isMade = isMade
    if (failed === undefined) {
      file.hasContent = true
      this.#bytesWritten += target.length
    } else {
      const error = errorOfCall(failed)
      if (isFatalForDestination(error)) throw error
      spoil(file, file.descriptor === undefined && !isMade ? 'not_created' : 'not_written', failed.code)
    }
    this.#finishPart(file)
  }

  async #writeChunk(file: FileTask, plaintext: Uint8Array, offset: number): Promise<void> {
    if (!isAbandoned(file)) {
      try {
        const descriptor = this.#openFile(file)
        if (file.isNew) await writeIntoHole(descriptor, plaintext, offset)
        else await writeOver(descriptor, plaintext, offset)
        file.hasContent = true
        this.#bytesWritten += plaintext.length
      } catch (error) {
        if (isFatalForDestination(error)) throw error
        spoil(file, file.descriptor === undefined ? 'not_created' : 'not_written', reasonOf(error))
      }
    }
    this.#finishPart(file)
  }

  /** The file's descriptor; a file that is not there yet is made, and is private until it is finished. */
  #openFile(file: FileTask): number {
    if (file.descriptor !== undefined) return file.descriptor
    const { directory, node } = file
    let descriptor: number
    try {
      descriptor = fs.openSync(this.#directories.place(directory.place, node.name), NEW_FILE, PRIVATE_FILE)
    } catch (error) {
      const present = errorCodeOf(error) === 'EEXIST' ? this.#look(directory, node.name) : undefined
      if (present === undefined) throw error
      // Somebody has put it there just now.
      this.#clearPlace(directory, node.name, present)
      descriptor = fs.openSync(this.#directories.place(directory.place, node.name), NEW_FILE, PRIVATE_FILE)
    }
    this.#setDescriptor(file, descriptor)
    if (node.links > 1n) this.#rememberLinked(file, file, fs.fstatSync(descriptor, { bigint: true }))
    return descriptor
  }

  #setDescriptor(file: FileTask, descriptor: number): void {
    file.descriptor = descriptor
    this.#openFiles.add(file)
  }

  /** Counts one part of the file as done; after the last one the file gets its attributes and is closed. */
  #finishPart(file: FileTask): void {
    file.pending -= 1
    if (file.pending > 0) return
    // A file of which nothing could be read is not made: an empty one would look like a real one.
    const isLost = file.isNew && !file.hasContent && file.problem?.code === 'content.damaged'
    try {
      if (!isLost && !isAbandoned(file) && !file.isMade) {
        const descriptor = this.#openFile(file)
        // Zeros at the end of a new file were not written.
        if (file.isNew && fs.fstatSync(descriptor).size < file.sizeBytes) fs.ftruncateSync(descriptor, file.sizeBytes)
        setAttributes(descriptor, file.node, (code, reason) => this.#warn(file.directory, file.node, code, reason))
      }
    } catch (error) {
      if (isFatalForDestination(error)) throw error
      spoil(file, 'not_created', reasonOf(error))
    }
    const names = [file, ...file.furtherNames]
    if (isLost && file.descriptor !== undefined) {
      this.#removeNames(names, fs.fstatSync(file.descriptor, { bigint: true }))
      file.isRemoved = true
    }
    if (file.descriptor !== undefined) fs.closeSync(file.descriptor)
    this.#openFiles.delete(file)
    for (const name of names) {
      this.#finishName(file, name)
      this.#release(name.directory)
    }
  }

  #finishName({ problem }: FileTask, { directory, node }: DirectoryEntry): void {
    if (problem === undefined) this.#files += 1
    else this.#warn(directory, node, problem.code, problem.reason)
    this.#reportProgress()
  }

  /** Removes the names that a file has got although nothing of it could be read. */
  #removeNames(names: readonly DirectoryEntry[], status: fs.BigIntStats): void {
    for (const { directory, node } of names) {
      const present = this.#look(directory, node.name)
      if (present?.ino === status.ino && present.dev === status.dev) this.#clearPlace(directory, node.name, present)
    }
  }

  // What all of them need.

  #look(directory: DirectoryTask, name: Buffer): fs.BigIntStats | undefined {
    return lstat(this.#directories.place(directory.place, name))
  }

  /** Removes what stands in the way of something that is no directory; a directory only when it is empty. */
  #clearPlace(directory: DirectoryTask, name: Buffer, present: fs.BigIntStats): void {
    const path = this.#directories.place(directory.place, name)
    if (present.isDirectory()) fs.rmdirSync(path)
    else fs.unlinkSync(path)
  }

  /** Warns of an entry that a failed system call has cost. Rethrows everything that ends the whole restore. */
  #reportLost(directory: DirectoryTask, node: TreeNode, error: unknown): void {
    if (isFatalForDestination(error)) throw error
    const reason = reasonOf(error)
    this.#warn(directory, node, reason === 'ENOTEMPTY' || reason === 'EBUSY' ? 'name.occupied' : 'not_created', reason)
  }

  #warn(directory: DirectoryTask, node: TreeNode, code: RestoreWarningCode, reason: string): void {
    this.#warnings.add(this.#show(directory.place, node.name), code, reason)
  }

  /** A path for messages, relative to the destination. */
  #show(directory: ConfinedDirectory, name?: Buffer): string {
    const names = namesBelowBase(directory)
    if (name !== undefined) names.push(name)
    return names.length === 0 ? '.' : names.map(String).join('/')
  }

  #reportProgress(): void {
    this.#options.onProgress?.({
      filesDone: this.#files,
      filesTotal: this.#survey.files,
      bytesDone: this.#bytesWritten + this.#bytesUnchanged,
      bytesTotal: this.#survey.bytes,
    })
  }
}

function spoil(file: FileTask, code: RestoreWarningCode, reason: string): void {
  file.problem ??= { code, reason }
  // That it cannot be had at all says more than that a part of it is damaged.
  if (code === 'not_created' || code === 'not_written') file.problem = { code, reason }
}

function isAbandoned({ problem }: FileTask): boolean {
  return problem?.code === 'not_created' || problem?.code === 'not_written'
}

function lstat(path: Buffer): fs.BigIntStats | undefined {
  return fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
}
