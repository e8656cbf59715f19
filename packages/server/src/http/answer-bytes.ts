import { JsonPieces } from '../json-pieces.ts'

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
