/**
 * How much a backup of a source can add to its repository at most: all of it, new and incompressible, with what the
 * format adds. Only looks at sizes, so it costs a fraction of a run. What grows afterwards is not in it, nor what
 * files of the kernel hold that say they are empty, nor attributes beyond a block of the file system: whoever writes
 * is limited all the same.
 */
import * as fs from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BackupAssignment } from './protocol.ts'
import { diskBytes } from './inspect-path.ts'

/** The smallest chunk; only what ends a file is smaller. */
const CHUNK_BYTES_MIN = 512 * 1024
/** Of a chunk: its envelope, what zstd adds to what it cannot compress, its places in a pack's header and in a file's list. */
const BYTES_PER_CHUNK = 320
/** A share of content, too, that frames of it may be longer. */
const FRAME_SHARE = 1 / 256
/** An entry of a directory: a name of 255 bytes that are all written as escapes, 4 KiB of attributes in base64, and the rest. */
const BYTES_PER_ENTRY = 8 * 1024
/** The directories on the way from the root, and ends of packs. */
const BYTES_PER_SOURCE = 256 * 1024
/** Between two turns of others. */
const ENTRIES_PER_TURN = 500

export async function boundSource(source: BackupAssignment['source'], signal: AbortSignal): Promise<number> {
  switch (source.kind) {
    case 'disk': return BYTES_PER_SOURCE + boundFile(await diskBytes(source.path).catch(() => 0))
    case 'directory': return boundTrees([source.path], signal)
    case 'directories': return boundTrees(source.directories.map(({ path }) => path), signal)
  }
}

function boundFile(bytes: number): number {
  return Math.ceil(bytes * (1 + FRAME_SHARE)) + (1 + Math.ceil(bytes / CHUNK_BYTES_MIN)) * BYTES_PER_CHUNK
}

async function boundTrees(paths: readonly string[], signal: AbortSignal): Promise<number> {
  const waiting = paths.map((path) => Buffer.from(path))
  let bytes = BYTES_PER_SOURCE * paths.length
  let entries = 0
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const entry of entriesOf(folder)) {
      entries += 1
      if (entries % ENTRIES_PER_TURN === 0) {
        await nextTurn()
        signal.throwIfAborted()
      }
      const path = Buffer.concat([folder, SLASH, entry.name])
      if (entry.isDirectory()) waiting.push(path)
      bytes += BYTES_PER_ENTRY + (entry.isFile() ? boundFile(sizeOf(path)) : 0)
    }
  }
  return bytes
}

const SLASH = Buffer.from('/')

/** None of a directory that cannot be read: the run tells of that. */
function* entriesOf(folder: Buffer): Generator<fs.Dirent<Buffer>> {
  let directory: fs.Dir
  try {
    directory = fs.opendirSync(folder as unknown as string, { encoding: 'buffer' as BufferEncoding })
  } catch {
    return
  }
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) yield entry as unknown as fs.Dirent<Buffer>
  } catch {
    // Gone meanwhile, or unreadable from here on.
  } finally {
    directory.closeSync()
  }
}

function sizeOf(path: Buffer): number {
  try {
    return fs.lstatSync(path).size
  } catch {
    return 0
  }
}
