import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ListResourcesAnswer, ResourceAnswer, type DeclaredResource } from '@opencbr/contract'
import { startTestService, type TestService } from '@opencbr/testkit'
import { Value } from 'typebox/value'

const RESOURCES = '/x/v1/{project_id}/resources'

interface Refusal {
  readonly error_code: string
  readonly error_msg: string
}

/** A service that allows `base`, in which there are a directory `docs` and a disk image `disk.img` of 3 GB and a bit. */
async function withService(run: (service: TestService, base: string) => Promise<void>): Promise<void> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'opencbr-test-')))
  try {
    await mkdir(join(base, 'docs'))
    await writeFile(join(base, 'docs/a'), 'x'.repeat(1000))
    await writeFile(join(base, 'disk.img'), '')
    await truncate(join(base, 'disk.img'), 3 * 1024 ** 3 + 512)
    await using service = await startTestService({ agent: 'none', config: { allowPaths: [base] } })
    await run(service, base)
  } finally {
    await rm(base, { recursive: true, force: true })
  }
}

function declare<Body = { resource: DeclaredResource }>(service: TestService, resource: Record<string, unknown>) {
  return service.call<Body>('POST', RESOURCES, { resource })
}

test('a directory and a disk image are declared, shown, listed and forgotten', async () => {
  await withService(async (service, base) => {
    const tree = await declare(service, { type: 'OS::Sfs::Turbo', path: join(base, 'docs'), name: '文档.1' })
    assert.equal(tree.status, 201)
    assert.ok(Value.Check(ResourceAnswer, tree.body))
    const { id, ...rest } = tree.body.resource
    assert.deepEqual(rest, {
      project_id: service.projectId, type: 'OS::Sfs::Turbo', name: '文档.1', path: join(base, 'docs'), size: 1, size_bytes: 1000, vault_id: null, tags: [],
      created_at: '2026-01-15T08:30:00.000000', updated_at: '2026-01-15T08:30:00.000000',
    })
    service.clock.tick()
    await symlink(join(base, 'disk.img'), join(base, 'alias'))
    const disk = await declare(service, { type: 'OS::Cinder::Volume', path: join(base, 'alias'), name: null, unknown: 1 })
    assert.equal(disk.body.resource.path, join(base, 'disk.img'), 'the path is stored without links')
    assert.equal(disk.body.resource.name, 'alias')
    assert.equal(disk.body.resource.size, 4)
    assert.equal(disk.body.resource.size_bytes, 3 * 1024 ** 3 + 512)

    assert.deepEqual((await service.call('GET', `${RESOURCES}/${id.toUpperCase()}`)).body, tree.body)
    const list = await service.call<{ resources: DeclaredResource[], count: number }>('GET', RESOURCES)
    assert.ok(Value.Check(ListResourcesAnswer, list.body))
    assert.deepEqual(list.body, { resources: [disk.body.resource, tree.body.resource], count: 2, limit: 1000, offset: 0 })

    assert.equal((await service.call('DELETE', `${RESOURCES}/${id}`)).status, 204)
    assert.equal((await service.call<Refusal>('GET', `${RESOURCES}/${id}`)).body.error_code, 'BackupService.6302')
    assert.equal((await service.call('DELETE', `${RESOURCES}/${id}`)).status, 404)
  })
})

test('the list filters, and pages by offset and marker', async () => {
  await withService(async (service, base) => {
    const ids: string[] = []
    for (let n = 0; n < 5; n += 1) {
      await mkdir(join(base, `d${n}`))
      ids.unshift((await declare(service, { type: 'OS::Sfs::Turbo', path: join(base, `d${n}`) })).body.resource.id)
      if (n % 2 === 0) service.clock.tick()
    }
    await declare(service, { type: 'OS::Cinder::Volume', path: join(base, 'disk.img') })
    const list = async (query: string) => {
      const { status, body } = await service.call<{ resources: DeclaredResource[], count: number }>('GET', `${RESOURCES}?${query}`)
      assert.equal(status, 200)
      return { ids: body.resources.map((each) => each.id), count: body.count }
    }
    const all = (await list('type=OS::Sfs::Turbo')).ids
    assert.deepEqual(all.toSorted(), ids.toSorted())
    assert.deepEqual(await list('name=d3'), { ids: all.filter((id) => id === ids[1]), count: 1 })
    assert.deepEqual(await list('type=OS::Sfs::Turbo&limit=2&offset=2'), { ids: all.slice(2, 4), count: 5 })
    assert.deepEqual(await list(`type=OS::Sfs::Turbo&limit=2&marker=${all[2]}`), { ids: all.slice(3, 5), count: 5 })
    assert.deepEqual(await list('marker=unknown'), { ids: [], count: 6 })
    assert.deepEqual(await list('offset=100'), { ids: [], count: 6 })
  })
})

test('what may not be declared is refused, naming the field, and nothing is kept', async () => {
  await withService(async (service, base) => {
    const docs = join(base, 'docs')
    await symlink('/etc', join(base, 'out'))
    await declare(service, { type: 'OS::Sfs::Turbo', path: docs })
    const tree = { type: 'OS::Sfs::Turbo', path: docs }
    const bad: [Record<string, unknown>, RegExp][] = [
      [{}, /resource\.(type|path)/],
      [{ path: docs }, /resource\.type provided: it is mandatory/],
      [{ type: 'OS::Sfs::Turbo' }, /resource\.path provided: it is mandatory/],
      [{ ...tree, type: 'OS::Nova::Server' }, /resource\.type/],
      [{ ...tree, path: '' }, /resource\.path/],
      [{ ...tree, path: 7 }, /resource\.path/],
      [{ ...tree, path: `${docs}\0` }, /resource\.path provided: it contains the character NUL/],
      [{ ...tree, path: `/${'x'.repeat(4096)}` }, /resource\.path/],
      [{ ...tree, path: 'docs' }, /resource\.path provided: it must be an absolute path/],
      [{ ...tree, path: `${base}/x/../docs` }, /resource\.path provided: it must not contain \.\./],
      [{ ...tree, path: join(base, 'none') }, /resource\.path provided: it does not exist/],
      [{ ...tree, path: join(base, 'disk.img') }, /resource\.path provided: it is not a directory/],
      [{ type: 'OS::Cinder::Volume', path: docs }, /resource\.path provided: it is neither a file nor a block device/],
      [tree, /resource\.path provided: it is declared already, as resource [0-9a-f-]{36}/],
      [{ ...tree, path: `${base}/docs/` }, /resource\.path provided: it is declared already/],
      [{ ...tree, name: '' }, /resource\.name/],
      [{ ...tree, name: 'a/b' }, /resource\.name/],
      [{ ...tree, name: 'x'.repeat(65) }, /resource\.name/],
    ]
    for (const [resource, text] of bad) {
      const answer = await declare<Refusal>(service, resource)
      assert.equal(answer.status, 400, JSON.stringify(resource))
      assert.equal(answer.body.error_code, 'BackupService.9900')
      assert.match(answer.body.error_msg, text)
    }
    const outside = ['/etc', '/none', join(base, 'out'), join(base, 'out/none'), join(base, 'out/passwd')]
    const texts = await Promise.all(outside.map(async (path) => (await declare<Refusal>(service, { ...tree, path })).body.error_msg))
    assert.equal(new Set(texts).size, 1, 'nothing tells what exists outside')
    assert.match(texts[0] ?? '', /directory that the operator allows/)
    assert.equal((await service.call<{ count: number }>('GET', RESOURCES)).body.count, 1)
    for (const query of ['type=x', 'limit=0', 'limit=x', 'offset=-1', 'name=a&name=b']) {
      assert.equal((await service.call<Refusal>('GET', `${RESOURCES}?${query}`)).body.error_code, 'BackupService.9900', query)
    }
    for (const method of ['GET', 'DELETE']) {
      const answer = await service.call<Refusal>(method, `${RESOURCES}/nonsense`)
      assert.equal(answer.status, 400)
      assert.match(answer.body.error_msg, /Invalid resource_id provided/)
    }
  })
})

test('without allowed directories nothing can be declared', async () => {
  await using service = await startTestService({ agent: 'none' })
  const answer = await declare<Refusal>(service, { type: 'OS::Sfs::Turbo', path: '/etc' })
  assert.equal(answer.status, 400)
  assert.match(answer.body.error_msg, /--allow-path/)
})

test('the data directory of the server cannot be declared', async () => {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'opencbr-test-')))
  try {
    await using service = await startTestService({ agent: 'none', dataDir: join(base, 'data'), config: { allowPaths: [base] } })
    for (const path of [base, join(base, 'data')]) {
      assert.match((await declare<Refusal>(service, { type: 'OS::Sfs::Turbo', path })).body.error_msg, /data directory of the server/)
    }
    const key = await declare<Refusal>(service, { type: 'OS::Cinder::Volume', path: join(base, 'data/master.key') })
    assert.match(key.body.error_msg, /data directory of the server/)
  } finally {
    await rm(base, { recursive: true, force: true })
  }
})
