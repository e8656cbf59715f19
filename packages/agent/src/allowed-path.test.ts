import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAllowedDestination, resolveAllowedPath } from './allowed-path.ts'

async function withDirectory(run: (base: string) => Promise<void>): Promise<void> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-paths-')))
  try {
    for (const name of ['root/inner', 'root/data/vaults', 'outside', 'root-beside']) await fs.mkdir(join(base, name), { recursive: true })
    await fs.symlink(join(base, 'outside'), join(base, 'root/leads-out'))
    await fs.symlink(join(base, 'root/inner'), join(base, 'root/leads-in'))
    await fs.symlink(join(base, 'outside/not-there'), join(base, 'root/leads-nowhere'))
    await fs.symlink(join(base, 'root'), join(base, 'root-by-link'))
    await fs.writeFile(join(base, 'root/file'), '')
    await run(base)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
}

test('only what exists inside a root and apart from the server\'s data is resolved', async () => {
  await withDirectory(async (base) => {
    const rules = { allowedRoots: [join(base, 'root-by-link')], forbiddenPaths: [join(base, 'root/data')] }
    const resolve = (path: string) => resolveAllowedPath(join(base, path), rules)
    assert.equal(await resolve('root/inner'), join(base, 'root/inner'))
    assert.equal(await resolve('root-by-link/leads-in'), join(base, 'root/inner'))
    assert.equal(await resolve('root/file'), join(base, 'root/file'))
    for (const path of ['outside', 'root-beside', 'root/leads-out', 'root/leads-nowhere', 'root/not-there', 'root/data', 'root/data/vaults', 'root']) {
      assert.equal(await resolve(path), undefined, path)
    }
    assert.equal(await resolveAllowedPath(`${base}/root/inner/../inner`, rules), undefined)
    assert.equal(await resolveAllowedPath('root/inner', rules), undefined)
    assert.equal(await resolveAllowedPath(join(base, 'root/inner'), { allowedRoots: [], forbiddenPaths: [] }), undefined)
  })
})

test('a destination may be missing, and its nearest existing parent decides', async () => {
  await withDirectory(async (base) => {
    const rules = { allowedRoots: [join(base, 'root')], forbiddenPaths: [join(base, 'root/data')] }
    const allowed = (path: string) => isAllowedDestination(join(base, path), rules)
    for (const path of ['root/inner', 'root/inner/new/deeper', 'root/leads-in/new', 'root/new']) assert.equal(await allowed(path), true, path)
    for (const path of ['outside/new', 'root-beside/new', 'root/leads-out/new', 'root/leads-nowhere', 'root/leads-nowhere/new', 'root/data/new', 'root', 'root/file/new']) {
      assert.equal(await allowed(path), false, path)
    }
    assert.equal(await isAllowedDestination(`${base}/root/new/../../outside`, rules), false)
    assert.equal(await isAllowedDestination('root/new', rules), false)
    assert.equal(await isAllowedDestination('', rules), false)
    assert.equal(await isAllowedDestination(`${base}/root/new\0`, rules), false)
    assert.equal(await isAllowedDestination(join(base, 'anything'), { allowedRoots: ['/'], forbiddenPaths: [] }), true)
  })
})
