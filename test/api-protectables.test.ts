import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Protectable } from '@opencbr/contract'
import { startTestService, type TestService } from '@opencbr/testkit'

const PROTECTABLES = '/v3/{project_id}/protectables'

interface Page {
  readonly instances: Protectable[]
  readonly count: number
}

interface Refusal {
  readonly error_code: string
  readonly error_msg: string
}

/** Four directories `d0` to `d3` and a disk image, declared one after another. */
async function withResources(run: (service: TestService, trees: string[], disk: string) => Promise<void>): Promise<void> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'opencbr-test-')))
  try {
    await using service = await startTestService({ agent: 'none', config: { allowPaths: [base] } })
    const declare = async (type: string, name: string): Promise<string> => {
      const answer = await service.call<{ resource: { id: string } }>('POST', '/x/v1/{project_id}/resources', { resource: { type, path: join(base, name) } })
      assert.equal(answer.status, 201)
      service.clock.tick()
      return answer.body.resource.id
    }
    const trees: string[] = []
    for (let n = 0; n < 4; n += 1) {
      await mkdir(join(base, `d${n}`))
      trees.push(await declare('OS::Sfs::Turbo', `d${n}`))
    }
    await writeFile(join(base, 'disk'), 'x')
    await run(service, trees, await declare('OS::Cinder::Volume', 'disk'))
  } finally {
    await rm(base, { recursive: true, force: true })
  }
}

test('declared resources can be protected, each in its family', async () => {
  await withResources(async (service, trees, disk) => {
    const list = async (path: string): Promise<string[]> => {
      const answer = await service.call<Page>('GET', `${PROTECTABLES}/${path}`)
      assert.equal(answer.status, 200, path)
      return answer.body.instances.map((instance) => instance.id)
    }
    assert.deepEqual(await list('turbo/instances'), trees.toReversed())
    assert.deepEqual(await list('disk/instances'), [disk])
    for (const family of ['server', 'workspace', 'workspace_v2']) assert.deepEqual(await list(`${family}/instances`), [])
    const { body } = await service.call<{ instance: Protectable }>('GET', `${PROTECTABLES}/disk/instances/${disk.toUpperCase()}`)
    assert.deepEqual(body.instance, {
      id: disk, name: 'disk', type: 'OS::Cinder::Volume', size: 1, status: 'available',
      protectable: { result: true, code: '', reason: '', message: null, vault: null },
      detail: { id: disk, name: 'disk', status: 'available', size: 1, tags: [] }, children: [],
    })
  })
})

test('a resource that a vault holds says so', async () => {
  await withResources(async (service, trees) => {
    const billing = { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }
    const made = await service.call<{ vault: { id: string, created_at: string } }>('POST', '/v3/{project_id}/vaults', {
      vault: { name: 'docs', billing, resources: [{ id: trees[1], type: 'OS::Sfs::Turbo' }] },
    })
    const { body } = await service.call<Page>('GET', `${PROTECTABLES}/turbo/instances`)
    for (const { id, protectable } of body.instances) {
      assert.equal(protectable.result, true)
      assert.deepEqual(protectable.vault, id === trees[1] ? { ...made.body.vault, updated_at: made.body.vault.created_at, version: null } : null)
    }
  })
})

test('the list filters and pages', async () => {
  await withResources(async (service, trees, disk) => {
    const all = trees.toReversed()
    const expectations: [string, string[], number][] = [
      ['name=d2', [trees[2] ?? ''], 1], ['name=d', [], 0], [`id=${trees[0]}`, [trees[0] ?? ''], 1], [`id=${disk}`, [], 0], ['id=x', [], 0], ['status=available', all, 4],
      ['status=AVAILABLE', all, 4], ['status=error', [], 0], ['server_id=x', [], 0], ['enterprise_project_id=0', all, 4], ['enterprise_project_id=all_granted_eps', all, 4],
      ['enterprise_project_id=other', [], 0], ['limit=2', all.slice(0, 2), 4], ['limit=2&offset=2', all.slice(2), 4], ['offset=9', [], 4],
      [`limit=2&marker=${all[0]}`, all.slice(1, 3), 4], ['marker=x', [], 4], ['limit=100', all, 4], ['limit=5000', all, 4],
    ]
    for (const [query, ids, count] of expectations) {
      const { body } = await service.call<Page>('GET', `${PROTECTABLES}/turbo/instances?${query}`)
      assert.deepEqual(body.instances.map((instance) => instance.id), ids, query)
      assert.equal(body.count, count, query)
    }
  })
})

test('unknown families, bad values and resources that are not there', async () => {
  await withResources(async (service, trees) => {
    const bad: [string, string, RegExp][] = [
      ['car/instances', '9900', /Invalid protectable_type provided/], [`car/instances/${trees[0]}`, '9900', /protectable_type/],
      ['turbo/instances?limit=0', '9900', /limit/], ['turbo/instances?limit=x', '9900', /limit/], ['turbo/instances?offset=-1', '9900', /offset/],
      ['turbo/instances?name=a&name=b', '9900', /name/], ['turbo/instances/x', '9900', /Invalid instance_id provided: x is not a UUID/],
      [`turbo/instances/${randomUUID()}`, '6302', /does not exist/], [`disk/instances/${trees[0]}`, '6302', /does not exist/],
      [`server/instances/${trees[0]}`, '6302', /does not exist/],
    ]
    for (const [path, code, text] of bad) {
      const answer = await service.call<Refusal>('GET', `${PROTECTABLES}/${path}`)
      assert.equal(answer.body.error_code, `BackupService.${code}`, path)
      assert.equal(answer.status, code === '6302' ? 404 : 400)
      assert.match(answer.body.error_msg, text)
    }
    assert.equal((await service.call('GET', `/v3/${'f'.repeat(32)}/protectables/turbo/instances`)).status, 403)
  })
})
