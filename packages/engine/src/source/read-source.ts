import * as fs from 'node:fs'

/** Bytes per read of a long file. */
const PIECE_BYTES = 1024 * 1024

/** Fills a buffer from the start of a file, at once; returns the bytes got, fewer only at the end. */
export function readNow(descriptor: number, buffer: Buffer): number {
  let filled = 0
  while (filled < buffer.length) {
    const count = fs.readSync(descriptor, buffer, filled, buffer.length - filled, filled)
    if (count === 0) break
    filled += count
  }
  return filled
}

/** Fills a buffer from a place in a file without blocking the thread; returns the bytes got, fewer only at the end. */
export function readAt(descriptor: number, buffer: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let filled = 0
    const readOn = (): void => {
      fs.read(descriptor, buffer, filled, buffer.length - filled, position + filled, (error, count) => {
        if (error !== null) return reject(error)
        filled += count
        if (count === 0 || filled === buffer.length) resolve(filled)
        else readOn()
      })
    }
    readOn()
  })
}

/**
 * The content of a file from one position to another, or to its end. The next piece is read while one
 * is used; a piece is valid only until the one after it is asked for.
 */
export async function* readPieces(descriptor: number, from: number, to: number): AsyncGenerator<Uint8Array, void, undefined> {
  let position = from
  let current = Buffer.allocUnsafeSlow(PIECE_BYTES)
  let next = Buffer.allocUnsafeSlow(PIECE_BYTES)
  const read = (buffer: Buffer) => {
    const piece = readAt(descriptor, buffer.subarray(0, Math.min(buffer.length, to - position)), position)
    // It may fail while nobody waits for it yet.
    piece.catch(() => undefined)
    return piece
  }
  let reading = read(current)
  try {
    for (;;) {
      const count = await reading
      if (count === 0) return
      const piece = current.subarray(0, count)
      position += count
      ;[current, next] = [next, current]
      reading = read(current)
      yield piece
    }
  } finally {
    // The descriptor may be closed and given to another file once this has ended.
    await reading.catch(() => 0)
  }
}
