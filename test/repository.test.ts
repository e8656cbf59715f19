/** The repository core and stock restic read, check and continue what the other has written. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { Failure, initRepository, kdfForRandomPassword, openRepository } from '@opencbr/engine'
import type { BlobId, Repository } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { restic, resticBinaries, resticVersion } from './support/restic.ts'

const password = 'judge'
const root = await fs.mkdtemp(path.join(os.tmpdir(), 'opencbr-repository-'))
after(() => fs.rm(root, { recursive: true }))

/** Reproducible bytes that no compression shortens. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}

async function newDirectory(): Promise<string> {
  return fs.mkdtemp(path.join(root, 'at-'))
}

async function openOurs(directory: string): Promise<Repository> {
  const repository = await openRepository(localStorage(directory), { password })
  await repository.loadIndex()
  return repository
}

/** Writes one snapshot with a folder and a file of the given chunks. */
async function saveFile(repository: Repository, chunks: readonly Uint8Array[]): Promise<void> {
  await using lock = await repository.lock({ exclusive: false })
  const times = '"mtime":"2026-01-01T00:00:00Z","atime":"2026-01-01T00:00:00Z","ctime":"2026-01-01T00:00:00Z","uid":0,"gid":0'
  const content = (await Promise.all(chunks.map((chunk) => repository.saveBlob('data', chunk)))).map(({ id }) => id)
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const file = `{"nodes":[{"name":"f","type":"file","mode":420,${times},"size":${size},"content":${JSON.stringify(content)}}]}\n`
  const { id: fileTree } = await repository.saveBlob('tree', Buffer.from(file))
  const folder = `{"nodes":[{"name":"d","type":"dir","mode":2147484141,${times},"content":null,"subtree":"${fileTree}"}]}\n`
  const { id: tree } = await repository.saveBlob('tree', Buffer.from(folder))
  const snapshot = { time: '2026-01-01T00:00:00.123456789Z', tree, paths: ['/d'], hostname: 'h', username: 'u', tags: ['t'] }
  await repository.saveSnapshot(snapshot, lock)
}

async function* onePiece(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data
}

for (const binary of resticBinaries()) {
  const version = resticVersion(binary)

  test(`restic ${version} finds a repository of ours whole, and reads it`, async () => {
    const directory = await newDirectory()
    const { id } = await initRepository(localStorage(directory), { password, kdf: kdfForRandomPassword })
    const chunks = [Buffer.from('some text '.repeat(50_000)), noise(3_000_000, 1), Buffer.from('x'), ...[2, 3, 4, 5, 6, 7].map((n) => noise(4_000_000, n))]
    {
      await using repository = await openOurs(directory)
      await saveFile(repository, chunks)
      await saveFile(repository, chunks.slice(1, 3))
    }
    const judge = restic(binary, directory, password)
    judge.run('check', '--read-data')
    assert.equal(JSON.parse(judge.run('cat', 'config').stdout.toString()).id, id)
    assert.equal(JSON.parse(judge.run('snapshots', '--json').stdout.toString()).length, 2)
    assert(judge.run('dump', 'latest', '/d/f').stdout.length > 0)
    const packs = judge.run('list', 'packs').stdout.toString().trim().split('\n')
    await using repository = await openOurs(directory)
    assert.deepEqual(packs.toSorted(), (await Array.fromAsync(repository.listPacks())).map((pack) => pack.id).toSorted())
    const { blobCount, packCount } = await repository.stats()
    assert.equal(judge.run('list', 'blobs').stdout.toString().trim().split('\n').length, blobCount)
    assert.equal(packs.length, packCount)
    assert.equal(judge.run('list', 'locks').stdout.toString(), '')
    judge.run('prune')
    judge.run('check', '--read-data')
  })

  for (const format of ['1', '2']) {
    test(`a version ${format} repository of restic ${version} is read, checked against its packs, and continued`, async () => {
      const directory = await newDirectory()
      const source = await newDirectory()
      await fs.writeFile(path.join(source, 'big'), noise(5_000_000, 11))
      await fs.writeFile(path.join(source, 'text'), 'compressible '.repeat(100_000))
      await fs.writeFile(path.join(source, 'empty'), '')
      const judge = restic(binary, directory, password)
      judge.run('init', '--repository-version', format)
      judge.run('backup', source)
      {
        await using repository = await openOurs(directory)
        assert.equal(repository.version, Number(format))
        const [stored] = await repository.listSnapshots()
        assert.deepEqual(stored?.snapshot.paths, [source])
        let blobs = 0
        for (const pack of repository.indexedPacks()) {
          assert.equal(await repository.statPack(pack.id), pack.size)
          assert.deepEqual(await repository.readPackHeader(pack.id, pack.size), pack.blobs)
          for (const { type, id, plainLength } of pack.blobs) {
            assert.equal((await repository.loadBlob(type, id)).length, plainLength)
            blobs += 1
          }
        }
        assert(blobs > 5)
        await saveFile(repository, [Buffer.from('and more text '.repeat(1000)), noise(100_000, 12)])
      }
      judge.run('check', '--read-data')
      judge.run('backup', source)
    })
  }

  test(`our chunks are those of restic ${version}`, async () => {
    const directory = await newDirectory()
    await initRepository(localStorage(directory), { password, kdf: kdfForRandomPassword })
    const source = await newDirectory()
    const data = noise(24_000_000, 21)
    await fs.writeFile(path.join(source, 'random'), data)
    restic(binary, directory, password).run('backup', source)
    await using repository = await openOurs(directory)
    const theirs = new Set<BlobId>()
    for (const { blobs } of repository.indexedPacks()) for (const { type, id } of blobs) if (type === 'data') theirs.add(id)
    const ours = new Set<BlobId>()
    for await (const chunk of repository.chunker()(onePiece(data))) {
      const saved = await repository.saveBlob('data', chunk)
      assert(saved.known)
      ours.add(saved.id)
    }
    assert(ours.size > 5)
    assert.deepEqual(ours, theirs)
  })

  test(`restic ${version} and we respect each other's locks`, async () => {
    const directory = await newDirectory()
    await initRepository(localStorage(directory), { password, kdf: kdfForRandomPassword })
    const judge = restic(binary, directory, password)
    await using repository = await openOurs(directory)
    {
      await using _exclusive = await repository.lock({ exclusive: true })
      const refused = judge.attempt('snapshots')
      assert.notEqual(refused.exitCode, 0)
      assert.match(refused.stderr, /locked/)
      // Neither age nor process id gives restic a reason to take it away.
      judge.run('unlock')
      assert.equal((await repository.listLocks()).length, 1)
    }
    {
      await using _shared = await repository.lock({ exclusive: false })
      judge.run('snapshots')
      assert.match(judge.attempt('check').stderr, /locked/)
    }
    judge.run('check')

    const watching = new AbortController()
    const appeared = (async () => {
      for await (const { filename } of fs.watch(path.join(directory, 'locks'), { signal: watching.signal })) {
        if (filename !== null && /^[0-9a-f]{64}$/.test(filename)) return
      }
    })()
    // It holds its lock as long as its input stays open.
    const backup = spawn(binary, ['--no-cache', 'backup', '--stdin'], {
      env: { ...process.env, RESTIC_REPOSITORY: directory, RESTIC_PASSWORD: password },
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    const ended = once(backup, 'exit')
    try {
      await Promise.race([appeared, ended])
      await assert.rejects(repository.lock({ exclusive: true }), (error) => error instanceof Failure && error.code === 'repository.locked')
      await using shared = await repository.lock({ exclusive: false })
      await shared.assertHeld()
    } finally {
      watching.abort()
      backup.stdin.end('done')
    }
    assert.deepEqual(await ended, [0, null])
    await using _exclusive = await repository.lock({ exclusive: true })
  })
}
