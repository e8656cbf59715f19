import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Failure } from '../failure.ts'
import { encodeTree } from '../format/tree.ts'
import { findStatus, makeNode, readOwnerNames, setTimes, S_IFIFO } from '../posix/posix.ts'
import { DataMap, hasHoles } from './data-map.ts'
import { describe, kindOf, textOfFile } from './describe.ts'
import { hasChanged, openSource, openSourceDirectory } from './open-source.ts'
import { readAt, readNow, readPieces } from './read-source.ts'
import { asSourceFailure, fileCodeOf } from './source-errors.ts'

function scratch(t: TestContext): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-source-'))
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

function openFile(t: TestContext, bytes: Uint8Array): number {
  const path = join(scratch(t), 'file')
  fs.writeFileSync(path, bytes)
  const descriptor = fs.openSync(path, 'r')
  t.after(() => fs.closeSync(descriptor))
  return descriptor
}

test('links are not followed, fifos not waited for, and what is open is judged by itself', (t) => {
  const directory = scratch(t)
  fs.writeFileSync(join(directory, 'file'), 'content')
  fs.symlinkSync('file', join(directory, 'link'))
  fs.symlinkSync('.', join(directory, 'link to a directory'))
  makeNode(Buffer.from(join(directory, 'fifo')), S_IFIFO | 0o600, 0n)
  {
    using fifo = openSource(join(directory, 'fifo'))
    assert.equal(kindOf(fifo.stat.mode), 'fifo')
    using file = openSource(Buffer.from(join(directory, 'file')))
    assert.equal(kindOf(file.stat.mode), 'file')
    using opened = openSourceDirectory(directory)
    assert.equal(kindOf(opened.stat.mode), 'dir')
  }
  assert.throws(() => openSource(join(directory, 'link')), { code: 'ELOOP' })
  assert.throws(() => openSourceDirectory(join(directory, 'link to a directory')), { code: 'ENOTDIR' })
  assert.throws(() => openSourceDirectory(join(directory, 'file')), { code: 'ENOTDIR' })
})

test('reading leaves no trace in the access time of a file that is ours', (t) => {
  const path = join(scratch(t), 'file')
  fs.writeFileSync(path, 'content')
  setTimes(Buffer.from(path), { accessedNs: 5n, modifiedNs: 1_000_000_000_000_000_000n })
  {
    using source = openSource(path)
    const buffer = Buffer.alloc(100)
    assert.equal(buffer.toString('utf8', 0, readNow(source.descriptor, buffer)), 'content')
  }
  assert.equal(fs.statSync(path, { bigint: true }).atimeNs, 5n)
})

test('writing to a file and changing its attributes count as changes, reading does not', (t) => {
  const path = join(scratch(t), 'file')
  fs.writeFileSync(path, 'content')
  setTimes(Buffer.from(path), { accessedNs: 0n, modifiedNs: 0n })
  const before = fs.statSync(path, { bigint: true })
  fs.readFileSync(path)
  assert.equal(hasChanged(before, fs.statSync(path, { bigint: true })), false)
  fs.appendFileSync(path, '!')
  assert.equal(hasChanged(before, fs.statSync(path, { bigint: true })), true)
})

test('pieces follow each other without gaps, from one place to another or to the end', async (t) => {
  const data = Buffer.from(Uint8Array.from({ length: 3_500_000 }, (_, index) => (index * 7 + (index >> 11)) & 0xff))
  const descriptor = openFile(t, data)
  for (const [from, to] of [[0, Infinity], [0, data.length], [1_048_575, 2_097_153], [17, 18], [data.length, Infinity], [5, 5]] as const) {
    const pieces: Buffer[] = []
    for await (const piece of readPieces(descriptor, from, to)) pieces.push(Buffer.from(piece))
    assert.ok(Buffer.concat(pieces).equals(data.subarray(from, to)), `${from} to ${to}`)
  }
  // Given up early, it leaves nothing behind that still reads.
  for await (const piece of readPieces(descriptor, 0, Infinity)) {
    assert.ok(piece.length > 0)
    break
  }
  const buffer = Buffer.alloc(100)
  assert.equal(await readAt(descriptor, buffer, data.length - 40), 40)
  assert.ok(buffer.subarray(0, 40).equals(data.subarray(-40)))
})

test('errors of reading come from the call that waits, whenever they happen', async () => {
  await assert.rejects(async () => {
    for await (const piece of readPieces(99_999, 0, Infinity)) assert.fail(`read ${piece.length} bytes of nothing`)
  }, { code: 'EBADF' })
})

test('holes are told from data', (t) => {
  const path = join(scratch(t), 'sparse')
  const descriptor = fs.openSync(path, 'w+')
  t.after(() => fs.closeSync(descriptor))
  const mebibyte = 1 << 20
  fs.ftruncateSync(descriptor, 10 * mebibyte)
  fs.writeSync(descriptor, Buffer.alloc(mebibyte, 1), 0, mebibyte, 4 * mebibyte)
  fs.fsyncSync(descriptor)
  assert.ok(hasHoles(fs.fstatSync(descriptor, { bigint: true })))
  const map = new DataMap(descriptor, 10 * mebibyte)
  const answers = Array.from({ length: 10 }, (_, index) => map.isHole(index * mebibyte, (index + 1) * mebibyte))
  assert.deepEqual(answers, [true, true, true, true, false, true, true, true, true, true])
})

test('a node says of a file what stat says', (t) => {
  const path = join(scratch(t), 'file')
  fs.writeFileSync(path, 'content')
  fs.linkSync(path, `${path} again`)
  fs.chmodSync(path, 0o4751)
  setTimes(Buffer.from(path), { accessedNs: 1n, modifiedNs: 1_234_567_890_123_456_789n })
  const stat = fs.lstatSync(path, { bigint: true })
  const owners = { userName: (uid: number) => `user ${uid}`, groupName: (gid: number) => `group ${gid}` }
  const node = describe(Buffer.from('file'), 'file', stat, owners)
  assert.deepEqual([node.mtime, node.atime], ['2009-02-13T23:31:30.123456789Z', '2009-02-13T23:31:30.123456789Z'])
  assert.deepEqual([node.user, node.group], [`user ${stat.uid}`, `group ${stat.gid}`])
  assert.deepEqual([node.inode, node.deviceId, node.links, node.device], [stat.ino, stat.dev, 2n, 0n])
  assert.equal(node.mode, 2 ** 23 + 0o751)
  fs.rmSync(`${path} again`)
  assert.equal(describe(Buffer.from('file'), 'file', fs.lstatSync(path, { bigint: true }), owners).deviceId, 0n)
})

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code, syscall: 'open' })
}

test('only what concerns one file alone is taken for its own error', () => {
  assert.equal(fileCodeOf(systemError('EIO')), 'EIO')
  assert.throws(() => fileCodeOf(systemError('EMFILE')), { code: 'source.unreadable' })
  const failure = new Failure('storage.full')
  assert.throws(() => fileCodeOf(failure), failure)
  assert.deepEqual(
    ['ENOENT', 'ENOTDIR', 'EACCES', 'ENXIO'].map((code) => asSourceFailure(systemError(code), '/x').code),
    ['source.missing', 'source.wrong_kind', 'source.unreadable', 'source.missing'],
  )
})

test('the text of a file is how a tree begins the node that is made of it', (t) => {
  const directory = scratch(t)
  const descriptor = fs.openSync(directory, fs.constants.O_DIRECTORY)
  t.after(() => fs.closeSync(descriptor))
  const owners = readOwnerNames()
  const names = ['plain', 'a "quoted" <name>', 'ünïcode 字', Buffer.of(0x66, 0xff, 0xfe), 'n'.repeat(255), 'line\nbreak']
  const times = [0n, 1n, -1n, 1_700_000_000_000_000_000n, 1_700_000_000_120_000_000n, 1_753_000_000_123_456_789n, 8_000_000_000_000_000_000n]
  for (const [i, each] of names.entries()) {
    for (const [j, modifiedNs] of times.entries()) {
      const name = Buffer.from(each)
      const place = Buffer.concat([Buffer.from(`${directory}/`), name])
      fs.writeFileSync(place, 'x'.repeat(i * j), { mode: 0o600 + i + j })
      setTimes(place, { accessedNs: 5n, modifiedNs })
      const stat = fs.lstatSync(place, { bigint: true })
      const status = findStatus(descriptor, name.toString('latin1'))
      assert.ok(status !== undefined)
      const node = { ...describe(name, 'file', stat, owners), size: stat.size, content: [] }
      assert.equal(`{"nodes":[${textOfFile(name.toString('latin1'), status, owners)}]}]}\n`, encodeTree([node]).toString())
    }
  }
  fs.mkdirSync(join(directory, 'directory'))
  fs.linkSync(join(directory, 'plain'), join(directory, 'second name'))
  for (const name of ['directory', 'plain']) {
    const status = findStatus(descriptor, name)
    assert.ok(status !== undefined)
    assert.equal(textOfFile(name, status, owners), undefined)
  }
  assert.equal(findStatus(descriptor, 'missing'), undefined)
})
