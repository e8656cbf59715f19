import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAllowedDestination, resolveAllowedPath } from './allowed-path.ts'

async function withDirectory(run: (base: string) => Promise<void>): Promise<void> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-paths-')))
  try {
    for (const name of ['allowed/inner', 'allowed/data/vaults', 'outside', 'allowed-beside']) await fs.mkdir(join(base, name), { recursive: true })
    await fs.symlink(join(base, 'outside'), join(base, 'allowed/leads-out'))
    await fs.symlink(join(base, 'allowed/inner'), join(base, 'allowed/leads-in'))
    await fs.symlink(join(base, 'outside/not-there'), join(base, 'allowed/leads-nowhere'))
    await fs.symlink(join(base, 'allowed'), join(base, 'allowed-by-link'))
    await fs.writeFile(join(base, 'allowed/file'), '')
    await run(base)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
}

test('only what exists inside a root and apart from the server\'s data is resolved', async () => {
  await withDirectory(async (base) => {
    const rules = { allowedRoots: [join(base, 'allowed-by-link')], forbiddenPaths: [join(base, 'allowed/data')] }
    const resolve = (path: string) => resolveAllowedPath(join(base, path), rules)
    assert.equal(await resolve('allowed/inner'), join(base, 'allowed/inner'))
    assert.equal(await resolve('allowed-by-link/leads-in'), join(base, 'allowed/inner'))
    assert.equal(await resolve('allowed/file'), join(base, 'allowed/file'))
    for (const path of ['outside', 'allowed-beside', 'allowed/leads-out', 'allowed/leads-nowhere', 'allowed/not-there', 'allowed/data', 'allowed/data/vaults', 'allowed']) {
      assert.equal(await resolve(path), undefined, path)
    }
    assert.equal(await resolveAllowedPath(`${base}/allowed/inner/../inner`, rules), undefined)
    assert.equal(await resolveAllowedPath('allowed/inner', rules), undefined)
    assert.equal(await resolveAllowedPath(join(base, 'allowed/inner'), { allowedRoots: [], forbiddenPaths: [] }), undefined)
  })
})

test('a destination may be missing, and its nearest existing parent decides', async () => {
  await withDirectory(async (base) => {
    const rules = { allowedRoots: [join(base, 'allowed')], forbiddenPaths: [join(base, 'allowed/data')] }
    const allowed = (path: string) => isAllowedDestination(join(base, path), rules)
    for (const path of ['allowed/inner', 'allowed/inner/new/deeper', 'allowed/leads-in/new', 'allowed/new']) assert.equal(await allowed(path), true, path)
    for (const path of ['outside/new', 'allowed-beside/new', 'allowed/leads-out/new', 'allowed/leads-nowhere', 'allowed/leads-nowhere/new', 'allowed/data/new', 'allowed', 'allowed/file/new']) {
      assert.equal(await allowed(path), false, path)
    }
    assert.equal(await isAllowedDestination(`${base}/allowed/new/../../outside`, rules), false)
    assert.equal(await isAllowedDestination('allowed/new', rules), false)
    assert.equal(await isAllowedDestination('', rules), false)
    assert.equal(await isAllowedDestination(`${base}/allowed/new\0`, rules), false)
    assert.equal(await isAllowedDestination(join(base, 'anything'), { allowedRoots: ['/'], forbiddenPaths: [] }), true)
  })
})
