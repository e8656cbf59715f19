import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import {
  closeDescriptor, findDataRegion, findDescriptor, findOpenStatus, findStatus, findXattr, listDirectory, listXattrs, makeNode, pathIn, punchHole, readOwnerNames, removeXattr, S_IFCHR, S_IFIFO,
  setTimes, setXattr, sizeOf,
} from './posix.ts'

function scratch(t: { after(hook: () => void): void }): Buffer {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'opencbr-posix-'))
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }))
  return Buffer.from(directory)
}

function under(directory: Buffer, name: Uint8Array | string): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), Buffer.from(name)])
}

test('extended attributes are listed, read, set and removed, also on names that are not UTF-8', (t) => {
  const file = under(scratch(t), Uint8Array.of(0x66, 0xff, 0xfe))
  fs.writeFileSync(file, 'x')
  assert.deepEqual(listXattrs(file), [])
  setXattr(file, Buffer.from('user.empty'), Buffer.alloc(0))
  setXattr(file, Buffer.from('user.binary'), Uint8Array.of(0, 255, 0))
  assert.deepEqual(listXattrs(file).map(String).sort(), ['user.binary', 'user.empty'])
  assert.deepEqual(findXattr(file, Buffer.from('user.binary')), Buffer.of(0, 255, 0))
  assert.deepEqual(findXattr(file, Buffer.from('user.empty')), Buffer.alloc(0))
  assert.equal(findXattr(file, Buffer.from('user.other')), undefined)
  removeXattr(file, Buffer.from('user.empty'))
  assert.deepEqual(listXattrs(file).map(String), ['user.binary'])
  assert.throws(() => removeXattr(file, Buffer.from('user.empty')), { code: 'ENODATA' })
})

test('a descriptor stands for the very file, whatever its name has become', (t) => {
  const directory = scratch(t)
  const file = under(directory, 'file')
  const descriptor = fs.openSync(file, 'wx')
  try {
    fs.renameSync(file, under(directory, 'renamed'))
    fs.writeFileSync(file, 'another')
    setXattr(descriptor, Buffer.from('user.name'), Buffer.from('value'))
    setTimes(descriptor, { accessedNs: 1n, modifiedNs: 1_000_000_002n })
    assert.deepEqual(listXattrs(descriptor).map(String), ['user.name'])
    assert.deepEqual(findXattr(descriptor, Buffer.from('user.name')), Buffer.from('value'))
    assert.deepEqual(listXattrs(file), [])
    assert.equal(fs.fstatSync(descriptor, { bigint: true }).mtimeNs, 1_000_000_002n)
    removeXattr(descriptor, Buffer.from('user.name'))
    assert.deepEqual(listXattrs(descriptor), [])
    assert.throws(() => findXattr(99_999, Buffer.from('user.name')), { code: 'ENOENT', path: 'descriptor 99999' })
  } finally {
    fs.closeSync(descriptor)
  }
})

test('a descriptor of a symbolic link stands for the link, not for what it names', (t) => {
  const directory = scratch(t)
  const file = under(directory, 'file')
  const link = under(directory, 'link')
  fs.writeFileSync(file, '')
  setTimes(file, { accessedNs: 7n, modifiedNs: 7n })
  fs.symlinkSync('file', link)
  const pathOnly = 0o10000000
  const descriptor = fs.openSync(link, pathOnly | fs.constants.O_NOFOLLOW)
  try {
    setTimes(descriptor, { accessedNs: 1n, modifiedNs: 1_000_000_002n })
    assert.equal(fs.lstatSync(link, { bigint: true }).mtimeNs, 1_000_000_002n)
    assert.equal(fs.lstatSync(file, { bigint: true }).mtimeNs, 7n)
    assert.deepEqual(listXattrs(descriptor), [])
  } finally {
    fs.closeSync(descriptor)
  }
})

test('errors carry the code, the call and the path, as those of Node do', (t) => {
  const missing = under(scratch(t), 'missing')
  const facts = { code: 'ENOENT', errno: -2, path: missing.toString() }
  assert.throws(() => listXattrs(missing), { ...facts, syscall: 'listxattr' })
  assert.throws(() => setTimes(missing, { accessedNs: 0n, modifiedNs: 0n }), { ...facts, syscall: 'utimens' })
  assert.throws(() => listXattrs(Buffer.from('/etc\0/passwd')), { code: 'EINVAL' })
})

test('times keep their nanoseconds, before 1970 too, and a symbolic link has its own', (t) => {
  const directory = scratch(t)
  const file = under(directory, 'file')
  const link = under(directory, 'link')
  fs.writeFileSync(file, '')
  fs.symlinkSync('file', link)
  setTimes(file, { accessedNs: 1_700_000_000_123_456_789n, modifiedNs: 1_700_000_001_987_654_321n })
  setTimes(link, { accessedNs: 5n, modifiedNs: -1n })
  const ofFile = fs.lstatSync(file, { bigint: true })
  const ofLink = fs.lstatSync(link, { bigint: true })
  assert.equal(ofFile.atimeNs, 1_700_000_000_123_456_789n)
  assert.equal(ofFile.mtimeNs, 1_700_000_001_987_654_321n)
  assert.equal(ofLink.atimeNs, 5n)
  assert.equal(ofLink.mtimeNs, -1n)
})

test('fifos and devices are made with their type and number, and never over something', (t) => {
  const directory = scratch(t)
  const fifo = under(directory, 'fifo')
  makeNode(fifo, S_IFIFO | 0o600, 0n)
  assert.ok(fs.lstatSync(fifo).isFIFO())
  assert.throws(() => makeNode(fifo, S_IFIFO | 0o600, 0n), { code: 'EEXIST', syscall: 'mknodat' })
  if (process.getuid?.() !== 0) return
  const device = under(directory, 'null')
  makeNode(device, S_IFCHR | 0o600, 0x103n)
  const stat = fs.lstatSync(device, { bigint: true })
  assert.ok(stat.isCharacterDevice())
  assert.equal(stat.rdev, 0x103n)
})

test('data regions and punched holes of a sparse file are found', (t) => {
  const file = under(scratch(t), 'sparse')
  const descriptor = fs.openSync(file, 'w+')
  t.after(() => fs.closeSync(descriptor))
  const mebibyte = 1 << 20
  fs.ftruncateSync(descriptor, 8 * mebibyte)
  assert.equal(sizeOf(descriptor), 8 * mebibyte)
  assert.equal(findDataRegion(descriptor, 0, 8 * mebibyte), undefined)
  fs.writeSync(descriptor, Buffer.alloc(2 * mebibyte, 1), 0, 2 * mebibyte, 4 * mebibyte)
  const region = findDataRegion(descriptor, 0, 8 * mebibyte)
  assert.ok(region !== undefined && region.start <= 4 * mebibyte && region.end >= 6 * mebibyte)
  punchHole(descriptor, 4 * mebibyte, 2 * mebibyte)
  assert.equal(findDataRegion(descriptor, 0, 8 * mebibyte), undefined)
  assert.equal(sizeOf(descriptor), 8 * mebibyte)
})

test('a name in an open directory is reached whatever happens to the path of the directory', (t) => {
  const directory = scratch(t)
  fs.mkdirSync(under(directory, 'before'))
  fs.writeFileSync(under(directory, 'before/file'), 'inside')
  const descriptor = fs.openSync(under(directory, 'before'), fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW)
  t.after(() => fs.closeSync(descriptor))
  fs.renameSync(under(directory, 'before'), under(directory, 'after'))
  assert.equal(fs.readFileSync(pathIn(descriptor, Buffer.from('file')), 'utf8'), 'inside')
})

test('owner names come from the first entry of a number, and are empty when unknown', (t) => {
  const directory = scratch(t)
  const users = under(directory, 'passwd').toString()
  const groups = under(directory, 'group').toString()
  fs.writeFileSync(users, 'root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\n+::::::\n')
  fs.writeFileSync(groups, 'staff:x:50:\n')
  const names = readOwnerNames({ users, groups })
  assert.deepEqual([names.userName(0), names.userName(7), names.groupName(50)], ['root', '', 'staff'])
  assert.equal(readOwnerNames({ users: `${users}.none`, groups }).userName(0), '')
})

test('loading prints nothing, and other warnings still come through', () => {
  const module = path.join(import.meta.dirname, 'posix.ts')
  const script = `import ${JSON.stringify(module)}; process.emitWarning('still here')`
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  assert.equal(run.stdout, '')
  assert.match(run.stderr, /Warning: still here/)
  assert.doesNotMatch(run.stderr, /Experimental/)
})

test('a directory is listed in the order of its bytes, however many names it has and of whatever bytes, and its files are told from others', (t) => {
  const directory = scratch(t)
  const files = [Uint8Array.of(0x66, 0xff), Buffer.from('ä'), ...Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i} ${'x'.repeat(i % 200)}`))].map((name) => Buffer.from(name))
  for (const name of files) fs.writeFileSync(under(directory, name), '')
  fs.mkdirSync(under(directory, 'below'))
  fs.symlinkSync('nowhere', under(directory, 'link'))
  const descriptor = fs.openSync(directory, fs.constants.O_DIRECTORY)
  try {
    const listed = listDirectory(descriptor)
    const expected = [...files, Buffer.from('below'), Buffer.from('link')].sort(Buffer.compare).map((name) => name.toString('latin1'))
    assert.deepEqual(listed.names, expected)
    // Some file systems do not say it of any.
    if (listed.files.size > 0) assert.deepEqual([...listed.files].sort(), files.map((name) => name.toString('latin1')).sort())
  } finally {
    fs.closeSync(descriptor)
  }
  assert.throws(() => listDirectory(99_999), { code: 'EBADF' })
})

test('a name is opened in its directory, and what is open is described like the name', (t) => {
  const directory = scratch(t)
  const name = Buffer.of(0x66, 0xff)
  fs.writeFileSync(under(directory, name), 'content')
  fs.symlinkSync(name, under(directory, 'link'))
  const held = fs.openSync(directory, fs.constants.O_DIRECTORY)
  const { O_RDONLY, O_NOFOLLOW } = fs.constants
  const descriptor = findDescriptor(held, name.toString('latin1'), O_RDONLY | O_NOFOLLOW)
  try {
    assert(descriptor !== undefined)
    assert.equal(fs.readFileSync(descriptor, 'utf8'), 'content')
    const status = findOpenStatus(descriptor)
    assert.deepEqual(status, findStatus(held, name.toString('latin1')))
    const { size, mtimeNs, ino } = fs.fstatSync(descriptor, { bigint: true })
    assert.equal(BigInt(status?.size ?? 0), size)
    assert.equal(BigInt(status?.inode ?? 0), ino)
    assert.equal(BigInt(status?.mtimeSeconds ?? 0) * 1_000_000_000n + BigInt(status?.mtimeNanoseconds ?? 0), mtimeNs)
    for (const other of ['link', 'missing', 'x'.repeat(256)]) assert.equal(findDescriptor(held, other, O_RDONLY | O_NOFOLLOW), undefined)
  } finally {
    if (descriptor !== undefined) closeDescriptor(descriptor)
    fs.closeSync(held)
  }
})
