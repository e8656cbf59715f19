/**
 * Files in a directory of this machine, with the discipline that a backup needs: a file is written
 * under a temporary name beside its place, forced to the disk, linked to its final name, and the
 * directory is forced to the disk too. Linking instead of renaming makes the write-once promise
 * atomic: a link to an existing name fails, a rename would replace it. Where a file system has no
 * links, a check and a rename take their place. A process killed in between leaves at most a
 * temporary file, which no listing shows and `removeLeftovers` removes.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { RESERVE_NAME, SpaceReserve } from './space-reserve.ts'
import { isStorageKey, StorageFailure } from './storage.ts'
import type { Storage, StorageFailureCode, StoredFile } from './storage.ts'

const TEMPORARY_MARK = '-tmp-'

/** The system takes at most 1024 buffers in one vectored write. */
const PARTS_PER_WRITE_MAX = 1024

/**
 * The system looks for memory in one piece for what it is given at once. Short pieces it has from what was in use a moment ago; long ones often
 * have to be got from the machine that a virtual one runs on, which takes longer than the copy.
 */
const BYTES_PER_WRITE_MAX = 512 * 1024

const codeOfSystemError: Record<string, StorageFailureCode> = {
  ENOENT: 'storage.not_found',
  ENOTDIR: 'storage.not_found',
  EEXIST: 'storage.exists',
  ENOSPC: 'storage.full',
  EDQUOT: 'storage.full',
  EFBIG: 'storage.full',
  EACCES: 'storage.forbidden',
  EPERM: 'storage.forbidden',
  EROFS: 'storage.forbidden',
}

const noLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function asStorageFailure(error: unknown, key: string): unknown {
  if (error instanceof StorageFailure) return error
  const code = systemCode(error)
  if (code === undefined || (error instanceof Error && error.name === 'AbortError')) return error
  return new StorageFailure(codeOfSystemError[code] ?? 'storage.unavailable', { key, systemCode: code }, { cause: error })
}

async function writeAll(handle: FileHandle, parts: readonly Uint8Array[]): Promise<void> {
  let position = 0
  let pending = parts.flatMap((part) => piecesOf(part))
  while (pending.length > 0) {
    const batch = pending.slice(0, batchLength(pending))
    let { bytesWritten } = await handle.writev(batch, position)
    position += bytesWritten
    // A write may be cut short, for instance by a signal; go on where it stopped.
    let whole = 0
    while (whole < batch.length && bytesWritten >= (batch[whole]?.length ?? 0)) {
      bytesWritten -= batch[whole]?.length ?? 0
      whole += 1
    }
    pending = pending.slice(whole)
    const first = pending[0]
    if (bytesWritten > 0 && first !== undefined) pending[0] = first.subarray(bytesWritten)
  }
}

function piecesOf(part: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.ceil(part.length / BYTES_PER_WRITE_MAX) }, (_, i) => part.subarray(i * BYTES_PER_WRITE_MAX, (i + 1) * BYTES_PER_WRITE_MAX))
}

/** How many of the pieces go in one write. */
function batchLength(pieces: readonly Uint8Array[]): number {
  let bytes = 0
  let count = 0
  while (count < Math.min(pieces.length, PARTS_PER_WRITE_MAX)) {
    bytes += pieces[count]?.length ?? 0
    if (count > 0 && bytes > BYTES_PER_WRITE_MAX) break
    count += 1
  }
  return count
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } catch (error) {
    // Some network and FUSE file systems cannot force a directory; there is nothing else to call.
    const code = systemCode(error)
    if (code !== 'EINVAL' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw error
  } finally {
    await handle.close()
  }
}

/** Creates missing directories so that they survive a power cut, the outermost first. */
async function makeDirectory(directory: string): Promise<void> {
  try {
    await fs.mkdir(directory, { mode: 0o700 })
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST') return
    if (code !== 'ENOENT') throw error
    await makeDirectory(path.dirname(directory))
    await makeDirectory(directory)
    return
  }
  await syncDirectory(path.dirname(directory))
}

async function publish(temporary: string, place: string): Promise<void> {
  try {
    await fs.link(temporary, place)
  } catch (error) {
    if (!noLinks.has(systemCode(error) ?? '')) throw error
    const existing = await fs.lstat(place).catch((missing: unknown) => {
      if (systemCode(missing) !== 'ENOENT') throw missing
    })
    if (existing !== undefined) throw new StorageFailure('storage.exists')
    await fs.rename(temporary, place)
  }
}

async function readExactly(handle: FileHandle, bytes: Uint8Array, offset: number, key: string): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, offset + done)
    if (bytesRead === 0) {
      throw new StorageFailure('storage.out_of_range', { key, offset, length: bytes.length, size: offset + done })
    }
    done += bytesRead
  }
}

/**
 * Removes the temporary files in a directory that were written before a time, in milliseconds since
 * 1970 by the storage's clock: what killed writers left, ours and restic's, which names them alike. A
 * writer that lives after all does no harm then: its file has no final name yet, so its put fails.
 */
export async function removeLeftovers(directory: string, writtenBefore: number): Promise<void> {
  const entries = await fs.readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return []
    throw asStorageFailure(error, directory)
  })
  for (const entry of entries) {
    const place = path.join(directory, entry.name)
    if (entry.isDirectory()) {
      await removeLeftovers(place, writtenBefore)
    } else if (entry.isFile() && entry.name.includes(TEMPORARY_MARK)) {
      try {
        if ((await fs.lstat(place)).mtimeMs < writtenBefore) await fs.rm(place, { force: true })
      } catch (error) {
        // Its writer has come to its end since the directory was read.
        if (systemCode(error) !== 'ENOENT') throw asStorageFailure(error, place)
      }
    }
  }
}

export interface LocalStorageOptions {
  /**
   * Whether some space is kept for what must be written on a full disk before anything can be removed: a
   * file of 8 MiB beside the others, which no listing shows. One that is there already is used and kept anyway.
   */
  readonly keepsReserve?: boolean | undefined
}

/** Files in a directory, which is created with the first file. */
export function localStorage(directory: string, options: LocalStorageOptions = {}): Storage {
  const root = path.resolve(directory)
  const reserve = new SpaceReserve(root, options.keepsReserve === true)

  function placeOf(key: string): string {
    assert(isStorageKey(key), `not a storage key: ${key}`)
    return path.join(root, key)
  }

  async function* walk(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<StoredFile> {
    const entries = await fs.readdir(path.join(root, prefix), { withFileTypes: true }).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return []
      throw asStorageFailure(error, prefix)
    })
    for (const entry of entries) {
      signal?.throwIfAborted()
      const key = prefix + entry.name
      if (key === RESERVE_NAME) continue
      if (entry.isDirectory()) {
        yield* walk(`${key}/`, signal)
      } else if (entry.isFile() && !entry.name.includes(TEMPORARY_MARK) && isStorageKey(key)) {
        const stat = await fs.stat(path.join(root, key)).catch((error: unknown) => {
          // Removed since the directory was read.
          if (systemCode(error) === 'ENOENT') return
          throw asStorageFailure(error, key)
        })
        if (stat !== undefined) yield { key, size: stat.size, modifiedAt: stat.mtimeMs }
      }
    }
  }

  async function putOnce(key: string, parts: readonly Uint8Array[], signal: AbortSignal | undefined): Promise<void> {
    const place = placeOf(key)
    signal?.throwIfAborted()
    const temporary = `${place}${TEMPORARY_MARK}${randomBytes(8).toString('hex')}`
    try {
      const handle = await fs.open(temporary, 'wx', 0o600).catch(async (error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw error
        await makeDirectory(path.dirname(place))
        return fs.open(temporary, 'wx', 0o600)
      })
      try {
        await writeAll(handle, parts)
        await handle.chmod(0o400).catch((error: unknown) => {
          // Not every file system has permissions, and a writable file is still a whole one.
          if (systemCode(error) !== 'EPERM' && systemCode(error) !== 'ENOTSUP') throw error
        })
        await handle.sync()
      } finally {
        await handle.close()
      }
      signal?.throwIfAborted()
      await publish(temporary, place)
      await fs.rm(temporary, { force: true })
      await syncDirectory(path.dirname(place))
    } catch (error) {
      await fs.rm(temporary, { force: true }).catch(() => {
        // The first error is the one to report; a temporary file shows in no listing.
      })
      throw asStorageFailure(error, key)
    }
  }

  return {
    location: root,
    // A name that has been made in a directory is in every listing that begins afterwards.
    listingDelayMs: 0,

    async put(key, parts, { signal, usesReserve } = {}) {
      const bytes = parts.reduce((sum, part) => sum + part.length, 0)
      for (;;) {
        try {
          await putOnce(key, parts, signal)
          break
        } catch (error) {
          const isFull = error instanceof StorageFailure && error.code === 'storage.full'
          if (!isFull || usesReserve === undefined || !await reserve.give(bytes, usesReserve)) throw error
        }
      }
      await reserve.afterPut()
    },

    async get(key, { range, allocate, signal } = {}) {
      const place = placeOf(key)
      signal?.throwIfAborted()
      try {
        const handle = await fs.open(place, 'r')
        try {
          const length = range?.length ?? (await handle.stat()).size
          const bytes = allocate?.(length) ?? new Uint8Array(length)
          await readExactly(handle, bytes, range?.offset ?? 0, key)
          signal?.throwIfAborted()
          return bytes
        } finally {
          await handle.close()
        }
      } catch (error) {
        throw asStorageFailure(error, key)
      }
    },

    async stat(key, { signal } = {}) {
      const place = placeOf(key)
      signal?.throwIfAborted()
      try {
        const stat = await fs.stat(place)
        if (!stat.isFile()) throw new StorageFailure('storage.not_found', { key })
        return { key, size: stat.size, modifiedAt: stat.mtimeMs }
      } catch (error) {
        throw asStorageFailure(error, key)
      }
    },

    list(prefix, { signal } = {}) {
      assert(prefix === '' || prefix.endsWith('/'), `not a storage prefix: ${prefix}`)
      return walk(prefix, signal)
    },

    async delete(key, { signal } = {}) {
      const place = placeOf(key)
      signal?.throwIfAborted()
      try {
        await fs.unlink(place)
        await syncDirectory(path.dirname(place))
        await reserve.afterRemoval()
      } catch (error) {
        const code = systemCode(error)
        if (code === 'ENOENT' || code === 'ENOTDIR') return
        throw asStorageFailure(error, key)
      }
    },
  }
}
