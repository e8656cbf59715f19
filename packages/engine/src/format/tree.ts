/**
 * Trees: what one directory held, as restic stores it. The id of a tree is the hash of its exact
 * bytes, and some commands of restic refuse a tree that they would write differently, so the encoder
 * writes what the newest restic writes and the decoder loses nothing of what any restic wrote. The
 * one exception are link targets by releases before 0.16, which lost bytes that are not UTF-8 themselves.
 */
import { isUtf8 } from 'node:buffer'
import { Failure } from '../failure.ts'
import type { BlobId } from '../repository/types.ts'
import { JsonReader } from './tree-reader.ts'
import { encodeJsonString, encodeName, unquoteName } from './tree-text.ts'

export type NodeType = 'file' | 'dir' | 'symlink' | 'dev' | 'chardev' | 'fifo' | 'socket' | 'irregular'

export interface ExtendedAttribute {
  readonly name: string
  readonly value: Buffer
}

/** One entry of a directory. Numbers the kernel gives in 64 bits are bigint, and 0 when absent. */
export interface TreeNode {
  /** The bytes of the name, as the file system has them. */
  readonly name: Buffer
  /** One of `NodeType`, or a word that only a newer restic knows. */
  readonly type: NodeType | (string & {})
  /** Go's file mode; `chmodBitsFrom` turns it into the kernel's. */
  readonly mode: number
  /** RFC 3339 with up to nine digits after the second; see `parseTreeTime`. */
  readonly mtime: string
  readonly atime: string
  readonly ctime: string
  readonly uid: number
  readonly gid: number
  /** Empty when the system had no name for the number. */
  readonly user: string
  readonly group: string
  readonly inode: bigint
  /** The file system's device; present only where it is needed to recognise hard links. */
  readonly deviceId: bigint
  /** Bytes of content. */
  readonly size: bigint
  readonly links: bigint
  /** Where a symbolic link points to; empty for all others. */
  readonly linkTarget: Buffer
  readonly extendedAttributes: readonly ExtendedAttribute[]
  /** What other systems than Unix keep: JSON text by name. */
  readonly genericAttributes: ReadonlyMap<string, string>
  /** The number of a device node, as `lstat` gives it in `rdev`. */
  readonly device: bigint
  /** The data blobs of a file in order; null for everything else. */
  readonly content: readonly BlobId[] | null
  /** The tree of a directory. */
  readonly subtree: BlobId | undefined
  /** What restic could not read of it; empty when all is well. */
  readonly error: string
}

const NO_BYTES = Buffer.alloc(0)
const NO_ATTRIBUTES: readonly ExtendedAttribute[] = []
const NO_GENERIC_ATTRIBUTES: ReadonlyMap<string, string> = new Map()
const NO_TIME = '0001-01-01T00:00:00Z'

const BLANK: TreeNode = {
  name: NO_BYTES,
  type: 'file',
  mode: 0,
  mtime: NO_TIME,
  atime: NO_TIME,
  ctime: NO_TIME,
  uid: 0,
  gid: 0,
  user: '',
  group: '',
  inode: 0n,
  deviceId: 0n,
  size: 0n,
  links: 0n,
  linkTarget: NO_BYTES,
  extendedAttributes: NO_ATTRIBUTES,
  genericAttributes: NO_GENERIC_ATTRIBUTES,
  device: 0n,
  content: null,
  subtree: undefined,
  error: '',
}

/** A node of the given fields; the others are empty. */
export function treeNode(fields: Partial<TreeNode> & Pick<TreeNode, 'name' | 'type'>): TreeNode {
  return { ...BLANK, ...fields }
}

/** Whether two nodes say the same; those with extended or generic attributes never do. */
export function isSameNode(a: TreeNode, b: TreeNode): boolean {
  return (
    a.type === b.type && a.inode === b.inode && a.mtime === b.mtime && a.ctime === b.ctime && a.atime === b.atime && a.subtree === b.subtree &&
    a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.user === b.user && a.group === b.group && a.size === b.size &&
    a.links === b.links && a.deviceId === b.deviceId && a.device === b.device && a.error === b.error && a.content === b.content &&
    a.name.equals(b.name) && a.linkTarget.equals(b.linkTarget) &&
    a.extendedAttributes.length === 0 && b.extendedAttributes.length === 0 && a.genericAttributes.size === 0 && b.genericAttributes.size === 0
  )
}

/** Orders names as a tree must hold them: by their bytes. */
export function compareNames(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

const PIECE_LENGTH = 1 << 20

/** The bytes of a tree; its id is their SHA-256. The nodes must be in strictly ascending order of names. */
export function encodeTree(nodes: readonly TreeNode[]): Buffer {
  const pieces: Buffer[] = []
  let text = '{"nodes":['
  let previous: Buffer | undefined
  for (const node of nodes) {
    if (previous !== undefined) {
      if (compareNames(previous, node.name) >= 0) {
        throw new Error(`The nodes of a tree are out of order at '${node.name.toString()}'.`)
      }
      text += ','
    }
    previous = node.name
    text += encodeNode(node)
    // A directory of millions of files is longer than a string may be.
    if (text.length > PIECE_LENGTH) {
      pieces.push(Buffer.from(text))
      text = ''
    }
  }
  const last = Buffer.from(`${text}]}\n`)
  return pieces.length === 0 ? last : Buffer.concat([...pieces, last])
}

function encodeNode(node: TreeNode): string {
  let text = `{"name":${encodeName(node.name)},"type":${encodeJsonString(node.type)}`
  if (node.mode !== 0) text += `,"mode":${node.mode}`
  text += `,"mtime":"${node.mtime}","atime":"${node.atime}","ctime":"${node.ctime}","uid":${node.uid},"gid":${node.gid}`
  if (node.user !== '') text += `,"user":${encodeJsonString(node.user)}`
  if (node.group !== '') text += `,"group":${encodeJsonString(node.group)}`
  if (node.inode !== 0n) text += `,"inode":${node.inode}`
  if (node.deviceId !== 0n) text += `,"device_id":${node.deviceId}`
  if (node.size !== 0n) text += `,"size":${node.size}`
  if (node.links !== 0n) text += `,"links":${node.links}`
  if (node.linkTarget.length > 0) text += encodeLinkTarget(node.linkTarget)
  if (node.extendedAttributes.length > 0) {
    const attributes = node.extendedAttributes.map(
      ({ name, value }) => `{"name":${encodeJsonString(name)},"value":"${value.toString('base64')}"}`,
    )
    text += `,"extended_attributes":[${attributes.join(',')}]`
  }
  if (node.genericAttributes.size > 0) {
    const attributes = Array.from(node.genericAttributes, ([name, json]) => `${encodeJsonString(name)}:${json}`)
    text += `,"generic_attributes":{${attributes.join(',')}}`
  }
  if (node.device !== 0n) text += `,"device":${node.device}`
  text += `,"content":${encodeContent(node.content)}`
  if (node.subtree !== undefined) text += `,"subtree":"${node.subtree}"`
  if (node.error !== '') text += `,"error":${encodeJsonString(node.error)}`
  return `${text}}`
}

function encodeContent(content: readonly BlobId[] | null): string {
  if (content === null) return 'null'
  return content.length === 0 ? '[]' : `["${content.join('","')}"]`
}

function encodeLinkTarget(target: Buffer): string {
  if (isUtf8(target)) return `,"linktarget":${encodeJsonString(target.toString())}`
  return `,"linktarget":"${encodeLossyText(target)}","linktarget_raw":"${target.toString('base64')}"`
}

/** Go writes every byte that is not UTF-8 as an escape, but a real replacement character as itself. */
function encodeLossyText(bytes: Buffer): string {
  let text = ''
  let at = 0
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    const character = bytes.subarray(at, at + length)
    if (character.length === length && isUtf8(character)) {
      text += encodeJsonString(character.toString()).slice(1, -1)
      at += length
    } else {
      text += '\\ufffd'
      at += 1
    }
  }
  return text
}

/**
 * The nodes of a tree in the order of its bytes, which only `check` judges: a reader that depends on
 * it must see for itself. Names may be anything a hostile writer likes. Fields that no restic of
 * today writes are dropped. Throws `repository.damaged` when the bytes are no tree.
 */
export function decodeTree(bytes: Uint8Array): TreeNode[] {
  return decodeTreePlaces(bytes).nodes
}

/** The nodes, and where each of them begins in the bytes. */
export function decodeTreePlaces(bytes: Uint8Array): { readonly nodes: TreeNode[], readonly starts: number[] } {
  const starts: number[] = []
  const nodes: TreeNode[] = []
  try {
    const reader = new JsonReader(bytes)
    reader.readObject((field) => {
      if (field === 'nodes') reader.readList(() => {
        starts.push(reader.place())
        nodes.push(readNode(reader))
      })
      else reader.readRaw()
    })
    reader.readEnd()
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new Failure('repository.damaged', { reason: `A directory's tree cannot be read: ${error.message}` }, { cause: error })
  }
  return { nodes, starts }
}

type MutableNode = { -readonly [Field in keyof TreeNode]: TreeNode[Field] }

function readNode(reader: JsonReader): TreeNode {
  const node: MutableNode = { ...BLANK }
  reader.readObject((field) => {
    // As Go reads it, null leaves any field empty.
    if (!reader.skipNull()) readField(reader, node, field)
  })
  return node
}

function readField(reader: JsonReader, node: MutableNode, field: string): void {
  switch (field) {
    case 'name': {
      const name = unquoteName(reader.readStringBytes())
      if (name === undefined) throw new SyntaxError('A name is quoted wrongly.')
      node.name = name
      return
    }
    case 'type': node.type = reader.readString(); return
    case 'mode': node.mode = reader.readUint32(); return
    case 'mtime': node.mtime = readTime(reader); return
    case 'atime': node.atime = readTime(reader); return
    case 'ctime': node.ctime = readTime(reader); return
    case 'uid': node.uid = reader.readUint32(); return
    case 'gid': node.gid = reader.readUint32(); return
    case 'user': node.user = reader.readString(); return
    case 'group': node.group = reader.readString(); return
    case 'inode': node.inode = reader.readUint64(); return
    case 'device_id': node.deviceId = reader.readUint64(); return
    case 'size': node.size = reader.readUint64(); return
    case 'links': node.links = reader.readUint64(); return
    // The raw form follows the lossy one, and replaces it.
    case 'linktarget': node.linkTarget = reader.readStringBytes(); return
    case 'linktarget_raw': node.linkTarget = Buffer.from(reader.readString(), 'base64'); return
    case 'extended_attributes': node.extendedAttributes = readAttributes(reader); return
    case 'generic_attributes': node.genericAttributes = readGenericAttributes(reader); return
    case 'device': node.device = reader.readUint64(); return
    case 'content': node.content = readContent(reader); return
    case 'subtree': node.subtree = reader.readHash() as BlobId; return
    case 'error': node.error = reader.readString(); return
    default: reader.readRaw()
  }
}

/** Times go back into a tree as they are, so nothing but a time may pass. */
function readTime(reader: JsonReader): string {
  const text = reader.readString()
  if (!/^[-0-9T:.+Z]{20,64}$/.test(text)) throw new SyntaxError('A time is written wrongly.')
  return text
}

function readContent(reader: JsonReader): BlobId[] {
  const content: BlobId[] = []
  reader.readList(() => content.push(reader.readHash() as BlobId))
  return content
}

function readAttributes(reader: JsonReader): ExtendedAttribute[] {
  const attributes: ExtendedAttribute[] = []
  reader.readList(() => {
    let name = ''
    let value = NO_BYTES
    reader.readObject((field) => {
      if (reader.skipNull()) return
      if (field === 'name') name = reader.readString()
      else if (field === 'value') value = Buffer.from(reader.readString(), 'base64')
      else reader.readRaw()
    })
    attributes.push({ name, value })
  })
  return attributes
}

function readGenericAttributes(reader: JsonReader): Map<string, string> {
  const attributes = new Map<string, string>()
  reader.readObject((name) => attributes.set(name, reader.readRaw().toString()))
  return attributes
}
