/** Looking into backups and downloading from them, over real HTTP and real vaults. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { crc32, inflateRawSync } from 'node:zlib'
import type { ListBackupFilesAnswer } from '@opencbr/contract'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB

async function backUpFolder(world: BackupService, folder: string): Promise<string> {
  const vaultId = await world.steps.createVault('turbo', [await world.steps.declare(folder)], 'trees')
  const [backup] = await world.steps.backUp(vaultId)
  assert.equal(backup?.status, 'available')
  return backup.id
}

function list(world: BackupService, id: string, query: Readonly<Record<string, string>> = {}): Promise<ListBackupFilesAnswer> {
  return world.steps.get<ListBackupFilesAnswer>(`/x/v1/{project_id}/backups/${id}/files?${new URLSearchParams(query).toString()}`)
}

/** Not by the service's own call, which reads every answer as JSON. */
function download(
  { service }: BackupService, id: string, query: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal,
): Promise<Response> {
  const target = `${service.url}/x/v1/${service.projectId}/backups/${id}/download?${new URLSearchParams(query).toString()}`
  return fetch(target, { headers: { 'x-auth-token': service.token, ...headers }, ...(signal === undefined ? {} : { signal }) })
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer())
}

async function makeTree(root: string): Promise<string> {
  const folder = join(root, 'tree')
  await fs.mkdir(join(folder, 'sub', 'deep'), { recursive: true })
  await fs.writeFile(join(folder, 'empty'), '')
  await fs.writeFile(join(folder, 'text'), 'some text\n', { mode: 0o640 })
  await fs.writeFile(join(folder, 'sub', 'big'), randomBytes(5 * MIB))
  await fs.writeFile(join(folder, 'sub', 'deep', 'ä b%+#.txt'), 'umlaut')
  await fs.writeFile(Buffer.concat([Buffer.from(join(folder, 'sub', 'bad-')), Buffer.from([0xff, 0xfe])]), 'no text')
  await fs.writeFile(join(folder, 'sub', 'back\\slash'), 'slash')
  await fs.writeFile(join(folder, 'sub', `long-${'x'.repeat(180)}`), 'long')
  await fs.symlink('text', join(folder, 'link'))
  await fs.link(join(folder, 'text'), join(folder, 'sub', 'hard'))
  const sparse = await fs.open(join(folder, 'sparse'), 'w')
  await sparse.truncate(20 * MIB)
  await sparse.write('end', 20 * MIB - 3)
  await sparse.close()
  await fs.utimes(join(folder, 'text'), 1_700_000_000.25, 1_700_000_000.25)
  await fs.chmod(join(folder, 'sub', 'deep'), 0o1777)
  return folder
}

function namesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'buffer' }).map((name) => name.toString('latin1')).toSorted()
}

/** The entries of a zip by its central directory, as careful readers find them. */
function readZip(zip: Buffer): Map<string, { readonly content: Buffer, readonly mode: number }> {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  assert.notEqual(end, -1)
  const entries = new Map<string, { content: Buffer, mode: number }>()
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    assert.equal(zip.readUInt32LE(at), 0x02014b50)
    const [method, crc, stored, size] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 16), zip.readUInt32LE(at + 20), zip.readUInt32LE(at + 24)]
    const [nameLength, extraLength, commentLength] = [zip.readUInt16LE(at + 28), zip.readUInt16LE(at + 30), zip.readUInt16LE(at + 32)]
    const mode = zip.readUInt32LE(at + 38) >>> 16
    const local = zip.readUInt32LE(at + 42)
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength)
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
    const raw = zip.subarray(start, start + stored)
    const content = method === 8 ? inflateRawSync(raw) : raw
    assert.deepEqual([content.length, crc32(content)], [size, crc], name)
    entries.set(name, { content, mode })
    at += 46 + nameLength + extraLength + commentLength
  }
  return entries
}

test('a directory is listed in order and by pages, whatever its names are', async () => {
  await using world = await startBackupService()
  const folder = await makeTree(world.root)
  const id = await backUpFolder(world, folder)
  const top = await list(world, id)
  assert.deepEqual([top.path, top.count, top.limit], ['/', 5, 1000])
  assert.deepEqual(top.files.map(({ name, path, type, size, link_target: target }) => [name, path, type, size, target]), [
    ['empty', '/empty', 'file', 0, null],
    ['link', '/link', 'symlink', null, 'text'],
    ['sparse', '/sparse', 'file', 20 * MIB, null],
    ['sub', '/sub', 'directory', null, null],
    ['text', '/text', 'file', 10, null],
  ])
  const text = top.files.find(({ name }) => name === 'text')
  assert.deepEqual([text?.mode, text?.mtime.slice(0, 4)], ['0640', '2023'])

  const names = ['back\\\\slash', 'bad-\\xff\\xfe', 'big', 'deep', 'hard', `long-${'x'.repeat(180)}`]
  const paged: string[] = []
  for (let marker: string | undefined; ;) {
    const page = await list(world, id, { path: '/sub', limit: '2', ...(marker === undefined ? {} : { marker }) })
    assert.equal(page.count, names.length)
    if (page.files.length === 0) break
    paged.push(...page.files.map(({ name }) => name))
    marker = paged.at(-1)
  }
  assert.deepEqual(paged, names)
  assert.deepEqual((await list(world, id, { path: '/sub/deep' })).files.map(({ path }) => path), ['/sub/deep/ä b%+#.txt'])

  const refused = async (path: string, status: number, code: string): Promise<void> => {
    const answer = await world.service.call<{ error_code: string }>('GET', `/x/v1/{project_id}/backups/${path}`)
    assert.deepEqual([answer.status, answer.body.error_code], [status, `BackupService.${code}`], path)
  }
  await refused(`${id}/files?path=sub`, 400, '9900')
  await refused(`${id}/files?path=/sub/../..`, 400, '9900')
  await refused(`${id}/files?path=/%5Cq`, 400, '9900')
  await refused(`${id}/files?path=/text`, 400, '9900')
  await refused(`${id}/files?path=/nothing`, 404, '6200')
  await refused(`${id}/files?path=/text/below`, 404, '6200')
  await refused(`${id}/download?path=/nothing`, 404, '6200')
  await refused(`${id}/download?path=/sub%26format=file`, 404, '6200')
  await refused(`${id}/download?path=/sub&format=file`, 400, '9900')
  await refused(`${id}/download?path=/sub&format=rar`, 400, '9900')
  await refused('0b7e3c0e-54b8-4c0b-b24f-5f9f5f1b3c55/files', 404, '6200')
  await refused('x/files', 400, '9900')
})

test('a file comes back byte for byte, whole and in parts', async () => {
  await using world = await startBackupService()
  const folder = await makeTree(world.root)
  const id = await backUpFolder(world, folder)
  for (const path of ['/empty', '/text', '/sparse', '/sub/big', '/sub/hard', '/sub/deep/ä b%+#.txt']) {
    const answer = await download(world, id, { path })
    const expected = readFileSync(join(folder, path))
    assert.deepEqual([answer.status, answer.headers.get('content-length'), answer.headers.get('accept-ranges')], [200, String(expected.length), 'bytes'])
    assert.ok((await bytesOf(answer)).equals(expected), path)
    assert.match(answer.headers.get('x-request-id') ?? '', /^[0-9a-f]{32}$/)
  }
  assert.equal((await bytesOf(await download(world, id, { path: String.raw`/sub/bad-\xff\xfe` }))).toString(), 'no text')
  assert.equal((await bytesOf(await download(world, id, { path: String.raw`/sub/back\\slash` }))).toString(), 'slash')

  const big = readFileSync(join(folder, 'sub/big'))
  const whole = await download(world, id, { path: '/sub/big' })
  await whole.body?.cancel()
  const etag = whole.headers.get('etag') ?? ''
  assert.equal(whole.headers.get('last-modified'), new Date(Math.floor((await fs.stat(join(folder, 'sub/big'))).mtimeMs / 1000) * 1000).toUTCString())
  assert.match(etag, /^"[0-9a-f]{32}"$/)
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1], ['bytes=1000000-4000000', 1_000_000, 4_000_001], [`bytes=${big.length - 1}-`, big.length - 1, big.length],
    ['bytes=-100', big.length - 100, big.length], [`bytes=5-${10 * big.length}`, 5, big.length],
  ] as const) {
    const answer = await download(world, id, { path: '/sub/big' }, { range })
    assert.deepEqual([answer.status, answer.headers.get('content-range')], [206, `bytes ${start}-${end - 1}/${big.length}`], range)
    assert.ok((await bytesOf(answer)).equals(big.subarray(start, end)), range)
    assert.equal(answer.headers.get('etag'), etag)
  }
  const outside = await download(world, id, { path: '/sub/big' }, { range: `bytes=${big.length}-` })
  assert.deepEqual([outside.status, outside.headers.get('content-range')], [416, `bytes */${big.length}`])
  await outside.body?.cancel()
  assert.equal((await download(world, id, { path: '/sub/big' }, { 'if-none-match': `"x", ${etag}` })).status, 304)
  for (const [ifRange, status] of [[etag, 206], ['"other"', 200]] as const) {
    const answer = await download(world, id, { path: '/sub/big' }, { range: 'bytes=0-9', 'if-range': ifRange })
    assert.equal(answer.status, status)
    assert.equal((await bytesOf(answer)).length, status === 206 ? 10 : big.length)
  }
  for (const range of ['bytes=9-3', 'bytes=0-1,4-5', 'lines=1-2', 'bytes=-']) {
    const answer = await download(world, id, { path: '/text' }, { range })
    assert.deepEqual([answer.status, (await bytesOf(answer)).toString()], [200, 'some text\n'], range)
  }
})

test('an archive that broke off goes on where it ended', async () => {
  await using world = await startBackupService()
  const id = await backUpFolder(world, await makeTree(world.root))
  for (const format of ['tar', 'zip'] as const) {
    const answer = await download(world, id, { path: '/sub', format })
    const etag = answer.headers.get('etag') ?? ''
    const whole = await bytesOf(answer)
    assert.equal(answer.headers.get('accept-ranges'), 'bytes')
    const middle = Math.floor(whole.length / 2)
    for (const [range, start, end] of [
      ['bytes=0-0', 0, 1], [`bytes=${middle}-`, middle, whole.length], [`bytes=700-${middle}`, 700, middle + 1], ['bytes=-30', whole.length - 30, whole.length],
    ] as const) {
      const part = await download(world, id, { path: '/sub', format }, { range, 'if-range': etag })
      assert.deepEqual([part.status, part.headers.get('content-range')], [206, `bytes ${start}-${end - 1}/${whole.length}`], `${format} ${range}`)
      assert.ok((await bytesOf(part)).equals(whole.subarray(start, end)), `${format} ${range}`)
    }
    const outside = await download(world, id, { path: '/sub', format }, { range: `bytes=${whole.length}-` })
    assert.deepEqual([outside.status, outside.headers.get('content-range')], [416, `bytes */${whole.length}`])
    await outside.body?.cancel()
  }
})

test('a directory comes as tar with everything that it has, and as zip with what a zip can hold', async () => {
  await using world = await startBackupService()
  const folder = await makeTree(world.root)
  const id = await backUpFolder(world, folder)
  const tar = await download(world, id, { path: '/', format: 'tar' })
  assert.deepEqual([tar.status, tar.headers.get('content-type')], [200, 'application/x-tar'])
  assert.match(tar.headers.get('content-disposition') ?? '', /filename="tree\.tar"/)
  const out = join(world.root, 'out')
  await fs.mkdir(out)
  const run = spawnSync('tar', ['-x', '-p', '-C', out, '--warning=no-unknown-keyword'], { input: await bytesOf(tar), encoding: 'utf8' })
  assert.deepEqual([run.status, run.stderr], [0, ''])
  assert.deepEqual(namesBelow(out), namesBelow(folder))
  for (const name of ['empty', 'text', 'sparse', 'sub/big', 'sub/back\\slash', `sub/long-${'x'.repeat(180)}`, 'sub/deep/ä b%+#.txt']) {
    assert.ok(readFileSync(join(out, name)).equals(readFileSync(join(folder, name))), name)
    const [before, after] = [await fs.stat(join(folder, name), { bigint: true }), await fs.stat(join(out, name), { bigint: true })]
    assert.deepEqual([after.mode, after.mtimeNs], [before.mode, before.mtimeNs], name)
  }
  assert.equal(await fs.readlink(join(out, 'link')), 'text')
  assert.equal((await fs.stat(join(out, 'text'))).ino, (await fs.stat(join(out, 'sub/hard'))).ino)
  assert.equal((await fs.stat(join(out, 'sub/deep'))).mode & 0o7777, 0o1777)

  const part = await download(world, id, { path: '/sub' })
  assert.deepEqual([part.status, part.headers.get('content-type')], [200, 'application/zip'])
  assert.match(part.headers.get('content-disposition') ?? '', /filename="sub\.zip"/)
  const entries = readZip(await bytesOf(part))
  assert.deepEqual([...entries.keys()].toSorted(), [
    'back%5Cslash', 'bad-%FF%FE', 'big', 'deep/', 'deep/ä b%+#.txt', 'hard', `long-${'x'.repeat(180)}`,
  ].toSorted())
  assert.ok(entries.get('big')?.content.equals(readFileSync(join(folder, 'sub/big'))))
  assert.equal(entries.get('hard')?.mode, 0o100640)
  const one = readZip(await bytesOf(await download(world, id, { path: '/text', format: 'zip' })))
  assert.equal(one.get('text')?.content.toString(), 'some text\n')
  const all = readZip(await bytesOf(await download(world, id, { format: 'zip' })))
  assert.deepEqual([all.get('link')?.content.toString(), all.get('link')?.mode], ['text', 0o120777])
})

test('a disk downloads as one file, also in parts far behind 4 GiB and when it is kept in segments', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const small = join(root, 'small.img')
  const large = join(root, 'large.img')
  for (const [path, size] of [[small, 5 * GIB], [large, 65 * GIB]] as const) {
    const disk = await fs.open(path, 'w')
    await disk.truncate(size)
    await disk.write('begin', 0)
    await disk.write('middle', 4 * GIB + 7)
    await disk.write('end', size - 3)
    await disk.close()
  }
  const ids = [await steps.declare(small, 'OS::Cinder::Volume'), await steps.declare(large, 'OS::Cinder::Volume')]
  const backups = await steps.backUp(await steps.createVault('disk', ids))
  for (const [path, size] of [['/small.img', 5 * GIB], ['/large.img', 65 * GIB]] as const) {
    const id = backups.find((backup) => backup.resource_id === ids[path === '/small.img' ? 0 : 1])?.id ?? ''
    const { files, count } = await list(world, id)
    assert.deepEqual([count, files.map(({ path: at, type, size: bytes }) => [at, type, bytes])], [1, [[path, 'file', size]]])
    const read = async (range: string): Promise<string> => (await bytesOf(await download(world, id, { path }, { range }))).toString('latin1')
    assert.equal(await read('bytes=0-5'), 'begin\0')
    assert.equal(await read(`bytes=${4 * GIB + 5}-${4 * GIB + 13}`), '\0\0middle\0')
    assert.equal(await read('bytes=-4'), '\0end')
    // Across the border of two segments.
    assert.equal((await read(`bytes=${GIB - MIB}-${GIB + MIB - 1}`)).length, 2 * MIB)
    const head = await download(world, id, { path })
    assert.equal(head.headers.get('content-length'), String(size))
    await head.body?.cancel()
  }
  const wholeId = backups.find((backup) => backup.resource_id === ids[0])?.id ?? ''
  const answer = await download(world, wholeId, { path: '/small.img' }, { range: `bytes=${4 * GIB}-${4 * GIB + 128 * MIB - 1}` })
  const [expected, actual] = [createHash('sha256'), createHash('sha256')]
  const disk = await fs.open(small)
  for (let at = 4 * GIB; at < 4 * GIB + 128 * MIB; at += 64 * MIB) expected.update((await disk.read(Buffer.alloc(64 * MIB), 0, 64 * MIB, at)).buffer)
  await disk.close()
  for await (const piece of answer.body ?? []) actual.update(piece)
  assert.equal(actual.digest('hex'), expected.digest('hex'))
})

/** The reader's process, as the child of this one. */
function readerPids(): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      const [, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('reader-main')
    } catch {
      return false
    }
  })
}

test('clients that go away leave nothing behind, and a reader that dies is replaced', async () => {
  await using world = await startBackupService()
  const folder = join(world.root, 'many')
  await fs.mkdir(folder)
  await fs.writeFile(join(folder, 'file'), randomBytes(24 * MIB))
  const id = await backUpFolder(world, folder)
  // More than are open at a time: one that stayed open would keep the last ones from beginning.
  for (let client = 0; client < 40; client += 1) {
    const leaving = new AbortController()
    const answer = await download(world, id, client % 2 === 0 ? { path: '/file' } : { path: '/', format: 'tar' }, {}, leaving.signal)
    const reader = answer.body?.getReader()
    assert.ok(((await reader?.read())?.value?.length ?? 0) > 0)
    leaving.abort()
  }
  assert.ok((await bytesOf(await download(world, id, { path: '/file' }))).equals(readFileSync(join(folder, 'file'))))

  const broken = await download(world, id, { path: '/file' })
  const [pid, ...others] = readerPids()
  assert.ok(pid !== undefined && others.length === 0)
  process.kill(pid, 'SIGKILL')
  await assert.rejects(bytesOf(broken), 'half a file is not taken for a whole one')
  await until('another reader', async () => (readerPids().includes(pid) ? undefined : true))
  assert.equal((await list(world, id)).count, 1)
})

test('what was pruned and repacked since the vault was opened is still read, and a deleted backup is not', async () => {
  await using world = await startBackupService()
  const { steps, root } = world
  const folder = join(root, 'changing')
  await fs.mkdir(folder)
  for (let n = 0; n < 40; n += 1) await fs.writeFile(join(folder, `file-${n}`), randomBytes(64 * 1024))
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  const [old] = await steps.backUp(vaultId)
  assert.ok(old !== undefined)
  assert.equal((await list(world, old.id)).count, 40)
  for (let n = 0; n < 39; n += 1) await fs.rm(join(folder, `file-${n}`))
  await fs.writeFile(join(folder, 'new'), randomBytes(MIB))
  const [kept] = await steps.backUp(vaultId)
  assert.ok(kept !== undefined)
  assert.ok((await bytesOf(await download(world, kept.id, { path: '/new' }))).equals(readFileSync(join(folder, 'new'))))
  await steps.send('DELETE', `/v3/{project_id}/backups/${old.id}`, undefined, 204)
  await until('the deletion', async () => ((await world.service.call('GET', `/v3/{project_id}/backups/${old.id}`)).status === 404 ? true : undefined))
  assert.ok((await bytesOf(await download(world, kept.id, { path: '/file-39' }))).equals(readFileSync(join(folder, 'file-39'))))
  assert.equal((await world.service.call('GET', `/x/v1/{project_id}/backups/${old.id}/files`)).status, 404)
})

test('a project reads what it owns and what it has accepted, and nothing that is only offered or somebody else\'s', async () => {
  await using world = await startBackupService()
  const { service, root } = world
  const folder = join(root, 'shared')
  await fs.mkdir(folder)
  await fs.writeFile(join(folder, 'a'), 'a')
  const id = await backUpFolder(world, folder)
  const owner = 'f'.repeat(32)
  const { db } = service.service.deps
  const looks = async (): Promise<number> => (await service.call('GET', `/x/v1/{project_id}/backups/${id}/files`)).status
  assert.equal(await looks(), 200)
  // The rows go to somebody else together, storage included, as if they had been that project's all along.
  await fs.rename(join(world.dataDir, 'vaults', service.projectId), join(world.dataDir, 'vaults', owner))
  const vaults = await db.updateTable('vaults').set({ project_id: owner as never }).executeTakeFirst()
  const backups = await db.updateTable('backups').set({ project_id: owner as never }).executeTakeFirst()
  assert.deepEqual([vaults.numUpdatedRows, backups.numUpdatedRows], [1n, 1n])
  assert.equal(await looks(), 404)
  await db.insertInto('backup_members').values({
    id: 'm', backup_id: id as never, project_id: owner as never, dest_project_id: service.projectId as never,
    status: 'pending', vault_id: null, image_id: null, created_at: 1, updated_at: 1,
  }).execute()
  assert.equal(await looks(), 404)
  await db.updateTable('backup_members').set({ status: 'accepted' }).execute()
  assert.equal(await looks(), 200)
  assert.equal((await bytesOf(await download(world, id, { path: '/a' }))).toString(), 'a')
  await db.updateTable('backup_members').set({ status: 'rejected' }).execute()
  assert.equal(await looks(), 404)
})
