import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, createChunker } from './chunker.ts'
import { isIrreducible, randomPolynomial, remainder } from './polynomial.ts'

const POLYNOMIAL = 0x3da3358b4dc173n
const WINDOW_BYTES = 64

/** Deterministic bytes without structure. */
function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

async function* pieces(data: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size)
}

async function lengths(data: Uint8Array, pieceBytes: number): Promise<number[]> {
  const found: number[] = []
  let at = 0
  for await (const chunk of createChunker(POLYNOMIAL)(pieces(data, pieceBytes))) {
    assert.deepEqual(Buffer.compare(chunk, data.subarray(at, at + chunk.length)), 0)
    found.push(chunk.length)
    at += chunk.length
  }
  assert.equal(at, data.length)
  return found
}

/** The definition, by division instead of tables: the fingerprint of the 64 bytes before a position. */
function fingerprint(window: Uint8Array): bigint {
  let rest = 0n
  for (const byte of window) rest = remainder((rest << 8n) | BigInt(byte), POLYNOMIAL)
  return rest
}

test('every cut but the last is where the masked fingerprint of the window is zero, and no piece size moves it', async () => {
  const data = noise(12_000_000, 7)
  const found = await lengths(data, 65_536)
  assert.ok(found.length > 3)
  let end = 0
  for (const length of found.slice(0, -1)) {
    end += length
    assert.ok(length >= CHUNK_BYTES_MIN && length <= CHUNK_BYTES_MAX)
    if (length < CHUNK_BYTES_MAX) assert.equal(fingerprint(data.subarray(end - WINDOW_BYTES, end)) & 0xfffffn, 0n)
  }
  assert.deepEqual(await lengths(data, 1_000_003), found)
  assert.deepEqual(await lengths(data, data.length), found)
})

test('zeros are cut at the minimum, endless repetition at the maximum, and short streams stay whole', async () => {
  assert.deepEqual(await lengths(new Uint8Array(CHUNK_BYTES_MIN * 3 + 5), 100_000), [CHUNK_BYTES_MIN, CHUNK_BYTES_MIN, CHUNK_BYTES_MIN, 5])
  assert.deepEqual(await lengths(new Uint8Array(CHUNK_BYTES_MAX + 5).fill(1), 100_000), [CHUNK_BYTES_MAX, 5])
  assert.deepEqual(await lengths(noise(CHUNK_BYTES_MIN - 1, 1), 4096), [CHUNK_BYTES_MIN - 1])
  assert.deepEqual(await lengths(new Uint8Array(0), 4096), [])
})

test('polynomials are irreducible, of degree 53', () => {
  assert.ok(isIrreducible(POLYNOMIAL))
  assert.ok(!isIrreducible(POLYNOMIAL ^ 1n))
  const made = randomPolynomial()
  assert.equal(made >> 53n, 1n)
  assert.ok(isIrreducible(made))
})
