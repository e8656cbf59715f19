/**
 * A directory as a zip archive, written as it is read; what is large is in ZIP64. A zip has no place for hard links,
 * devices and attributes, and wants names in UTF-8: links are files of their own, devices are left out, and a
 * byte that is no text stands as `%FF`, a backslash as `%5C`, because readers take one for a slash.
 */
import { isUtf8 } from 'node:buffer'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { chmodBitsFrom, parseTreeTime, type TreeNode } from '@opencbr/engine'
import { ZipFile } from 'yazl'
import type { ArchiveEntry } from './tar-stream.ts'

const S_IFREG = 0o100000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000
const NANOSECONDS_PER_MS = 1_000_000n

export async function* zipStream(entries: AsyncIterable<ArchiveEntry>): AsyncGenerator<Uint8Array> {
  const zip = new ZipFile()
  const output = zip.outputStream as Readable
  zip.on('error', (error: Error) => output.destroy(error))
  const stop = new AbortController()
  const filling = fill(zip, entries, stop.signal).then(() => zip.end(), (error: unknown) => {
    output.destroy(error instanceof Error ? error : new Error(String(error)))
  })
  try {
    yield* output as AsyncIterable<Uint8Array>
    await filling
  } finally {
    stop.abort()
    output.destroy()
  }
}

async function fill(zip: ZipFile, entries: AsyncIterable<ArchiveEntry>, signal: AbortSignal): Promise<void> {
  for await (const { path, node, content } of entries) {
    if (signal.aborted) return
    const name = zipName(path)
    const mtime = timeOf(node)
    const mode = chmodBitsFrom(node.mode)
    if (node.type === 'dir') zip.addEmptyDirectory(name, { mtime, mode: S_IFDIR | mode })
    else if (node.type === 'symlink') zip.addBuffer(node.linkTarget, name, { mtime, mode: S_IFLNK | 0o777, compress: false })
    else if (node.type === 'file') {
      const { size, pieces } = await content()
      const stream = Readable.from(pieces, { objectMode: false })
      zip.addReadStream(stream, name, { mtime, mode: S_IFREG | mode, size, compressionLevel: 1 })
      // One after the other: the next file is opened when this one has been read.
      await once(stream, 'close', { signal }).catch((error: unknown) => {
        stream.destroy()
        throw error
      })
    }
  }
}

function timeOf({ mtime }: TreeNode): Date {
  const time = parseTreeTime(mtime)
  return new Date(time === undefined ? 0 : Number(time / NANOSECONDS_PER_MS))
}

export function zipName(path: Buffer): string {
  if (isUtf8(path)) return path.toString().replaceAll('\\', '%5C')
  let text = ''
  for (let at = 0; at < path.length;) {
    const lead = path[at] ?? 0
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    const character = path.subarray(at, at + length)
    const isText = character.length === length && isUtf8(character)
    text += isText ? character.toString().replace('\\', '%5C') : `%${lead.toString(16).toUpperCase().padStart(2, '0')}`
    at += isText ? length : 1
  }
  return text
}
