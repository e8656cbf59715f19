/**
 * Compares two directories in everything that a backup keeps: kinds, permissions, owners, sizes,
 * contents, modification times to the nanosecond, link targets, which names are one file, device
 * numbers and extended attributes. Sockets are passed over, for they are never backed up.
 */
import * as fs from 'node:fs'
import { findXattr, listXattrs } from '../../packages/engine/src/posix/posix.ts'

const BUFFER_BYTES = 1 << 20
const SLASH = Buffer.from('/')

interface Entry {
  readonly path: Buffer
  readonly status: fs.BigIntStats
}

/** What differs, each with its path relative to the two directories; empty when nothing does. */
export function compareTrees(expected: string | Buffer, actual: string | Buffer): string[] {
  const expectedEntries = scan(Buffer.from(expected))
  const actualEntries = scan(Buffer.from(actual))
  const differences: string[] = []
  for (const [key, { path, status }] of expectedEntries) {
    const other = actualEntries.get(key)
    if (other === undefined) differences.push(`${show(key)}: missing`)
    else differences.push(...compareEntries(path, status, other).map((difference) => `${show(key)}: ${difference}`))
  }
  for (const key of actualEntries.keys()) if (!expectedEntries.has(key)) differences.push(`${show(key)}: not expected`)
  const expectedLinks = linkGroups(expectedEntries)
  const actualLinks = linkGroups(actualEntries)
  for (const group of expectedLinks) if (!actualLinks.has(group)) differences.push(`not one file any more: ${group}`)
  for (const group of actualLinks) if (!expectedLinks.has(group)) differences.push(`one file, not expected: ${group}`)
  return differences
}

/** All entries by their relative path, whose bytes are kept as Latin-1 characters; '' is the directory itself. */
function scan(top: Buffer): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  const visit = (path: Buffer, key: string): void => {
    const status = fs.lstatSync(path, { bigint: true })
    if (status.isSocket()) return
    entries.set(key, { path, status })
    if (!status.isDirectory()) return
    for (const name of fs.readdirSync(path, { encoding: 'buffer' })) {
      visit(Buffer.concat([path, SLASH, name]), `${key}/${name.toString('latin1')}`)
    }
  }
  visit(top, '')
  return entries
}

function compareEntries(path: Buffer, status: fs.BigIntStats, other: Entry): string[] {
  const differences: string[] = []
  const note = (what: string, expected: unknown, actual: unknown): void => {
    if (expected !== actual) differences.push(`${what} is ${String(actual)} instead of ${String(expected)}`)
  }
  note('mode', status.mode.toString(8), other.status.mode.toString(8))
  note('owner', status.uid, other.status.uid)
  note('group', status.gid, other.status.gid)
  note('mtime', status.mtimeNs, other.status.mtimeNs)
  note('attributes', attributes(path), attributes(other.path))
  // Comparing further needs two things of one kind.
  if ((status.mode & BigInt(fs.constants.S_IFMT)) !== (other.status.mode & BigInt(fs.constants.S_IFMT))) return differences
  if (status.isSymbolicLink()) note('target', linkTarget(path), linkTarget(other.path))
  if (status.isBlockDevice() || status.isCharacterDevice()) note('device', status.rdev, other.status.rdev)
  if (status.isFile()) {
    note('size', status.size, other.status.size)
    if (status.size === other.status.size) {
      const at = firstDifference(path, other.path)
      if (at !== undefined) differences.push(`content differs at byte ${at}`)
    }
  }
  return differences
}

function linkTarget(path: Buffer): string {
  return fs.readlinkSync(path, 'buffer').toString('latin1')
}

function attributes(path: Buffer): string {
  const texts = listXattrs(path).map((name) => `${name.toString()}=${findXattr(path, name)?.toString('hex') ?? ''}`)
  return texts.sort().join(' ')
}

/** Where two files of the same size first differ, in bytes from their start. */
export function firstDifference(path: string | Buffer, otherPath: string | Buffer): number | undefined {
  const descriptor = fs.openSync(path, 'r')
  const otherDescriptor = fs.openSync(otherPath, 'r')
  try {
    const bytes = Buffer.alloc(BUFFER_BYTES)
    const otherBytes = Buffer.alloc(BUFFER_BYTES)
    for (let offset = 0; ; ) {
      const length = fs.readSync(descriptor, bytes, 0, BUFFER_BYTES, offset)
      const otherLength = fs.readSync(otherDescriptor, otherBytes, 0, BUFFER_BYTES, offset)
      if (length !== otherLength || bytes.compare(otherBytes, 0, length, 0, length) !== 0) {
        let at = 0
        while (at < Math.min(length, otherLength) && bytes[at] === otherBytes[at]) at += 1
        return offset + at
      }
      if (length === 0) return undefined
      offset += length
    }
  } finally {
    fs.closeSync(descriptor)
    fs.closeSync(otherDescriptor)
  }
}

function linkGroups(entries: ReadonlyMap<string, Entry>): Set<string> {
  const groups = new Map<string, string[]>()
  for (const [key, { status }] of entries) {
    if (status.isDirectory() || status.nlink < 2n) continue
    const file = `${status.dev}:${status.ino}`
    const names = groups.get(file)
    if (names === undefined) groups.set(file, [key])
    else names.push(key)
  }
  return new Set([...groups.values()].filter((names) => names.length > 1).map((names) => names.map(show).sort().join(' = ')))
}

function show(key: string): string {
  return key === '' ? '.' : JSON.stringify(Buffer.from(key.slice(1), 'latin1').toString())
}
