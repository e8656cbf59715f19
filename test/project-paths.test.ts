/** Paths that the operator allows to single projects. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startTestService, type TestService } from '@opencbr/testkit'
import { stepsOf } from './support/backup-service.ts'
import { addTenant } from './support/tenants.ts'

async function declare({ call }: Pick<TestService, 'call'>, path: string): Promise<number> {
  return (await call('POST', '/x/v1/{project_id}/resources', { resource: { type: 'OS::Sfs::Turbo', path } })).status
}

test('a project reads and writes where it may, and not where another one may', async () => {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-paths-')))
  const [own, theirs, everybodys] = [join(base, 'own'), join(base, 'theirs'), join(base, 'everybodys')]
  for (const directory of [own, theirs, everybodys]) await fs.mkdir(join(directory, 'docs'), { recursive: true })
  await fs.writeFile(join(own, 'docs/letter'), 'content')
  try {
    let projectId: string
    {
      await using service = await startTestService({ dataDir: join(base, 'data'), agent: 'none' });
      ({ projectId } = service)
    }
    const start = (paths: Readonly<Record<string, readonly string[]>>) => startTestService({ dataDir: join(base, 'data'), config: { allowPaths: [everybodys], projectPaths: paths } })
    let vault: string
    {
      await using service = await start({ [projectId]: [own], ['f'.repeat(32)]: [theirs] })
      const steps = stepsOf(service)
      const stranger = await addTenant(service, 'stranger')
      assert.deepEqual([await declare(service, join(theirs, 'docs')), await declare(service, join(everybodys, 'docs'))], [400, 201])
      assert.deepEqual([await declare(stranger, join(own, 'docs')), await declare(stranger, join(theirs, 'docs')), await declare(stranger, join(everybodys, 'docs'))], [400, 400, 201])
      vault = await steps.createVault('turbo', [await steps.declare(join(own, 'docs'))])
      const [made] = await steps.backUp(vault)
      assert.equal(made?.status, 'available')
      const restore = `/v3/{project_id}/backups/${made?.id ?? ''}/restore`
      for (const place of [theirs, base]) {
        const refused = await service.call('POST', restore, { restore: { details: { destination_path: join(place, 'out') } } })
        assert.equal(refused.status, 400)
      }
      assert.equal((await steps.restore(made?.id ?? '', { details: { destination_path: join(own, 'out') } })).status, 'success')
      assert.equal(await fs.readFile(join(own, 'out/letter'), 'utf8'), 'content')
    }
    // What the operator has taken back is not read any more, though it was declared.
    await using service = await start({ [projectId]: [theirs] })
    const steps = stepsOf(service)
    const { id } = await steps.startCheckpoint(vault)
    await steps.checkpointEnd(id)
    const task = await steps.taskOf(id)
    assert.deepEqual([task.status, task.error_info.code], ['failed', 'BackupService.6215'])
    assert.match(task.error_info.message, /does not lie inside a directory that this server may read/)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})
