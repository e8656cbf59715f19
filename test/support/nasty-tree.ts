/**
 * Makes a directory with everything that backups have been seen to get wrong: all kinds of files,
 * names that are not text, links, holes, attributes, owners, and times from before 1970. As root it
 * also holds devices, foreign owners and trusted attributes.
 */
import { createCipheriv } from 'node:crypto'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { makeNode, setTimes, setXattr, S_IFBLK, S_IFCHR, S_IFIFO } from '../../packages/engine/src/posix/posix.ts'

const MEBIBYTE = 1 << 20

/** The same bytes for the same seed, as hard to compress as random ones. */
export function pseudoRandomBytes(length: number, seed: number): Buffer {
  const key = Buffer.alloc(32, seed & 0xff)
  key.writeUInt32LE(seed >>> 0, 0)
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

/** The path of a name, given as text or as bytes, in a directory. */
export function inDirectory(directory: Buffer, name: string | Uint8Array): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), Buffer.from(name)])
}

/** Names that trees must quote, escape or order with care; all legal on Linux. */
export const nastyNames: readonly (string | Uint8Array)[] = [
  ' ', '-', '.hidden', '..almost', '~', '*?[a-z]', '$(rm -rf)', 'trailing ', 'comma,colon:', 'percent%41',
  'tab\t', 'line\nbreak', 'return\r', 'bell\u0007', 'backspace\b', 'feed\f', 'vertical\v', 'escape\u001b[31m', 'delete\u007f',
  'quote"', "apostrophe'", 'back\\slash', '\\x41', '\\u0041', 'less<more>and&', 'plus+', 'accent\u0301', 'caf\u00e9', 'soft\u00adhyphen',
  'c1\u0085', 'nbsp\u00a0', 'line\u2028separator', 'paragraph\u2029', 'zero\u200bwidth', 'rtl\u202eoverride', 'replacement\ufffd', 'bom\ufeff',
  'private\ue000', 'compat\ufb01', 'high\uffee', 'astral\u{10000}', 'emoji\u{1f600}', 'newer emoji\u{1fae0}', 'unassigned\u{323b0}', 'last\u{10ffff}',
  '\u65e5\u672c\u8a9e', '\u0395\u03bb\u03bb', '\u05d0\u05d1', 'a', 'a.b', 'a-b', 'ab', 'A', 'Z'.repeat(255), '\u{1f4a9}'.repeat(63),
  Uint8Array.of(0x80), Uint8Array.of(0xff, 0xfe), Uint8Array.of(0x66, 0xc3), Uint8Array.of(0xc0, 0xaf), Uint8Array.of(0xed, 0xa0, 0x80),
  Uint8Array.of(0xf4, 0x90, 0x80, 0x80), Uint8Array.of(0xe2, 0x82, 0x41), Uint8Array.of(0xf0, 0x9f, 0x98), Uint8Array.of(0x61, 0xff, 0x0a, 0x22, 0x5c),
]

/** Fills an existing, empty directory. Resolves when everything is there. */
export async function makeNastyTree(directory: Buffer): Promise<void> {
  makeNames(directory)
  makeContents(directory)
  makeLinks(directory)
  await makeSpecialFiles(directory)
  makeAttributes(directory)
  makeOwners(directory)
  makeTimes(directory)
}

function makeNames(directory: Buffer): void {
  const names = inDirectory(directory, 'names')
  fs.mkdirSync(names)
  for (const [index, name] of nastyNames.entries()) fs.writeFileSync(inDirectory(names, name), `content ${index}`)
  const folders = inDirectory(directory, 'folders')
  fs.mkdirSync(folders)
  for (const name of nastyNames.slice(0, 60)) {
    const folder = inDirectory(folders, name)
    fs.mkdirSync(folder)
    fs.writeFileSync(inDirectory(folder, name), Buffer.from(name))
  }
  let deep = inDirectory(directory, 'deep')
  for (let level = 0; level < 40; level += 1) {
    fs.mkdirSync(deep)
    deep = inDirectory(deep, `level ${level}`)
  }
  fs.writeFileSync(deep, 'bottom')
}

function makeContents(directory: Buffer): void {
  const contents = inDirectory(directory, 'contents')
  fs.mkdirSync(contents)
  fs.mkdirSync(inDirectory(contents, 'empty directory'))
  fs.writeFileSync(inDirectory(contents, 'empty'), '')
  fs.writeFileSync(inDirectory(contents, 'one byte'), 'x')
  fs.writeFileSync(inDirectory(contents, 'exactly 512 KiB'), pseudoRandomBytes(MEBIBYTE / 2, 1))
  fs.writeFileSync(inDirectory(contents, 'many chunks'), pseudoRandomBytes(11 * MEBIBYTE + 12_345, 2))
  fs.writeFileSync(inDirectory(contents, 'compressible'), 'the same line again and again\n'.repeat(50_000))
  fs.writeFileSync(inDirectory(contents, 'zeros'), Buffer.alloc(3 * MEBIBYTE))
  const sparse = fs.openSync(inDirectory(contents, 'sparse'), 'w')
  fs.ftruncateSync(sparse, 40 * MEBIBYTE)
  fs.writeSync(sparse, 'in the middle', 17 * MEBIBYTE + 123)
  fs.closeSync(sparse)
  fs.truncateSync(inDirectory(contents, 'one byte'), 1)
  const onlyHole = fs.openSync(inDirectory(contents, 'only a hole'), 'w')
  fs.ftruncateSync(onlyHole, 9 * MEBIBYTE + 7)
  fs.closeSync(onlyHole)
}

function makeLinks(directory: Buffer): void {
  const links = inDirectory(directory, 'links')
  fs.mkdirSync(links)
  fs.writeFileSync(inDirectory(links, 'first name'), 'shared content')
  fs.linkSync(inDirectory(links, 'first name'), inDirectory(links, 'second name'))
  fs.linkSync(inDirectory(links, 'first name'), inDirectory(directory, 'third name'))
  const targets: readonly (string | Uint8Array)[] = [
    'first name', '/absolute/and/missing', '..', 'loop-6', 'back\b\f\t"<&>\\ \u2028', '\u65e5\u672c', 'replacement\ufffd',
    Uint8Array.of(0x2f, 0xff, 0xfe, 0x61), Uint8Array.of(0xed, 0xa0, 0x80, 0x22, 0x08), `${'long/'.repeat(300)}end`,
  ]
  for (const [index, target] of targets.entries()) fs.symlinkSync(Buffer.from(target), inDirectory(links, `loop-${index}`))
  fs.linkSync(inDirectory(links, 'loop-0'), inDirectory(links, 'another name of a symbolic link'))
}

async function makeSpecialFiles(directory: Buffer): Promise<void> {
  const special = inDirectory(directory, 'special')
  fs.mkdirSync(special)
  makeNode(inDirectory(special, 'fifo'), S_IFIFO | 0o644, 0n)
  makeNode(inDirectory(special, 'fifo for all'), S_IFIFO | 0o600, 0n)
  fs.chmodSync(inDirectory(special, 'fifo for all'), 0o666)
  if (process.getuid?.() === 0) {
    makeNode(inDirectory(special, 'character device'), S_IFCHR | 0o620, 0x0103n)
    // Major 259, minor 70,000: both need more than eight bits.
    makeNode(inDirectory(special, 'block device'), S_IFBLK | 0o600, (259n << 8n) | (70_000n & 0xffn) | ((70_000n & 0xfff00n) << 12n))
  }
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject)
    server.listen(`${special.toString()}/socket`, resolve)
  })
  // The socket's name goes with the server, so another name keeps it.
  fs.linkSync(inDirectory(special, 'socket'), inDirectory(special, 'abandoned socket'))
  await new Promise((resolve) => server.close(resolve))
}

function makeAttributes(directory: Buffer): void {
  const attributes = inDirectory(directory, 'attributes')
  fs.mkdirSync(attributes)
  const file = inDirectory(attributes, 'file')
  fs.writeFileSync(file, 'with attributes')
  setXattr(file, Buffer.from('user.text'), Buffer.from('value'))
  setXattr(file, Buffer.from('user.empty'), Buffer.alloc(0))
  setXattr(file, Buffer.from('user.binary'), Buffer.of(0, 1, 254, 255))
  setXattr(file, Buffer.from('user.n\u00e4me <&>"'), Buffer.from('odd name'))
  setXattr(attributes, Buffer.from('user.of.directory'), pseudoRandomBytes(300, 3))
  const withAcl = inDirectory(attributes, 'with access list')
  fs.writeFileSync(withAcl, 'x')
  setXattr(withAcl, Buffer.from('system.posix_acl_access'), accessList(0o640, 1234, 0o6))
  setXattr(attributes, Buffer.from('system.posix_acl_default'), accessList(0o750, 4321, 0o5))
  for (const [name, mode] of [['setuid', 0o4755], ['setgid', 0o2750], ['sticky', 0o1777], ['none', 0], ['all', 0o7777]] as const) {
    fs.writeFileSync(inDirectory(attributes, name), name)
    fs.chmodSync(inDirectory(attributes, name), mode)
  }
  fs.mkdirSync(inDirectory(attributes, 'sticky directory'))
  fs.chmodSync(inDirectory(attributes, 'sticky directory'), 0o3777)
  if (process.getuid?.() !== 0) return
  setXattr(file, Buffer.from('trusted.secret'), Buffer.from('for root'))
  setXattr(inDirectory(directory, 'links/loop-0'), Buffer.from('trusted.of.link'), Buffer.from('on the link itself'))
  setXattr(inDirectory(directory, 'special/fifo'), Buffer.from('trusted.of.fifo'), Buffer.from('on the fifo'))
}

/** The kernel's form of a POSIX access list with one named user besides owner, group and others. */
function accessList(mode: number, uid: number, permissions: number): Buffer {
  const entries: readonly (readonly [tag: number, permissions: number, id: number])[] = [
    [0x01, (mode >> 6) & 7, 0xffff_ffff], [0x02, permissions, uid], [0x04, (mode >> 3) & 7, 0xffff_ffff],
    [0x10, 7, 0xffff_ffff], [0x20, mode & 7, 0xffff_ffff],
  ]
  const list = Buffer.alloc(4 + entries.length * 8)
  list.writeUInt32LE(2, 0)
  for (const [index, [tag, bits, id]] of entries.entries()) {
    list.writeUInt16LE(tag, 4 + index * 8)
    list.writeUInt16LE(bits, 6 + index * 8)
    list.writeUInt32LE(id, 8 + index * 8)
  }
  return list
}

function makeOwners(directory: Buffer): void {
  if (process.getuid?.() !== 0) return
  const owners = inDirectory(directory, 'owners')
  fs.mkdirSync(owners)
  for (const [uid, gid] of [[0, 0], [1, 2], [65_534, 65_534], [12_345, 54_321], [4_294_967_294, 4_000_000_000]] as const) {
    const file = inDirectory(owners, `${uid} and ${gid}`)
    fs.writeFileSync(file, '')
    fs.chownSync(file, uid, gid)
  }
  fs.lchownSync(inDirectory(directory, 'links/loop-1'), 7, 8)
}

function makeTimes(directory: Buffer): void {
  const times = inDirectory(directory, 'times')
  fs.mkdirSync(times)
  const moments: Readonly<Record<string, bigint>> = {
    'epoch': 0n, 'before': -1n, '1901': -2_147_483_648_000_000_000n + 123_456_789n, 'nanoseconds': 1_700_000_000_123_456_789n,
    'tenth': 1_700_000_000_100_000_000n, 'after 2038': 4_294_967_296_000_000_001n, 'year 2400': 13_569_465_600_500_000_000n,
  }
  for (const [name, modifiedNs] of Object.entries(moments)) {
    fs.writeFileSync(inDirectory(times, name), name)
    setTimes(inDirectory(times, name), { accessedNs: 1_600_000_000_000_000_001n, modifiedNs })
  }
  setTimes(inDirectory(directory, 'links/loop-2'), { accessedNs: 5n, modifiedNs: 987_654_321n })
  setTimes(inDirectory(directory, 'special/fifo'), { accessedNs: 5n, modifiedNs: 1_234_567_890_987_654_321n })
  setTimes(inDirectory(directory, 'contents/empty directory'), { accessedNs: 5n, modifiedNs: 1_111_111_111_111_111_111n })
  setTimes(times, { accessedNs: 5n, modifiedNs: 1_222_222_222_222_222_222n })
}
