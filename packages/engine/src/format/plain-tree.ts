/**
 * Reads a tree in its text. Almost all directories hold nothing but files, directories and links with plain names, written as
 * restic writes them, and nothing is wrong with them; to see that takes a sixth of the time of making a node of each.
 */
import type { BlobId } from '../repository/types.ts'

const BEGINNING = '{"nodes":['
const END = ']}\n'
const TIME = '"[-0-9T:.+Z]{20,64}"'
/** Below 2^32, and below 2^64. */
const UINT32 = '(?:\\d{1,9}|[1-3]\\d{9})'
const UINT64 = '\\d{1,19}'
/** What stands for itself in JSON, and in the quotes of Go. */
const PLAIN = '[ !#-[\\]-~]'

const START_OF_NODE = new RegExp(
  `\\{"name":"([ !#-.0-[\\]-~]{1,255})","type":"(file|dir|symlink)"(?:,"mode":${UINT32})?,"mtime":${TIME},"atime":${TIME},"ctime":${TIME}` +
  `,"uid":${UINT32},"gid":${UINT32}(?:,"user":"${PLAIN}{1,64}")?(?:,"group":"${PLAIN}{1,64}")?(?:,"inode":${UINT64})?(?:,"device_id":${UINT64})?` +
  `(?:,"size":(\\d{1,15}))?(?:,"links":(${UINT64}))?(?:,"linktarget":"${PLAIN}{1,4096}")?,"content":`, 'y')
const ID = /"[0-9a-f]{64}"/y
const SUBTREE = /null,"subtree":"[0-9a-f]{64}"\}/y
const ID_LENGTH = 64

export interface PlainTree {
  /** In the order of their names. */
  readonly directories: readonly { readonly name: string, readonly subtree: BlobId }[]
  readonly files: number
  /** What the files say of their lengths, together. */
  readonly bytes: number
  /** Whether anything in it has several names. */
  readonly hasLinks: boolean
}

/**
 * What a tree holds in which every name is fit and in its place. Undefined as soon as anything is out of the ordinary: then
 * `decodeTree` has to say what it is.
 * @param plainLengthOf if given, every piece of every file must be known to it, and each file be as long as its pieces are together
 */
export function readPlainTree(bytes: Uint8Array, plainLengthOf?: (id: BlobId) => number | undefined): PlainTree | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  // What is not ASCII matches nowhere.
  const text = buffer.toString('latin1')
  if (!text.startsWith(BEGINNING) || !text.endsWith(END)) return undefined
  const end = text.length - END.length
  const directories: { name: string, subtree: BlobId }[] = []
  let files = 0
  let fileBytes = 0
  let hasLinks = false
  let previous = ''
  let at = BEGINNING.length
  while (at < end) {
    START_OF_NODE.lastIndex = at
    const [node, name = '', type, size = '0', links = '1'] = START_OF_NODE.exec(text) ?? []
    if (node === undefined || name === '.' || name === '..' || name <= previous) return undefined
    previous = name
    at += node.length
    if (type === 'dir') {
      SUBTREE.lastIndex = at
      if (!SUBTREE.test(text)) return undefined
      at = SUBTREE.lastIndex
      // Copies: parts of the text would keep all of it in memory.
      directories.push({ name: Buffer.from(name, 'latin1').toString('latin1'), subtree: buffer.toString('latin1', at - 2 - ID_LENGTH, at - 2) as BlobId })
    } else if (type === 'symlink') {
      if (!text.startsWith('null}', at)) return undefined
      at += 5
      hasLinks ||= links !== '1'
    } else {
      let length = 0
      if (text[at] !== '[') return undefined
      at += 1
      while (text[at] !== ']') {
        ID.lastIndex = at
        if (!ID.test(text)) return undefined
        if (plainLengthOf !== undefined) {
          const pieceLength = plainLengthOf(text.slice(at + 1, at + 1 + ID_LENGTH) as BlobId)
          if (pieceLength === undefined) return undefined
          length += pieceLength
        }
        at += ID_LENGTH + 2
        if (text[at] === ',' && text[at + 1] === '"') at += 1
        else if (text[at] !== ']') return undefined
      }
      if (text[at + 1] !== '}' || (plainLengthOf !== undefined && length !== Number(size))) return undefined
      at += 2
      files += 1
      fileBytes += Number(size)
      hasLinks ||= links !== '1'
    }
    if (at === end) break
    // Another node must follow.
    if (text[at] !== ',' || at + 1 === end) return undefined
    at += 1
  }
  return { directories, files, bytes: fileBytes, hasLinks }
}
