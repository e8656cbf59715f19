/**
 * Archives a directory tree. One walk goes through the directories in the order of their names; what it
 * reads is hashed, compressed and stored by others meanwhile, and a directory's tree is written once all
 * of its content is stored, while the walk is elsewhere already.
 *
 * Every directory is held open while the walk is below it, and every name is used through it, so
 * whoever exchanges directories for symbolic links cannot lead the walk out of the source.
 */
import * as fs from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { Failure } from '../failure.ts'
import { isSameNode, type NodeType, type TreeNode } from '../format/tree.ts'
import { isSameTime } from '../format/tree-values.ts'
import { fetchAhead, findOpenStatus, findStatus, listDirectory, pathIn, type DirectoryNames, type FileReference, type FileStatus } from '../posix/posix.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId } from '../repository/types.ts'
import { describe, describeFile, isDescribedBy, kindOf, readAttributes, textOfFile } from '../source/describe.ts'
import { findSource, hasChanged, hasChangedSince, openSource, openSourceDirectory, type OpenSource } from '../source/open-source.ts'
import { readNow } from '../source/read-source.ts'
import { asSourceFailure, fileCodeOf } from '../source/source-errors.ts'
import { findPreviousPath, namesOnPath, saveAncestors, saveTree } from './ancestors.ts'
import type { ArchiveOptions, ArchiveResult } from './archive-result.ts'
import { CACHE_TAG_NAME, Exclusion, isCacheTag } from './exclusion.ts'
import { isStored, loadPreviousTree, type PreviousTree } from './previous-tree.ts'
import { compareDirectory, runArchive, type ArchiveRun } from './run.ts'
import { saveFile, ZeroChunks, type FileContent } from './save-file.ts'
import { isShort, ShortFiles } from './short-files.ts'

export interface ArchiveTreeOptions extends ArchiveOptions {
  /**
   * Lines of a `.gitignore` in the archived directory: a slash at the beginning or inside ties a pattern to
   * that directory, one at the end to directories, `!` takes back. They are kept in the snapshot. Patterns are
   * trusted: a hostile one can keep the run busy for ever.
   */
  readonly excludes?: readonly string[] | undefined
  /** Leaves out the content of directories with a `CACHEDIR.TAG` that has the right signature, but not the tag. */
  readonly excludeCaches?: boolean | undefined
  /** Leaves out what other file systems hold that are mounted inside; their mount points stay as empty directories. */
  readonly oneFileSystem?: boolean | undefined
}

/**
 * Backs up a directory with everything below it. Throws `source.missing`, `source.wrong_kind` or
 * `source.unreadable` when the directory itself cannot be opened; whatever goes wrong with single files
 * is a warning in the result.
 */
export function archiveTree(repository: Repository, lock: RepositoryLock, options: ArchiveTreeOptions): Promise<ArchiveResult> {
  if (!isAbsolute(options.path)) throw new Failure('source.wrong_kind', { path: options.path, reason: 'the path is not absolute' })
  const path = resolve(options.path)
  return runArchive(repository, lock, { ...options, path }, async (run) => {
    run.bytesTotal = run.parent?.snapshot.summary?.total_bytes_processed
    const names = namesOnPath(path)
    const previous = await findPreviousPath(run, names)
    const node = await archiveDirectory(run, { ...options, path }, previous.node)
    const treeId = names.length === 0 ? subtreeOf(node) : await saveAncestors(run, names, node, previous)
    return run.commit(treeId, options.excludes)
  })
}

/** Archives one directory inside a run; throws when the directory itself cannot be opened. */
export async function archiveDirectory(
  run: ArchiveRun, options: Pick<ArchiveTreeOptions, 'path' | 'excludes' | 'excludeCaches' | 'oneFileSystem'>, previous: TreeNode | undefined,
): Promise<TreeNode> {
  using root = openRoot(options.path)
  using walk = new TreeWalk(run, {
    device: options.oneFileSystem === true ? root.stat.dev : undefined,
    exclusion: await Exclusion.parse(options.excludes ?? []),
    excludesCaches: options.excludeCaches === true,
  })
  return await walk.archiveRoot(root, Buffer.from(options.path), previous)
}

function openRoot(path: string): OpenSource {
  try {
    return openSourceDirectory(path)
  } catch (error) {
    throw asSourceFailure(error, path)
  }
}

function subtreeOf(node: TreeNode): BlobId {
  if (node.subtree === undefined) throw new Error('A directory was archived without a tree.')
  return node.subtree
}

/** A directory while the walk is in it. */
interface Directory {
  readonly descriptor: number
  readonly path: Buffer
  /** The path below the archived directory, with a slash at its end, or nothing; for patterns. */
  readonly pathBelow: string
  readonly previous: PreviousTree | undefined
  /** In the order of the names; a number is the place of a node that the parent has; undefined is what turned out to be left out. */
  readonly nodes: (TreeNode | number | undefined | Promise<TreeNode | undefined>)[]
}

/** One name in a directory. */
interface Entry {
  readonly directory: Directory
  readonly name: Buffer
  /** The same, each byte a character. */
  readonly latin1Name: string
  /** Its path through the directory's descriptor. */
  readonly place: Buffer
  readonly previous: TreeNode | undefined
}

const SLASH = 0x2f

/** How often an entry is looked at again that becomes another kind of file in between. */
const TRIES_MAX = 3

/** Files that are open while earlier ones are read, so that the disk can fetch them all at once. */
const FILES_AHEAD_MAX = 32
const FETCHED_AHEAD_BYTES_MAX = 512 * 1024

/** A file that is open and will be read in its turn. */
interface FileAhead {
  readonly entry: Entry
  readonly source: OpenSource
  /** Of a short file with one name. */
  readonly short: FileStatus | undefined
  readonly complete: (node: TreeNode | undefined | Promise<TreeNode>) => void
}

interface Scope {
  /** The only file system to enter; undefined for all. */
  readonly device: bigint | undefined
  readonly exclusion: Exclusion | undefined
  readonly excludesCaches: boolean
}

class TreeWalk implements Disposable {
  readonly #run: ArchiveRun
  readonly #scope: Scope
  readonly #zeroChunks: ZeroChunks
  readonly #shortFiles: ShortFiles
  /** The content of files with several names, by device and inode. */
  readonly #linked = new Map<string, Promise<FileContent>>()
  /** In the order of the walk, across directories. */
  readonly #ahead: FileAhead[] = []

  constructor(run: ArchiveRun, scope: Scope) {
    this.#run = run
    this.#scope = scope
    this.#zeroChunks = new ZeroChunks(run)
    this.#shortFiles = new ShortFiles(run.sink)
  }

  [Symbol.dispose](): void {
    this.#shortFiles[Symbol.dispose]()
    for (const { source } of this.#ahead) source[Symbol.dispose]()
  }

  async archiveRoot(root: OpenSource, path: Buffer, previous: TreeNode | undefined): Promise<TreeNode> {
    const name = Buffer.from(path.subarray(path.lastIndexOf('/') + 1))
    const { node } = await this.#archiveDirectory(root, name, { path, pathBelow: '' }, previous, () => loadPreviousTree(this.#run.trees, previous))
    while (this.#ahead.length > 0) await this.#readNext()
    this.#shortFiles.flush()
    return node
  }

  /** Walks through a directory; what is returned is settled once all below it is stored. */
  async #archiveDirectory(
    source: OpenSource, name: Buffer, place: Pick<Directory, 'path' | 'pathBelow'>, previousNode: TreeNode | undefined,
    loadPrevious: () => Promise<PreviousTree | undefined>,
  ): Promise<{ node: Promise<TreeNode> }> {
    const run = this.#run
    const base = { ...describe(name, 'dir', source.stat, run.owners), extendedAttributes: this.#attributesOf(source.descriptor, () => place.path) }
    const isEntered = this.#scope.device === undefined || source.stat.dev === this.#scope.device
    if (!isEntered) run.skipped.add(place.path, 'other_file_system')
    const previous = isEntered ? await loadPrevious() : undefined
    const directory: Directory = { ...place, descriptor: source.descriptor, previous, nodes: [] }
    const placePrefix = pathIn(source.descriptor, Buffer.alloc(0))
    const { names, files } = isEntered ? this.#listNames(directory) : { names: [], files: new Set<string>() }
    for (const latin1Name of names) {
      if (run.isPauseDue()) await run.pause()
      if (this.#takeAsItIs(directory, latin1Name)) continue
      const entryName = Buffer.from(latin1Name, 'latin1')
      const entryPlace = Buffer.concat([placePrefix, entryName])
      const entry = { directory, name: entryName, latin1Name, place: entryPlace, previous: previous?.find(entryName) }
      if (!this.#takeFile(entry, files.has(latin1Name))) await this.#archiveEntry(entry)
      if (this.#ahead.length > FILES_AHEAD_MAX && !this.#readShort()) await this.#readNext()
    }
    return { node: handled(this.#finishDirectory(directory, base, previousNode)) }
  }

  async #finishDirectory(directory: Directory, base: TreeNode, previousNode: TreeNode | undefined): Promise<TreeNode> {
    const node = { ...base, subtree: await this.#saveTree(directory) }
    this.#run.directories[compareDirectory(node, previousNode)] += 1
    // The very node of the parent shows the directory above that nothing has changed here.
    return previousNode !== undefined && isSameNode(node, previousNode) ? previousNode : node
  }

  async #saveTree({ previous, nodes: found }: Directory): Promise<BlobId> {
    if (previous?.isWhole(found.length) === true && found.every((each) => typeof each === 'number')) return previous.id
    const nodes: TreeNode[] = []
    for (const each of found) {
      const node = typeof each === 'number' ? previous?.nodes[each] : each instanceof Promise ? await each : each
      if (node !== undefined) nodes.push(node)
    }
    return saveTree(this.#run, nodes, previous)
  }

  /** A file of which the parent's tree has, byte for byte, what would be written of it now. False leaves it to the other ways. */
  #takeAsItIs(directory: Directory, latin1Name: string): boolean {
    const run = this.#run
    const { previous } = directory
    if (previous === undefined || !run.trustsAttributes || this.#scope.exclusion !== undefined) return false
    const status = findStatus(directory.descriptor, latin1Name)
    const text = status === undefined ? undefined : textOfFile(latin1Name, status, run.owners)
    if (status === undefined || text === undefined) return false
    const place = previous.takeFile(text, status.size, run.repository)
    if (place === undefined) return false
    directory.nodes.push(place)
    const path = () => joinPath(directory.path, Buffer.from(latin1Name, 'latin1'))
    run.addBytes(status.size, path)
    run.addFile('unmodified', path)
    return true
  }

  /** A regular file, the common case, without a turn of waiting. False leaves it to the long way. */
  #takeFile(entry: Entry, isSaidToBeFile: boolean): boolean {
    if (this.#scope.exclusion !== undefined) return false
    try {
      if (entry.previous === undefined) {
        // Nothing to compare it with: all that counts is what kind of file it is.
        if (isSaidToBeFile) return this.#openAhead(entry)
        const status = findStatus(entry.directory.descriptor, entry.latin1Name)
        return status !== undefined && kindOf(status.mode) === 'file' && this.#openAhead(entry)
      }
      const stat = fs.lstatSync(entry.place, { bigint: true })
      return kindOf(stat.mode) === 'file' && this.#archiveFile(entry, stat)
    } catch {
      // It is looked at once more, and told of then.
      return false
    }
  }

  #listNames(directory: Directory): DirectoryNames {
    try {
      const listed = listDirectory(directory.descriptor)
      if (!this.#scope.excludesCaches || !isCache(directory, listed.names)) return listed
      this.#run.skipped.add(directory.path, 'cache')
      return { names: [CACHE_TAG_NAME.toString('latin1')], files: listed.files }
    } catch (error) {
      this.#run.warnings.add(directory.path, 'unreadable', fileCodeOf(error))
      return { names: [], files: new Set() }
    }
  }

  #attributesOf(file: FileReference, path: () => Buffer): TreeNode['extendedAttributes'] {
    const { warnings } = this.#run
    try {
      return readAttributes(file, () => warnings.add(path(), 'attribute.name'))
    } catch (error) {
      const code = fileCodeOf(error)
      // Whoever opens or describes the file next will tell that it is gone.
      if (code !== 'ENOENT') warnings.add(path(), 'attribute.unreadable', code)
      return []
    }
  }

  async #archiveEntry(entry: Entry): Promise<void> {
    const { warnings } = this.#run
    try {
      for (let tries = 0; tries < TRIES_MAX; tries += 1) {
        const stat = fs.lstatSync(entry.place, { bigint: true })
        if (this.#isExcluded(entry, stat)) return
        if (await this.#archiveKind(entry, stat)) return
      }
      warnings.add(pathOf(entry), 'restless')
    } catch (error) {
      const code = fileCodeOf(error)
      if (code === 'ENOENT') warnings.add(pathOf(entry), 'vanished')
      else warnings.add(pathOf(entry), 'unreadable', code)
    }
  }

  #isExcluded(entry: Entry, stat: fs.BigIntStats): boolean {
    const { exclusion } = this.#scope
    if (exclusion === undefined) return false
    const pattern = exclusion.findPattern(pathBelow(entry), kindOf(stat.mode) === 'dir')
    if (pattern === undefined) return false
    this.#run.skipped.add(pathOf(entry), 'pattern', pattern)
    return true
  }

  /** False when the entry has become another kind of file since it was looked at. */
  async #archiveKind(entry: Entry, stat: fs.BigIntStats): Promise<boolean> {
    const kind = kindOf(stat.mode)
    switch (kind) {
      case 'file':
        return this.#archiveFile(entry, stat)
      case 'dir':
        return this.#enterDirectory(entry)
      case 'socket':
        this.#run.warnings.add(pathOf(entry), 'socket')
        return true
      case 'symlink':
        return this.#archiveLink(entry, stat)
      case undefined:
        this.#run.warnings.add(pathOf(entry), 'kind.unknown')
        return true
      default:
        entry.directory.nodes.push(this.#describe(entry, kind, stat, entry.place))
        return true
    }
  }

  #describe({ directory, name }: Entry, kind: NodeType, stat: fs.BigIntStats, file: FileReference): TreeNode {
    return { ...describe(name, kind, stat, this.#run.owners), extendedAttributes: this.#attributesOf(file, () => joinPath(directory.path, name)) }
  }

  #archiveLink(entry: Entry, stat: fs.BigIntStats): boolean {
    let linkTarget: Buffer
    try {
      linkTarget = fs.readlinkSync(entry.place, { encoding: 'buffer' })
    } catch (error) {
      if (fileCodeOf(error) === 'EINVAL') return false
      throw error
    }
    entry.directory.nodes.push({ ...this.#describe(entry, 'symlink', stat, entry.place), linkTarget })
    return true
  }

  async #enterDirectory(entry: Entry): Promise<boolean> {
    using source = tryOpen(() => openSourceDirectory(entry.place))
    if (source === undefined) return false
    const { previous, directory } = entry
    const loadPrevious = async () => (previous?.type === 'dir' ? directory.previous?.enterFound() : undefined)
    const place = { path: pathOf(entry), pathBelow: this.#scope.exclusion === undefined ? '' : `${pathBelow(entry)}/` }
    const { node } = await this.#archiveDirectory(source, entry.name, place, previous, loadPrevious)
    directory.nodes.push(node)
    return true
  }

  #archiveFile(entry: Entry, stat: fs.BigIntStats): boolean {
    const reused = this.#reuse(entry, stat)
    if (reused !== undefined) {
      entry.directory.nodes.push(reused)
      return true
    }
    return this.#openAhead(entry)
  }

  /** Opens a file, to be read in its turn. False when it has become another kind of file. */
  #openAhead(entry: Entry): boolean {
    const found = findSource(entry.directory.descriptor, entry.latin1Name)
    const source = found ?? tryOpen(() => openSource(entry.place))
    if (source === undefined) return false
    if (kindOf(found?.status.mode ?? source.stat.mode) !== 'file') {
      source[Symbol.dispose]()
      return false
    }
    const short = found !== undefined && isShort(found.status) ? found.status : undefined
    fetchAhead(source.descriptor, Math.min(found?.status.size ?? Number(source.stat.size), FETCHED_AHEAD_BYTES_MAX))
    const { promise, resolve: complete } = Promise.withResolvers<TreeNode | undefined>()
    entry.directory.nodes.push(handled(promise))
    this.#ahead.push({ entry, source, short, complete })
    return true
  }

  /** Reads the next of the open files if it is short and there is room for it, without a turn of waiting. */
  #readShort(): boolean {
    const next = this.#ahead[0]
    const room = next?.short === undefined ? undefined : this.#shortFiles.room(next.short.size)
    if (next?.short === undefined || room === undefined) return false
    this.#ahead.shift()
    const { entry, source, short, complete } = next
    const run = this.#run
    try {
      const node = { ...describeFile(entry.name, short, run.owners), extendedAttributes: this.#attributesOf(source.descriptor, () => pathOf(entry)) }
      const bytes = readNow(source.descriptor, room)
      run.addBytes(bytes, () => pathOf(entry))
      if (hasChangedSince(short, findOpenStatus(source.descriptor))) run.warnings.add(pathOf(entry), 'changed')
      const size = BigInt(bytes)
      if (bytes === 0) complete({ ...node, size, content: [] })
      else this.#shortFiles.add(bytes, (blobId) => complete({ ...node, size, content: [blobId] }), (error) => complete(Promise.reject(error)))
      run.addFile(entry.previous?.type === 'file' ? 'changed' : 'new', () => pathOf(entry))
    } catch (error) {
      run.warnings.add(pathOf(entry), 'unreadable', fileCodeOf(error))
      complete(undefined)
    } finally {
      source[Symbol.dispose]()
    }
    return true
  }

  async #readNext(): Promise<void> {
    const [head] = this.#ahead
    if (head?.short !== undefined) {
      if (this.#readShort()) return
      await this.#shortFiles.makeRoom()
      this.#readShort()
      return
    }
    const next = this.#ahead.shift()
    if (next === undefined) return
    const { entry, complete } = next
    using source = next.source
    const run = this.#run
    await run.pause()
    try {
      const node = this.#describe(entry, 'file', source.stat, source.descriptor)
      const { content } = await this.#contentOf(entry, source)
      complete(content.then(({ bytes, blobIds }) => ({ ...node, size: BigInt(bytes), content: blobIds })))
      run.addFile(entry.previous?.type === 'file' ? 'changed' : 'new', () => pathOf(entry))
    } catch (error) {
      run.warnings.add(pathOf(entry), 'unreadable', fileCodeOf(error))
      complete(undefined)
    }
  }

  /** The node of a file that has not changed since the parent: its content is there already. */
  #reuse(entry: Entry, stat: fs.BigIntStats): TreeNode | undefined {
    const { previous } = entry
    if (previous?.type !== 'file' || previous.content === null) return undefined
    if (previous.size !== stat.size || previous.inode !== BigInt.asUintN(64, stat.ino)) return undefined
    const run = this.#run
    if (run.trustsAttributes && isDescribedBy(previous, stat, run.owners)) {
      if (!isStored(run.repository, previous.content, previous.size)) return undefined
      run.addBytes(Number(stat.size), () => pathOf(entry))
      run.addFile('unmodified', () => pathOf(entry))
      return previous
    }
    const node = describe(entry.name, 'file', stat, run.owners)
    if (!isSameTime(previous.mtime, node.mtime) || !isSameTime(previous.ctime, node.ctime)) return undefined
    if (!isStored(run.repository, previous.content, previous.size)) return undefined
    const extendedAttributes = run.trustsAttributes ? previous.extendedAttributes : this.#attributesOf(entry.place, () => pathOf(entry))
    run.addBytes(Number(stat.size), () => pathOf(entry))
    run.addFile('unmodified', () => pathOf(entry))
    return { ...node, extendedAttributes, size: previous.size, content: previous.content }
  }

  /** Reads a file, or takes what was read under another of its names. Resolves once everything is read. */
  async #contentOf(entry: Entry, source: OpenSource): Promise<{ content: Promise<FileContent> }> {
    const { descriptor, stat } = source
    const run = this.#run
    const path = () => pathOf(entry)
    const key = stat.nlink > 1n ? `${stat.dev}:${stat.ino}:${stat.ctimeNs}` : undefined
    const known = key === undefined ? undefined : this.#linked.get(key)
    if (known !== undefined) {
      run.addBytes(Number(stat.size), path)
      return { content: known }
    }
    const { content } = await saveFile(run, this.#zeroChunks, source, path)
    handled(content)
    if (hasChanged(stat, fs.fstatSync(descriptor, { bigint: true }))) run.warnings.add(pathOf(entry), 'changed')
    else if (key !== undefined) this.#linked.set(key, content)
    return { content }
  }
}

/** Opens a file; undefined when it has become another kind of file since it was looked at. */
function tryOpen(open: () => OpenSource): OpenSource | undefined {
  try {
    return open()
  } catch (error) {
    const code = fileCodeOf(error)
    if (code === 'ELOOP' || code === 'ENOTDIR' || code === 'ENXIO') return undefined
    throw error
  }
}

function joinPath(directory: Buffer, name: Buffer): Buffer {
  const separator = directory.at(-1) === SLASH ? '' : '/'
  return Buffer.concat([directory, Buffer.from(separator), name])
}

function pathOf({ directory, name }: Entry): Buffer {
  return joinPath(directory.path, name)
}

function pathBelow({ directory, name }: Entry): string {
  return directory.pathBelow + name.toString()
}

function isCache(directory: Directory, latin1Names: readonly string[]): boolean {
  return latin1Names.includes(CACHE_TAG_NAME.toString('latin1')) && isCacheTag(pathIn(directory.descriptor, CACHE_TAG_NAME))
}

/** Marks a promise that is waited for later, when its failure has ended the run already. */
function handled<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined)
  return promise
}
