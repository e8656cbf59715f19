/**
 * Whether a machine could start from a disk: judged by its first sectors only, as firmware does.
 * Legacy firmware runs the code of a boot sector with the 55 AA mark; UEFI firmware looks in a GUID
 * partition table for an EFI system partition. Nothing says that what lies there works.
 */
import * as fs from 'node:fs/promises'

const SECTOR_BYTES = 512
/** The table's header in sector 1, and its usual 128 entries of 128 bytes. */
const LOOKED_AT_BYTES = 34 * SECTOR_BYTES
const BOOT_CODE_BYTES = 440
/** C12A7328-F81F-11D2-BA4B-00A0C93EC93B, in the mixed byte order of such tables. */
const EFI_SYSTEM_PARTITION = Buffer.from('28732ac11ff8d211ba4b00a0c93ec93b', 'hex')

export async function isBootableDisk(path: string): Promise<boolean> {
  const start = Buffer.alloc(LOOKED_AT_BYTES)
  const file = await fs.open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  try {
    await file.read(start, 0, start.length, 0)
  } finally {
    await file.close()
  }
  return hasBootCode(start) || hasEfiSystemPartition(start)
}

function hasBootCode(start: Buffer): boolean {
  return start.readUInt16BE(510) === 0x55aa && start.subarray(0, BOOT_CODE_BYTES).some((byte) => byte !== 0)
}

function hasEfiSystemPartition(start: Buffer): boolean {
  const header = start.subarray(SECTOR_BYTES, 2 * SECTOR_BYTES)
  if (header.toString('latin1', 0, 8) !== 'EFI PART') return false
  const entriesAt = Number(header.readBigUInt64LE(72)) * SECTOR_BYTES
  const count = header.readUInt32LE(80)
  const entryBytes = header.readUInt32LE(84)
  if (entryBytes < 128) return false
  for (let place = 0; place < count; place += 1) {
    const at = entriesAt + place * entryBytes
    if (at + entryBytes > start.length) return false
    if (start.subarray(at, at + EFI_SYSTEM_PARTITION.length).equals(EFI_SYSTEM_PARTITION)) return true
  }
  return false
}
