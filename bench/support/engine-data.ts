/**
 * What the benchmark of the engine backs up, made from numbers alone and so the same on every machine: many small
 * files, a disk with a file system on it, bytes that nothing can compress, and changes of one percent of each.
 *
 * Texts and records are cut out of pools at places that chance chooses, in pieces of a few hundred bytes: long enough
 * to compress as the real thing does, short enough that no program finds whole chunks of them again.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'

const MEBIBYTE = 1 << 20
const POOL_BYTES = 16 * MEBIBYTE
const FILES_PER_FOLDER = 50
const PIECE_BYTES_MIN = 128
const PIECE_BYTES_MASK = 511

const WORDS = 'the of and to in is that for it was on are as with his they at be this from have or by one had not but what all were'.split(' ')

/** Bytes that nothing can compress. */
export function noise(lengthBytes: number, seed: number): Buffer {
  const key = Buffer.alloc(32)
  key.writeUInt32LE(seed, 0)
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(lengthBytes))
}

/** Common words, and now and then one that is rare: compresses to about a third. */
function makeTextPool(): Buffer {
  const choice = noise(POOL_BYTES, 1)
  const pool = Buffer.alloc(POOL_BYTES)
  let filled = 0
  for (let at = 0; filled < POOL_BYTES; at += 1) {
    const number = choice[at] ?? 0
    const word = number < 40 ? number.toString(36) + (choice[at + 1] ?? 0).toString(36) : (WORDS[number % WORDS.length] ?? '')
    filled += pool.write(`${word} `, filled, 'latin1')
  }
  return pool
}

/** Records as programs and databases have them: a counter, a few kinds, a random part, and zeros. */
function makeRecordPool(): Buffer {
  const pool = Buffer.alloc(POOL_BYTES)
  const random = noise(POOL_BYTES / 2, 2)
  for (let at = 0; at < POOL_BYTES; at += 32) {
    pool.writeUInt32LE(at, at)
    pool.writeUInt16LE((random[at / 2] ?? 0) & 31, at + 4)
    random.copy(pool, at + 8, at / 2, at / 2 + 12)
  }
  return pool
}

let pools: { readonly text: Buffer; readonly records: Buffer } | undefined

type Kind = 'text' | 'records' | 'noise'

function content(kind: Kind, lengthBytes: number, seed: number): Buffer {
  if (kind === 'noise') return noise(lengthBytes, seed)
  pools ??= { text: makeTextPool(), records: makeRecordPool() }
  const pool = pools[kind]
  const bytes = Buffer.allocUnsafe(lengthBytes)
  const choice = noise(Math.ceil(lengthBytes / PIECE_BYTES_MIN) * 4, seed)
  let filled = 0
  for (let at = 0; filled < lengthBytes; at += 4) {
    const number = choice.readUInt32LE(at)
    const length = PIECE_BYTES_MIN + (number & PIECE_BYTES_MASK)
    const from = (number >>> 9) % (POOL_BYTES - length)
    filled += pool.copy(bytes, filled, from, from + length)
  }
  return bytes
}

function kindOf(number: number): Kind {
  return number % 4 === 3 ? 'noise' : number % 4 === 1 ? 'records' : 'text'
}

/** Files from a few bytes to 200 KiB, 21 KiB on average, in folders of 50. */
export function makeFiles(directory: string, count: number): void {
  const sizes = noise(count * 2, 3)
  for (let number = 0; number < count; number += 1) {
    if (number % FILES_PER_FOLDER === 0) fs.mkdirSync(folderOf(directory, number), { recursive: true })
    // The exponent is uniform, so that small files are many and big ones few.
    const size = Math.floor(2 ** (4 + (sizes.readUInt16LE(number * 2) / 65_536) * 13.65))
    fs.writeFileSync(join(folderOf(directory, number), `file ${number}`), content(kindOf(number), size, number))
  }
}

function folderOf(directory: string, number: number): string {
  const folder = Math.floor(number / FILES_PER_FOLDER)
  return join(directory, `part ${Math.floor(folder / 20)}`, `folder ${folder}`)
}

/** Writes other content into every hundredth file, other ones in every round. */
export function changeFiles(directory: string, count: number, round: number): void {
  for (let number = round % 100; number < count; number += 100) {
    const path = join(folderOf(directory, number), `file ${number}`)
    fs.writeFileSync(path, content(kindOf(number), fs.statSync(path).size, 1_000_000 * (round + 1) + number))
  }
}

const EPOCH_SECONDS = 1_700_000_000

/** A disk with an ext4 file system of which half is in use, by files of up to 8 MiB; the rest are holes. */
export function makeDisk(path: string, mebibytes: number): void {
  const folder = `${path}.files`
  const wantedBytes = (mebibytes / 2) * MEBIBYTE
  let bytes = 0
  for (let number = 0; bytes < wantedBytes; number += 1) {
    const directory = join(folder, `folder ${number % 40}`)
    fs.mkdirSync(directory, { recursive: true })
    const size = Math.floor(2 ** (12 + (noise(2, number).readUInt16LE(0) / 65_536) * 11))
    const file = join(directory, `file ${number}`)
    fs.writeFileSync(file, content(kindOf(number), size, 20_000_000 + number))
    fs.utimesSync(file, EPOCH_SECONDS, EPOCH_SECONDS)
    bytes += size
  }
  fs.writeFileSync(path, '')
  fs.truncateSync(path, mebibytes * MEBIBYTE)
  const id = '6f70656e-6362-7200-0000-000000000000'
  const made = spawnSync('mkfs.ext4', ['-q', '-F', '-U', id, '-E', `hash_seed=${id},lazy_itable_init=1`, '-d', folder, path], {
    env: { ...process.env, E2FSPROGS_FAKE_TIME: String(EPOCH_SECONDS) }, encoding: 'utf8',
  })
  assert.equal(made.status, 0, `mkfs.ext4 is needed, from e2fsprogs: ${made.error?.message ?? made.stderr}`)
  fs.rmSync(folder, { recursive: true })
}

/** One file of noise in a directory. */
export function makeRandom(directory: string, mebibytes: number): void {
  fs.mkdirSync(directory)
  const file = fs.openSync(join(directory, 'random'), 'wx')
  for (let at = 0; at < mebibytes; at += 1) fs.writeSync(file, noise(MEBIBYTE, 40_000_000 + at))
  fs.closeSync(file)
}

/** Writes other bytes into the first half of a file, one percent of its length in pieces of 256 KiB. */
export function changeFile(path: string, round: number): void {
  const { size } = fs.statSync(path)
  const pieceBytes = 256 * 1024
  const pieces = Math.ceil(size / 100 / pieceBytes)
  const strideBytes = Math.floor(size / 2 / pieces)
  const file = fs.openSync(path, 'r+')
  for (let number = 0; number < pieces; number += 1) {
    const seed = 60_000_000 + round * 10_000 + number
    fs.writeSync(file, content(kindOf(number), pieceBytes, seed), 0, pieceBytes, number * strideBytes + ((round * 4096) % strideBytes))
  }
  fs.closeSync(file)
}
