/** Answers the server's requests to show and hand out what is in backups. */
import { createHash } from 'node:crypto'
import { Failure, type TreeNode } from '@opencbr/engine'
import type { TaskFailure } from '../protocol.ts'
import type { FromReader, StreamForm, ToReader, WantedRange } from '../reader-protocol.ts'
import { describeTaskFailure } from '../task-failure.ts'
import { describeEntry, findEntry, listFound, openFound, ReaderFailure, type Found } from './find-entry.ts'
import { OpenVaults, type OpenVault } from './open-vaults.ts'
import { tarStream, type ArchiveEntry } from './tar-stream.ts'
import { findNode, findPlace, TreeCache } from './tree-cache.ts'
import { zipStream } from './zip-stream.ts'

/** What travels in one message. */
const PIECE_BYTES_MAX = 1024 * 1024
/** Small pieces of archives are put together. */
const PIECE_BYTES_MIN = 64 * 1024
/** Streams that are open at a time; further ones wait. */
const STREAMS_MAX = 32
/** A stream that nobody pulls for so long is closed. */
const IDLE_MS = 10 * 60_000
const TIDY_EVERY_MS = 60_000
/** Archives whose length was asked for, and is remembered. */
const ARCHIVE_SIZES_MAX = 1000

interface Stream {
  readonly controller: AbortController
  readonly pieces: AsyncIterator<Uint8Array>
  readonly release: () => void
  pulls: number
  isPumping: boolean
  pulledAt: number
}

export interface Reader {
  readonly receive: (message: ToReader) => void
}

export function createReader(send: (message: FromReader) => void, log: (text: string) => void): Reader {
  const vaults = new OpenVaults()
  const trees = new TreeCache()
  const streams = new Map<number, Stream>()
  /** Asked for, and not open yet; the signal of one that is not wanted any more is aborted. */
  const opening = new Map<number, AbortController>()
  const archiveSizes = new Map<string, number>()
  const waiting: (() => void)[] = []
  let places = STREAMS_MAX

  const tidying = setInterval(() => {
    const before = performance.now() - IDLE_MS
    for (const [id, stream] of streams) if (stream.pulledAt < before) close(id, new Failure('cancelled'))
    void vaults.closeIdle(IDLE_MS)
  }, TIDY_EVERY_MS)
  tidying.unref()

  function fail(id: number, error: unknown): void {
    send({ type: 'failed', id, failure: describe(error) })
  }

  function describe(error: unknown): TaskFailure {
    if (error instanceof ReaderFailure) return { code: error.code, message: error.message }
    const failure = describeTaskFailure(error)
    if (failure.code === 'unknown') log(error instanceof Error ? error.stack ?? error.message : String(error))
    return failure
  }

  async function list({ id, place, path, after, limit }: Extract<ToReader, { type: 'list' }>): Promise<void> {
    await vaults.use(place.vault, async (vault) => {
      const found = await findEntry(vault, trees, place, path)
      const nodes = await listFound(vault, trees, found)
      const from = after === undefined ? 0 : findPlace(nodes, after) + (findNode(nodes, after) === undefined ? 0 : 1)
      const page = nodes.slice(from, from + limit)
      const entries = await Promise.all(page.map(async (node) => (
        place.isDisk && node === found.only?.node
          // A disk in segments is a directory in the snapshot.
          ? { ...describeEntry(node), type: 'file' as const, size: (await openFound(vault, found.only))?.sizeBytes }
          : describeEntry(node)
      )))
      send({ type: 'listed', id, listing: { entries, count: nodes.length } })
    })
  }

  async function open(request: Extract<ToReader, { type: 'open' }>): Promise<void> {
    const { id, place } = request
    const controller = new AbortController()
    opening.set(id, controller)
    await takePlace()
    let release = givePlaceBack
    try {
      controller.signal.throwIfAborted()
      const taken = await vaults.take(place.vault)
      release = () => {
        taken.release()
        givePlaceBack()
      }
      const { stream, pieces } = await begin(taken.vault, request, controller.signal)
      controller.signal.throwIfAborted()
      streams.set(id, {
        controller, pieces: slice(pieces)[Symbol.asyncIterator](), release, pulls: 0, isPumping: false, pulledAt: performance.now(),
      })
      send({ type: 'opened', id, stream })
    } catch (error) {
      release()
      if (!controller.signal.aborted) throw error
    } finally {
      opening.delete(id)
    }
  }

  async function begin(vault: OpenVault, { place, path, form, range }: Extract<ToReader, { type: 'open' }>, signal: AbortSignal) {
    const found = await findEntry(vault, trees, place, path)
    const name = path.at(-1) ?? Buffer.from(place.sourcePath.split('/').findLast((part) => part !== '') ?? '')
    const content = await openFound(vault, found)
    if (content !== undefined && (form === undefined || form === 'file')) {
      const bounds = boundsOf(range, content.sizeBytes)
      return {
        stream: {
          form: 'file' as const, name, size: content.sizeBytes, range: bounds, digest: digestOf(found, 'file'), mtime: found.node?.mtime ?? '',
        },
        pieces: bounds === undefined ? nothing() : content.read(bounds.start, bounds.end, signal),
      }
    }
    if (form === 'file') throw new ReaderFailure('not_a_file')
    const archive = form ?? 'zip'
    // A file alone, and a disk in the folder in which it shows, can be in an archive too.
    const entries = (): AsyncGenerator<ArchiveEntry> =>
      content === undefined ? walk(vault, found, Buffer.alloc(0), signal) : single(vault, found, signal)
    const digest = digestOf(found, archive)
    const stream = { form: archive, name, digest, mtime: found.node?.mtime ?? '' }
    if (range === undefined) return { stream: { ...stream, size: undefined, range: undefined }, pieces: write(archive, entries()) }
    const size = await measure(archive, `${digest} ${name.toString('hex')}`, entries)
    const bounds = boundsOf(range, size)
    return {
      stream: { ...stream, size, range: bounds },
      pieces: bounds === undefined ? nothing() : partOf(write(archive, entries()), bounds),
    }
  }

  /**
   * How long an archive is that is made while it is sent: the same entries give the same bytes each time. A tar is
   * measured without its content; a zip has to be made for it, once.
   */
  async function measure(form: 'zip' | 'tar', key: string, entries: () => AsyncGenerator<ArchiveEntry>): Promise<number> {
    const known = archiveSizes.get(key)
    if (known !== undefined) return known
    let size = 0
    for await (const piece of write(form, form === 'tar' ? withoutContent(entries()) : entries())) size += piece.length
    if (archiveSizes.size >= ARCHIVE_SIZES_MAX) archiveSizes.clear()
    archiveSizes.set(key, size)
    return size
  }

  async function* walk(vault: OpenVault, found: Found, path: Buffer, signal: AbortSignal): AsyncGenerator<ArchiveEntry> {
    for (const node of await listFound(vault, trees, found)) {
      signal.throwIfAborted()
      if (found.only?.node === node) {
        yield* single(vault, found.only, signal)
        continue
      }
      const below: Found = { node, treeId: node.type === 'dir' ? node.subtree : undefined, isDisk: false }
      const entryPath = path.length === 0 ? node.name : Buffer.concat([path, Buffer.from('/'), node.name])
      yield entryOf(vault, below, node, entryPath, signal)
      if (node.type === 'dir') yield* walk(vault, below, entryPath, signal)
    }
  }

  async function takePlace(): Promise<void> {
    if (places > 0) {
      places -= 1
      return
    }
    await new Promise<void>((resolve) => waiting.push(resolve))
  }

  function givePlaceBack(): void {
    const next = waiting.shift()
    if (next === undefined) places += 1
    else next()
  }

  function pull(id: number): void {
    const stream = streams.get(id)
    if (stream === undefined) return
    stream.pulls += 1
    stream.pulledAt = performance.now()
    if (!stream.isPumping) void pump(id, stream)
  }

  async function pump(id: number, stream: Stream): Promise<void> {
    stream.isPumping = true
    try {
      while (stream.pulls > 0 && streams.get(id) === stream) {
        const next = await stream.pieces.next()
        if (streams.get(id) !== stream) return
        if (next.done === true) {
          send({ type: 'end', id })
          close(id)
          return
        }
        stream.pulls -= 1
        send({ type: 'piece', id, bytes: next.value })
      }
    } catch (error) {
      if (streams.get(id) === stream) close(id, error)
    } finally {
      stream.isPumping = false
    }
  }

  function close(id: number, error?: unknown): void {
    const stream = streams.get(id)
    if (stream === undefined) return
    streams.delete(id)
    stream.controller.abort()
    if (error !== undefined) fail(id, error)
    // A piece that is being fetched ends first; the vault stays open until then.
    void Promise.resolve(stream.pieces.return?.()).catch(() => undefined).then(stream.release)
  }

  return {
    receive(message) {
      switch (message.type) {
        case 'list':
          list(message).catch((error: unknown) => fail(message.id, error))
          break
        case 'open':
          open(message).catch((error: unknown) => fail(message.id, error))
          break
        case 'pull':
          pull(message.id)
          break
        case 'cancel':
          opening.get(message.id)?.abort()
          close(message.id)
          break
      }
    },
  }
}

function write(form: 'zip' | 'tar', entries: AsyncIterable<ArchiveEntry>): AsyncGenerator<Uint8Array> {
  return form === 'zip' ? zipStream(entries) : tarStream(entries)
}

const BLANK = Buffer.alloc(64 * 1024)

/** The same entries, with as many bytes, none of which is read. */
async function* withoutContent(entries: AsyncIterable<ArchiveEntry>): AsyncGenerator<ArchiveEntry> {
  for await (const entry of entries) {
    yield {
      ...entry,
      async content() {
        const { size } = await entry.content()
        return { size, pieces: blanks(size) }
      },
    }
  }
}

async function* blanks(size: number): AsyncGenerator<Uint8Array> {
  for (let rest = size; rest > 0; rest -= BLANK.length) yield rest < BLANK.length ? BLANK.subarray(0, rest) : BLANK
}

async function* partOf(pieces: AsyncIterable<Uint8Array>, { start, end }: { start: number, end: number }): AsyncGenerator<Uint8Array> {
  let at = 0
  for await (const piece of pieces) {
    const [from, to] = [Math.max(0, start - at), Math.min(piece.length, end - at)]
    if (from < to) yield piece.subarray(from, to)
    at += piece.length
    if (at >= end) return
  }
}

async function* single(vault: OpenVault, found: Found, signal: AbortSignal): AsyncGenerator<ArchiveEntry> {
  const node = found.node
  if (node === undefined) return
  const asFile: TreeNode = { ...node, type: 'file' }
  yield entryOf(vault, found, asFile, node.name, signal)
}

function entryOf(vault: OpenVault, found: Found, node: TreeNode, path: Buffer, signal: AbortSignal): ArchiveEntry {
  return {
    path,
    node,
    async content() {
      const content = await openFound(vault, found)
      if (content === undefined) throw new ReaderFailure('not_a_file')
      return { size: content.sizeBytes, pieces: content.read(0, content.sizeBytes, signal) }
    },
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** Undefined when none of it lies in the file. */
function boundsOf(range: WantedRange | undefined, size: number): { start: number, end: number } | undefined {
  if (range === undefined) return { start: 0, end: size }
  const start = 'suffix' in range ? Math.max(0, size - range.suffix) : range.start
  const end = 'suffix' in range ? size : Math.min(size, (range.last ?? size - 1) + 1)
  return start < end ? { start, end } : undefined
}

/** Of the content: a file's list of blobs, or the directory's tree, which are hashes of what is in them. */
function digestOf({ node, treeId, only }: Found, form: StreamForm): string {
  const hash = createHash('sha256').update(form)
  const content = treeId ?? only?.treeId
  if (content === undefined) for (const id of (only?.node ?? node)?.content ?? []) hash.update(id)
  else hash.update(content)
  return hash.digest('hex').slice(0, 32)
}

/** Pieces that are neither too large for a message nor too small to be worth one. */
async function* slice(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let bytes = 0
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; at += PIECE_BYTES_MAX) {
      const part = piece.subarray(at, at + PIECE_BYTES_MAX)
      held.push(part)
      bytes += part.length
      if (bytes < PIECE_BYTES_MIN) continue
      yield join(held)
      held = []
      bytes = 0
    }
  }
  if (bytes > 0) yield join(held)
}

/** A copy of its own: sending part of a larger memory would send all of it. */
function join(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts)
}
