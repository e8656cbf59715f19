import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadForeignFunctions } from '../foreign-functions.ts'
import { openDirect, writeToDisk } from './content-file.ts'

const BLOCK = 4096
const ffi = loadForeignFunctions()
assert(ffi !== undefined)
const { getRawPointer } = ffi

/** Zeros, a little data, zeros, much data, and some blocks at the end that differ from call to call. */
function fill(bytes: Uint8Array, seed: number): void {
  bytes.fill(0)
  bytes.fill(1 + seed, 2 * BLOCK, 4 * BLOCK)
  for (let at = 40 * BLOCK; at < bytes.length; at += 1) bytes[at] = 1 + ((Math.imul(at, 0x9e3779b1) >>> 24) ^ seed) % 255
}

/** Memory that begins so many bytes behind the beginning of a block. */
function memoryAt(behind: number, length: number): Uint8Array {
  const memory = new ArrayBuffer(length + 2 * BLOCK)
  return new Uint8Array(memory, BLOCK - Number(getRawPointer(memory) % BigInt(BLOCK)) + behind, length)
}

test('what is written for the disk is the same from any memory, to any place, beside other writes, with and without a direct way', async () => {
  const directory = fs.mkdtempSync(join(os.tmpdir(), 'opencbr-test-'))
  try {
    const length = 256 * BLOCK
    for (const hasDirect of [true, false]) {
      const path = join(directory, `file-${hasDirect}`)
      const descriptor = fs.openSync(path, 'wx+')
      const direct = hasDirect ? openDirect(descriptor) : undefined
      const expected = Buffer.alloc(12 * length)
      const writes = Array.from({ length: 12 }, async (_, i) => {
        // Misaligned memory, a misaligned place, and a length that is no whole block each come up.
        const bytes = memoryAt(i % 3 === 1 ? 16 : 0, i % 4 === 2 ? length - 100 : length - BLOCK)
        const offset = i * length + (i % 4 === 3 ? 8 : 0)
        fill(bytes, i)
        expected.set(bytes, offset)
        await writeToDisk(descriptor, direct, bytes, offset)
      })
      await Promise.all(writes)
      fs.fsyncSync(descriptor)
      fs.closeSync(descriptor)
      if (direct !== undefined) fs.closeSync(direct)
      const found = Buffer.concat([fs.readFileSync(path), Buffer.alloc(expected.length)]).subarray(0, expected.length)
      assert.equal(Buffer.compare(found, expected), 0)
      assert(fs.statSync(path).blocks * 512 < 11 * length, 'what is zero stays a hole')
    }
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
})

test('an error of a direct write comes from its promise', async () => {
  const descriptor = fs.openSync('/dev/full', 'r+')
  try {
    const bytes = memoryAt(0, 64 * BLOCK)
    fill(bytes, 1)
    await assert.rejects(async () => writeToDisk(descriptor, descriptor, bytes, 0), { code: 'ENOSPC' })
  } finally {
    fs.closeSync(descriptor)
  }
})
