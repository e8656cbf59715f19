import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, link, mkdir, mkdtemp, realpath, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspectPath, type InspectedType } from './inspect-path.ts'

/** `allowed/` is the root, `secret/` and `data/` (the server's own) are not; all in one temporary directory. */
async function withTree(run: (base: string, inspect: (path: string, type?: InspectedType) => ReturnType<typeof inspectPath>) => Promise<void>): Promise<void> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'opencbr-test-')))
  try {
    await mkdir(join(base, 'allowed/docs/inner'), { recursive: true })
    await mkdir(join(base, 'allowed/data/vaults'), { recursive: true })
    await mkdir(join(base, 'secret/inner'), { recursive: true })
    await writeFile(join(base, 'allowed/docs/a'), 'x'.repeat(1000))
    await writeFile(join(base, 'allowed/docs/inner/b'), 'y'.repeat(24))
    await writeFile(join(base, 'secret/file'), 'z')
    const options = { allowedRoots: [join(base, 'allowed')], forbiddenPaths: [join(base, 'allowed/data')] }
    await run(base, (path, type = 'OS::Sfs::Turbo') => inspectPath(path, type, options))
  } finally {
    await rm(base, { recursive: true, force: true })
  }
}

test('a directory inside the roots is resolved and counted, hard links once and links not at all', async () => {
  await withTree(async (base, inspect) => {
    const docs = join(base, 'allowed/docs')
    await link(join(docs, 'a'), join(docs, 'inner/a-again'))
    await symlink(join(base, 'secret/file'), join(docs, 'link'))
    assert.deepEqual(await inspect(docs), { realPath: docs, sizeBytes: 1024 })
    assert.deepEqual(await inspect(`${docs}/`), { realPath: docs, sizeBytes: 1024 })
    await symlink(docs, join(base, 'allowed/alias'))
    assert.deepEqual(await inspect(join(base, 'allowed/alias')), { realPath: docs, sizeBytes: 1024 })
  })
})

test('a disk image is a file with its length', async () => {
  await withTree(async (base, inspect) => {
    const image = join(base, 'allowed/disk.img')
    await writeFile(image, '')
    await truncate(image, 5 * 1024 ** 3)
    assert.deepEqual(await inspect(image, 'OS::Cinder::Volume'), { realPath: image, sizeBytes: 5 * 1024 ** 3 })
    assert.deepEqual(await inspect(image), { refused: 'not_a_directory' })
    assert.deepEqual(await inspect(join(base, 'allowed/docs'), 'OS::Cinder::Volume'), { refused: 'not_a_disk' })
    execFileSync('mkfifo', [join(base, 'allowed/pipe')])
    assert.deepEqual(await inspect(join(base, 'allowed/pipe'), 'OS::Cinder::Volume'), { refused: 'not_a_disk' })
  })
})

test('what leads out of the roots gets one answer, whether it exists or not', async () => {
  await withTree(async (base, inspect) => {
    const allowed = join(base, 'allowed')
    await symlink(join(base, 'secret'), join(allowed, 'out'))
    await symlink(join(base, 'secret/none'), join(allowed, 'dangling'))
    const outside = [
      join(base, 'secret'), join(base, 'none'), join(base, 'secret/inner'), join(base, 'secret/none/deep'), '/', base, `${allowed}x`,
      join(allowed, 'out'), join(allowed, 'out/inner'), join(allowed, 'out/none'), join(allowed, 'out/none/deep'), join(allowed, 'out/file/deep'),
      join(allowed, 'dangling'), join(allowed, 'dangling/deep'),
    ]
    for (const path of outside) assert.deepEqual(await inspect(path), { refused: 'outside' }, path)
  })
})

test('what is missing inside the roots is said to be missing', async () => {
  await withTree(async (base, inspect) => {
    for (const path of ['allowed/none', 'allowed/none/deep', 'allowed/docs/inner/none', 'allowed/docs/a/deep']) {
      assert.deepEqual(await inspect(join(base, path)), { refused: 'missing' }, path)
    }
  })
})

test('paths that are not plain, and a server that allows nothing', async () => {
  await withTree(async (base, inspect) => {
    for (const path of ['', 'docs', './docs', 'allowed/docs']) assert.deepEqual(await inspect(path), { refused: 'not_absolute' })
    assert.deepEqual(await inspect(`${base}/allowed/docs/../docs`), { refused: 'not_normal' })
    assert.deepEqual(await inspect(`${base}/allowed/./docs//inner`), { realPath: join(base, 'allowed/docs/inner'), sizeBytes: 24 })
    const nothing = { allowedRoots: [], forbiddenPaths: [] }
    assert.deepEqual(await inspectPath(join(base, 'allowed/docs'), 'OS::Sfs::Turbo', nothing), { refused: 'nothing_allowed' })
  })
})

test('the server\'s own data is neither protected, nor what holds it, nor what it holds', async () => {
  await withTree(async (base, inspect) => {
    for (const path of ['allowed', 'allowed/data', 'allowed/data/vaults']) {
      assert.deepEqual(await inspect(join(base, path)), { refused: 'forbidden' }, path)
    }
    await symlink(join(base, 'allowed/data/vaults'), join(base, 'allowed/disguise'))
    assert.deepEqual(await inspect(join(base, 'allowed/disguise')), { refused: 'forbidden' })
  })
})

test('a root may itself be reached by a link', async () => {
  await withTree(async (base) => {
    await symlink(join(base, 'allowed'), join(base, 'entry'))
    const options = { allowedRoots: [join(base, 'entry'), join(base, 'gone')], forbiddenPaths: [] }
    const found = { realPath: join(base, 'allowed/docs/inner'), sizeBytes: 24 }
    assert.deepEqual(await inspectPath(join(base, 'entry/docs/inner'), 'OS::Sfs::Turbo', options), found)
    assert.deepEqual(await inspectPath(join(base, 'allowed/docs/inner'), 'OS::Sfs::Turbo', options), found)
  })
})

test('what the server may not read is refused', async () => {
  await withTree(async (base, inspect) => {
    const inner = join(base, 'allowed/docs/inner')
    for (const folder of ['.', 'allowed', 'allowed/docs']) await chmod(join(base, folder), 0o755)
    await chmod(inner, 0o000)
    const isRoot = process.geteuid?.() === 0
    // Root reads whatever it likes, so the test becomes nobody for a moment.
    if (isRoot) process.seteuid?.(65_534)
    try {
      assert.deepEqual(await inspect(inner), { refused: 'unreadable' })
      assert.deepEqual(await inspect(join(inner, 'b'), 'OS::Cinder::Volume'), { refused: 'unreadable' })
    } finally {
      if (isRoot) process.seteuid?.(0)
      await chmod(inner, 0o700)
    }
  })
})
