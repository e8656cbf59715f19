import { giveBack, JsonPieces } from '../json-pieces.ts'
import { compress, type Encoding } from './compression.ts'

/** An answer's body as it goes out: in one piece, or in several. Bytes and text are JSON already. */
export function bytesOf(body: unknown): Uint8Array | JsonPieces {
  if (body instanceof Uint8Array || body instanceof JsonPieces) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

export function takeInOnePiece(bytes: Uint8Array | JsonPieces): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes
  const whole = bytes.join()
  bytes.letGo()
  return whole
}

export async function takeCompressed(encoding: Encoding, bytes: Uint8Array | JsonPieces): Promise<Uint8Array> {
  const whole = takeInOnePiece(bytes)
  const compressed = await compress(encoding, whole)
  if (whole !== bytes) giveBack(whole)
  return compressed
}
