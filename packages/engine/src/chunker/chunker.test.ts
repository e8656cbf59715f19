import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, createChunker } from './chunker.ts'
import { DATA_AT, instantiateRabin } from './rabin-module.ts'
import { fillTables } from './rabin.ts'
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

/** The same, but only the low 20 bits of it are right: they are linear in the bytes, each of which counts by its place. */
const placeValues = Array.from({ length: WINDOW_BYTES }, (_, place) =>
  Array.from({ length: 256 }).map((__, byte) => Number(remainder(BigInt(byte) << BigInt(8 * place), POLYNOMIAL) & 0xfffffn)),
)

function fastFingerprint(data: Uint8Array, end: number): bigint {
  let low = 0
  for (let place = 0; place < WINDOW_BYTES; place += 1) low ^= placeValues[place]?.[data[end - 1 - place] ?? 0] ?? 0
  return BigInt(low)
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

test('the first place where the masked fingerprint is zero is found, in whichever lane it lies', () => {
  const mask = 0x3fffn
  const data = noise(200_000, 3)
  const cuts: number[] = []
  for (let end = WINDOW_BYTES; end <= data.length; end += 1) {
    if ((fastFingerprint(data, end) & mask) === 0n) cuts.push(end)
  }
  assert.ok(cuts.length > 5)
  const module = instantiateRabin(53, mask, 0, data.length)
  const memory = new Uint8Array(module.memory.buffer)
  fillTables(new BigUint64Array(module.memory.buffer), POLYNOMIAL)
  memory.set(data, DATA_AT)
  for (const from of [WINDOW_BYTES, 1000, 5000, ...cuts.slice(0, -1).flatMap((cut) => [cut - 1, cut, cut + 1])]) {
    for (const to of [from + 100, from + 40_000, data.length]) {
      module.digest.value = fingerprint(data.subarray(from - WINDOW_BYTES, from))
      const first = cuts.find((cut) => cut > from && cut <= Math.min(to, data.length))
      assert.equal(module.scan(DATA_AT + from, DATA_AT + Math.min(to, data.length)), first === undefined ? 0 : DATA_AT + first)
    }
  }
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
