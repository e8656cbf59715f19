import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isBootableDisk } from './boot-signature.ts'

const SECTOR = 512

async function judge(disk: Buffer): Promise<boolean> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'opencbr-boot-'))
  try {
    await fs.writeFile(join(folder, 'disk'), disk)
    return await isBootableDisk(join(folder, 'disk'))
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

function withMark(disk: Buffer): Buffer {
  disk.writeUInt16BE(0x55aa, 510)
  return disk
}

function swapped(hex = ''): Uint8Array {
  return Buffer.from(hex, 'hex').toReversed()
}

/** A partition table whose entry `place` has a type, given as its text reads. */
function withPartition(type: string, place: number): Buffer {
  const disk = withMark(Buffer.alloc(40 * SECTOR))
  disk.write('EFI PART', SECTOR, 'latin1')
  disk.writeBigUInt64LE(2n, SECTOR + 72)
  disk.writeUInt32LE(128, SECTOR + 80)
  disk.writeUInt32LE(128, SECTOR + 84)
  const [a, b, c, ...rest] = type.split('-')
  Buffer.concat([swapped(a), swapped(b), swapped(c), Buffer.from(rest.join(''), 'hex')]).copy(disk, 2 * SECTOR + place * 128)
  return disk
}

test('a boot sector needs its mark and code', async () => {
  assert.equal(await judge(Buffer.alloc(SECTOR)), false)
  assert.equal(await judge(withMark(Buffer.alloc(SECTOR))), false)
  assert.equal(await judge(withMark(Buffer.alloc(SECTOR, 1))), true)
  assert.equal(await judge(Buffer.alloc(SECTOR, 1)), false)
  assert.equal(await judge(Buffer.alloc(0)), false)
})

test('a partition table needs an EFI system partition', async () => {
  const efi = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'
  assert.equal(await judge(withPartition(efi, 0)), true)
  assert.equal(await judge(withPartition(efi, 100)), true)
  assert.equal(await judge(withPartition('0fc63daf-8483-4772-8e79-3d69d8477de4', 0)), false)
})

test('a table that says nonsense about itself is looked at no further', async () => {
  const disk = withPartition('0fc63daf-8483-4772-8e79-3d69d8477de4', 0)
  disk.writeBigUInt64LE(2n ** 60n, SECTOR + 72)
  disk.writeUInt32LE(2 ** 32 - 1, SECTOR + 80)
  assert.equal(await judge(disk), false)
  disk.writeUInt32LE(0, SECTOR + 84)
  assert.equal(await judge(disk), false)
})
