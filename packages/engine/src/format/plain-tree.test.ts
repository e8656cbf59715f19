import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BlobId } from '../repository/types.ts'
import { Failure } from '../failure.ts'
import { readPlainTree } from './plain-tree.ts'
import { compareNames, decodeTree, encodeTree, treeNode, type TreeNode } from './tree.ts'

const id = (digit: string) => digit.repeat(64) as BlobId
const LENGTHS: ReadonlyMap<BlobId, number> = new Map([[id('a'), 100], [id('b'), 7]])
const plainLengthOf = (blobId: BlobId) => LENGTHS.get(blobId)
const common = { mode: 0o644, mtime: '2026-01-02T03:04:05.123456789Z', uid: 1000, gid: 1000, user: 'someone', inode: 2n ** 63n, links: 1n }
const nodes: TreeNode[] = [
  treeNode({ ...common, name: Buffer.from('a'), type: 'dir', mode: 2 ** 31 + 0o755, subtree: id('1') }),
  treeNode({ ...common, name: Buffer.from('b two'), type: 'file', size: 107n, content: [id('a'), id('b')] }),
  treeNode({ ...common, name: Buffer.from('c'), type: 'file', content: [], deviceId: 5n }),
  treeNode({ ...common, name: Buffer.from('d'), type: 'symlink', linkTarget: Buffer.from('../elsewhere') }),
  treeNode({ ...common, name: Buffer.from('e'), type: 'dir', group: 'others', subtree: id('2') }),
]

/** The same judgement by way of the nodes; undefined for a tree that is not whole. */
function judgeNodes(bytes: Uint8Array): BlobId[] | undefined {
  let decoded: TreeNode[]
  try {
    decoded = decodeTree(bytes)
  } catch (error) {
    if (error instanceof Failure) return undefined
    throw error
  }
  const isWhole = decoded.every((node, i) => {
    const previous = decoded[i - 1]
    const text = node.name.toString('latin1')
    if (['', '.', '..'].includes(text) || /[/\0]/.test(text) || (previous !== undefined && compareNames(previous.name, node.name) >= 0)) return false
    if (node.type === 'dir') return node.subtree !== undefined
    if (node.type !== 'file') return node.type === 'symlink'
    const lengths = node.content?.map(plainLengthOf)
    return lengths?.every((length) => length !== undefined) === true && BigInt(lengths.reduce((sum, length) => sum + length, 0)) === node.size
  })
  return isWhole ? decoded.flatMap(({ type, subtree }) => (type === 'dir' && subtree !== undefined ? [subtree] : [])) : undefined
}

const subtreesIn = (bytes: Uint8Array) => readPlainTree(bytes, plainLengthOf)?.directories.map(({ subtree }) => subtree)

test('a plain tree that is whole names its subtrees, and what it holds', () => {
  const directories = [{ name: 'a', subtree: id('1') }, { name: 'e', subtree: id('2') }]
  assert.deepEqual(readPlainTree(encodeTree(nodes), plainLengthOf), { directories, files: 2, bytes: 107, hasLinks: false })
  assert.deepEqual(readPlainTree(encodeTree([]), plainLengthOf), { directories: [], files: 0, bytes: 0, hasLinks: false })
  const linked = treeNode({ ...common, name: Buffer.from('b'), type: 'file', size: 5n, links: 2n, content: [id('c')] })
  assert.deepEqual(readPlainTree(encodeTree([linked])), { directories: [], files: 1, bytes: 5, hasLinks: true })
})

test('no change of any byte is passed over that the nodes would show', () => {
  const bytes = encodeTree(nodes)
  let passed = 0
  for (let at = 0; at < bytes.length; at += 1) {
    const was = bytes[at] ?? 0
    for (const byte of [was ^ 1, was ^ 0x20, was ^ 0x80, 0, 0x22, 0x2c, 0x2e, 0x2f, 0x30, 0x39, 0x5c, 0x5d, 0x61, 0x7d]) {
      bytes[at] = byte
      const judged = subtreesIn(bytes)
      if (judged !== undefined) {
        passed += 1
        assert.deepEqual(judged, judgeNodes(bytes), `byte ${byte} at ${at}`)
      }
    }
    bytes[at] = was
    assert.equal(readPlainTree(bytes.subarray(0, at), plainLengthOf), undefined)
  }
  // Many are other names, numbers and times.
  assert(passed > 1000)
})

test('what is out of the ordinary is left to those who look closer', () => {
  const [directory, file] = nodes
  assert(directory !== undefined && file !== undefined)
  const attribute = { name: 'user.a', value: Buffer.from('b') }
  for (const unusual of [
    { ...file, content: [id('c')] }, { ...file, content: null }, { ...file, size: 106n }, { ...file, name: Buffer.from('ä') }, { ...file, name: Buffer.from('a"b') },
    { ...file, type: 'fifo' }, { ...file, extendedAttributes: [attribute] }, { ...directory, subtree: undefined }, { ...directory, name: Buffer.from('..') },
    { ...directory, name: Buffer.from('a/b') }, { ...directory, error: 'unreadable' },
  ]) assert.equal(readPlainTree(encodeTree([unusual]), plainLengthOf), undefined)
})
