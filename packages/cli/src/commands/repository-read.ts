/** What reads a repository: its snapshots, what is in them, and how much there is. */
import { once } from 'node:events'
import { listTree, segmentedDiskBytes, type Repository, type SnapshotEntry, type StoredSnapshot } from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printLine, printNote, printRecord, printTable, safeText } from '../output.ts'
import {
  findSnapshot, findSnapshots, interruptible, reading, shortId, splitSnapshotPath, type AccessFlags, type SnapshotFlags,
} from './repository-access.ts'
import { showBytes } from './repository-progress.ts'

type ReadFlags = AccessFlags & SnapshotFlags

/** A snapshot as restic's own programs print it. */
export function describeSnapshot({ id, snapshot }: StoredSnapshot): object {
  return { ...snapshot, id, short_id: shortId(id) }
}

async function chosenSnapshots(repository: Repository, names: readonly string[], flags: ReadFlags, signal: AbortSignal): Promise<StoredSnapshot[]> {
  if (names.length === 0) return findSnapshots(repository, flags, signal)
  const found = new Map<string, StoredSnapshot>()
  for (const name of names) {
    const stored = await findSnapshot(repository, name, flags, signal)
    found.set(stored.id, stored)
  }
  return [...found.values()]
}

export function runSnapshots({ args: [location = '', ...names], options, print }: Call<ReadFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async ({ repository }, signal) => {
    const snapshots = await chosenSnapshots(repository, names, options, signal)
    print(snapshots.map(describeSnapshot), () => printTable(snapshots, [
      { title: 'id', value: ({ id }) => shortId(id) },
      { title: 'time', value: ({ snapshot }) => snapshot.time.slice(0, 19).replace('T', ' ') },
      { title: 'host', value: ({ snapshot }) => snapshot.hostname },
      { title: 'tags', value: ({ snapshot }) => snapshot.tags?.join(', ') },
      { title: 'paths', value: ({ snapshot }) => snapshot.paths.join(', ') },
      { title: 'size', value: ({ snapshot }) => sizeOf(snapshot.summary?.total_bytes_processed), align: 'right' },
    ], 'No snapshots.'))
  }))
}

function sizeOf(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : showBytes(bytes)
}

interface LsFlags extends ReadFlags {
  readonly long?: boolean
  readonly recursive?: boolean
}

export function runLs({ args: [location = '', text = ''], options }: Call<LsFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async ({ repository }, signal) => {
    const { name, path } = splitSnapshotPath(text)
    const { id } = await findSnapshot(repository, name, options, signal)
    await repository.loadIndex({ signal })
    const isRecursive = options.recursive !== false
    for await (const entry of withWholeDisks(repository, listTree(repository, id, path, { signal, recursive: isRecursive }), isRecursive)) {
      if (options.json === true) await writeOut(`${JSON.stringify(describeEntry(entry))}\n`)
      else await writeOut(`${options.long === true ? describeLong(entry) : safeText(entry.path.toString())}\n`)
    }
  }))
}

/** The name of a disk's first segment. */
const FIRST_SEGMENT = /\/segment-0+$/

/** The same entries, but a disk that is kept in segments is one file. */
async function* withWholeDisks(repository: Repository, entries: AsyncIterable<SnapshotEntry>, isRecursive: boolean): AsyncGenerator<SnapshotEntry> {
  /** A directory of which the next entry will tell more. */
  let held: SnapshotEntry | undefined
  let disk: string | undefined
  for await (const entry of entries) {
    const path = entry.path.toString('latin1')
    if (disk !== undefined && path.startsWith(disk)) continue
    if (held !== undefined) {
      const heldPath = `${held.path.toString('latin1')}/`
      const whole = !isRecursive || (path.startsWith(heldPath) && FIRST_SEGMENT.test(path)) ? await asWholeDisk(repository, held) : undefined
      yield whole ?? held
      held = undefined
      disk = whole === undefined ? undefined : heldPath
      if (disk !== undefined && path.startsWith(disk)) continue
    }
    if (entry.node.type === 'dir') held = entry
    else yield entry
  }
  if (held !== undefined) yield (isRecursive ? undefined : await asWholeDisk(repository, held)) ?? held
}

async function asWholeDisk(repository: Repository, { path, node }: SnapshotEntry): Promise<SnapshotEntry | undefined> {
  const size = await segmentedDiskBytes(repository, node)
  // Who may read a directory may enter it; a file is only read.
  return size === undefined ? undefined : { path, node: { ...node, type: 'file', size, mode: node.mode & 0o666 } }
}

/** Waits while the reader of our output is slower than the repository. */
export async function writeOut(bytes: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain')
}

function describeEntry({ path, node }: SnapshotEntry): object {
  return {
    name: node.name.toString(),
    type: node.type,
    path: path.toString(),
    uid: node.uid,
    gid: node.gid,
    ...(node.type === 'file' ? { size: Number(node.size) } : {}),
    mode: node.mode,
    mtime: node.mtime,
    atime: node.atime,
    ctime: node.ctime,
    ...(node.type === 'symlink' ? { linktarget: node.linkTarget.toString() } : {}),
  }
}

const KIND_LETTERS: Readonly<Record<string, string>> = { file: '-', dir: 'd', symlink: 'l', dev: 'b', chardev: 'c', fifo: 'p', socket: 's' }

function describeLong({ path, node }: SnapshotEntry): string {
  const letters = ['r', 'w', 'x']
  const permissions = Array.from({ length: 9 }, (_, at) => ((node.mode >> (8 - at)) & 1) === 1 ? letters[at % 3] : '-').join('')
  const owner = `${node.user === '' ? node.uid : node.user}:${node.group === '' ? node.gid : node.group}`
  const target = node.type === 'symlink' ? ` -> ${safeText(node.linkTarget.toString())}` : ''
  const size = node.type === 'file' ? String(node.size) : '-'
  const time = node.mtime.slice(0, 19).replace('T', ' ')
  return `${KIND_LETTERS[node.type] ?? '?'}${permissions} ${safeText(owner).padEnd(12)} ${size.padStart(12)} ${time} ${safeText(path.toString())}${target}`
}

export function runStats({ args: [location = '', ...names], options, print }: Call<ReadFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async ({ repository }, signal) => {
    const snapshots = await chosenSnapshots(repository, names, options, signal)
    await repository.loadIndex({ signal })
    const isNarrowed = names.length > 0 || options.host !== undefined || options.tag !== undefined || options.path !== undefined
    if (isNarrowed) {
      const size = await measureRestore(repository, snapshots, signal)
      print(size, () => printRecord([
        ['snapshots', snapshots.length], ['files', size.total_file_count], ['restored', showBytes(size.total_size)],
      ]))
      return
    }
    const stats = await repository.stats()
    let plainBytes = 0
    for (const { blobs } of repository.indexedPacks()) for (const { plainLength } of blobs) plainBytes += plainLength
    const answer = {
      snapshots_count: snapshots.length,
      total_size: stats.packBytes,
      total_uncompressed_size: plainBytes,
      total_blob_count: stats.blobCount,
      pack_count: stats.packCount,
      other_size: stats.otherBytes,
      repository_version: repository.version,
    }
    print(answer, () => printRecord([
      ['snapshots', snapshots.length],
      ['packs', `${stats.packCount}, ${showBytes(stats.packBytes)}`],
      ['blobs', `${stats.blobCount}, ${showBytes(plainBytes)} before compression`],
      ['indexes and others', showBytes(stats.otherBytes)],
      ['format', `version ${repository.version}`],
    ]))
    if (options.json !== true && snapshots.length === 0) printNote('There are no snapshots.')
  }))
}

/** How much a restore of each snapshot would bring; a file that has several names counts once. */
async function measureRestore(
  repository: Repository, snapshots: readonly StoredSnapshot[], signal: AbortSignal,
): Promise<{ total_size: number, total_file_count: number, snapshots_count: number }> {
  let bytes = 0
  let files = 0
  for (const { id } of snapshots) {
    const linked = new Set<string>()
    for await (const { node } of listTree(repository, id, '/', { signal })) {
      files += 1
      if (node.type !== 'file') continue
      const link = `${node.deviceId}:${node.inode}`
      if (node.links > 1n && linked.has(link)) continue
      if (node.links > 1n) linked.add(link)
      bytes += Number(node.size)
    }
  }
  return { total_size: bytes, total_file_count: files, snapshots_count: snapshots.length }
}

/** Names every snapshot on a line, for people who are about to lose or to gain them. */
export function showSnapshotLine({ id, snapshot }: StoredSnapshot): void {
  printLine(`${shortId(id)}  ${snapshot.time.slice(0, 19).replace('T', ' ')}  ${safeText(snapshot.hostname ?? '-')}  ${safeText(snapshot.paths.join(', '))}`)
}
