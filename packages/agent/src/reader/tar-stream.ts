/**
 * A directory as a tar archive in the pax form of POSIX.1-2001, written as it is read.
 *
 * What the old header cannot hold stands in a pax header before it: long and non-ASCII names, sizes
 * from 8 GiB, times below the second, large ids, and extended attributes under `SCHILY.xattr.`, where GNU tar,
 * bsdtar and star look for them. Names that are not UTF-8 are given byte for byte, and say so by `hdrcharset=BINARY`.
 * Sockets cannot be in an archive and are left out, as tar does.
 */
import { chmodBitsFrom, parseTreeTime, type TreeNode } from '@opencbr/engine'
import { isUtf8 } from 'node:buffer'

const BLOCK = 512
const OCTAL_SIZE_MAX = 0o77777777777
const OCTAL_ID_MAX = 0o7777777
const NAME_MAX = 100
const NANOSECONDS = 1_000_000_000n
/** Names of files with several links that are remembered; the content of further ones is written again. */
const LINKS_MAX = 200_000

const TYPE_FLAGS: Readonly<Record<string, string>> = { file: '0', symlink: '2', chardev: '3', dev: '4', dir: '5', fifo: '6' }

export interface ArchiveEntry {
  /** Relative, without a slash at either end. */
  readonly path: Buffer
  readonly node: TreeNode
  /** The bytes of a file, exactly `size` of them. */
  readonly content: () => Promise<{ readonly size: number, readonly pieces: AsyncIterable<Uint8Array> }>
}

export async function* tarStream(entries: AsyncIterable<ArchiveEntry>): AsyncGenerator<Uint8Array> {
  const firstPaths = new Map<string, Buffer>()
  for await (const { path, node, content } of entries) {
    const flag = TYPE_FLAGS[node.type]
    if (flag === undefined) continue
    if (node.type !== 'file') {
      yield header(node, { path: node.type === 'dir' ? Buffer.concat([path, Buffer.from('/')]) : path, flag, size: 0, link: node.linkTarget })
      continue
    }
    const linkKey = node.links > 1n && node.inode !== 0n ? `${node.deviceId}:${node.inode}` : undefined
    const first = linkKey === undefined ? undefined : firstPaths.get(linkKey)
    if (first !== undefined) {
      yield header(node, { path, flag: '1', size: 0, link: first })
      continue
    }
    if (linkKey !== undefined && firstPaths.size < LINKS_MAX) firstPaths.set(linkKey, path)
    const { size, pieces } = await content()
    yield header(node, { path, flag, size, link: undefined })
    yield* pieces
    const rest = size % BLOCK
    if (rest > 0) yield Buffer.alloc(BLOCK - rest)
  }
  // Two empty blocks end an archive, and the last record of 10 KiB need not be full.
  yield Buffer.alloc(2 * BLOCK)
}

interface Place {
  readonly path: Buffer
  readonly flag: string
  readonly size: number
  readonly link: Buffer | undefined
}

/** Whether a text needs more than the old header gives it, which has ASCII only. */
function isLong(bytes: Buffer): boolean {
  return bytes.length > NAME_MAX || bytes.some((byte) => byte >= 0x80)
}

function header(node: TreeNode, { path, flag, size, link }: Place): Buffer {
  const time = parseTreeTime(node.mtime) ?? 0n
  const seconds = time / NANOSECONDS - (time % NANOSECONDS < 0n ? 1n : 0n)
  const records: Buffer[] = []
  const hasLink = link !== undefined && link.length > 0
  const isBinary = !isUtf8(path) || (hasLink && !isUtf8(link))
  if (isBinary) records.push(record('hdrcharset', Buffer.from('BINARY')))
  if (isLong(path)) records.push(record('path', path))
  if (hasLink && isLong(link)) records.push(record('linkpath', link))
  if (size > OCTAL_SIZE_MAX) records.push(record('size', Buffer.from(String(size))))
  if (time % NANOSECONDS !== 0n || seconds < 0n || seconds > BigInt(OCTAL_SIZE_MAX)) records.push(record('mtime', Buffer.from(decimal(time))))
  if (node.uid > OCTAL_ID_MAX) records.push(record('uid', Buffer.from(String(node.uid))))
  if (node.gid > OCTAL_ID_MAX) records.push(record('gid', Buffer.from(String(node.gid))))
  for (const [name, text] of [['uname', node.user], ['gname', node.group]] as const) {
    if (isLong(Buffer.from(text)) || text.length > 31) records.push(record(name, Buffer.from(text)))
  }
  if (flag !== '1') {
    for (const { name, value } of node.extendedAttributes) if (!name.includes('=')) records.push(record(`SCHILY.xattr.${name}`, value))
  }
  const octalSeconds = seconds < 0n || seconds > BigInt(OCTAL_SIZE_MAX) ? 0 : Number(seconds)
  const plain = block({ path, mode: chmodBitsFrom(node.mode), uid: node.uid, gid: node.gid, size, seconds: octalSeconds, flag, link, node })
  if (records.length === 0) return plain
  const body = Buffer.concat(records)
  const paxPath = Buffer.concat([Buffer.from('PaxHeaders/'), path.subarray(Math.max(0, path.length - 80))])
  const pax = block({ path: paxPath, mode: 0o644, uid: 0, gid: 0, size: body.length, seconds: octalSeconds, flag: 'x', link: undefined, node: undefined })
  return Buffer.concat([pax, body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK), plain])
}

interface Fields {
  readonly path: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly seconds: number
  readonly flag: string
  readonly link: Buffer | undefined
  readonly node: TreeNode | undefined
}

function block({ path, mode, uid, gid, size, seconds, flag, link, node }: Fields): Buffer {
  const bytes = Buffer.alloc(BLOCK)
  path.copy(bytes, 0, 0, Math.min(path.length, NAME_MAX))
  octal(bytes, mode, 100, 8)
  octal(bytes, uid > OCTAL_ID_MAX ? 0 : uid, 108, 8)
  octal(bytes, gid > OCTAL_ID_MAX ? 0 : gid, 116, 8)
  octal(bytes, size > OCTAL_SIZE_MAX ? 0 : size, 124, 12)
  octal(bytes, seconds, 136, 12)
  bytes.write(flag, 156, 'latin1')
  if (link !== undefined) link.copy(bytes, 157, 0, Math.min(link.length, NAME_MAX))
  bytes.write('ustar\u000000', 257, 'latin1')
  if (node !== undefined) {
    bytes.write(node.user, 265, 31, 'utf8')
    bytes.write(node.group, 297, 31, 'utf8')
    if (flag === '3' || flag === '4') {
      octal(bytes, majorOf(node.device), 329, 8)
      octal(bytes, minorOf(node.device), 337, 8)
    }
  }
  bytes.fill(' ', 148, 156)
  let sum = 0
  for (const byte of bytes) sum += byte
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}

function octal(bytes: Buffer, value: number, at: number, length: number): void {
  bytes.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
}

/** `<length> <name>=<value>\n`, the length counting itself. */
function record(name: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${name}=`), value, Buffer.from('\n')])
  let length = rest.length
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

function decimal(nanoseconds: bigint): string {
  const sign = nanoseconds < 0n ? '-' : ''
  const positive = nanoseconds < 0n ? -nanoseconds : nanoseconds
  const fraction = String(positive % NANOSECONDS).padStart(9, '0').replace(/0+$/, '')
  return `${sign}${positive / NANOSECONDS}${fraction === '' ? '' : `.${fraction}`}`
}

/** Linux keeps twelve bits of the major number and twenty of the minor one, in pieces. */
function majorOf(device: bigint): number {
  return Number((device >> 8n) & 0xfffn)
}

function minorOf(device: bigint): number {
  return Number((device & 0xffn) | ((device >> 12n) & 0xfff00n))
}
