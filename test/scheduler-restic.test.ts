/** A policy at work on a real folder, from its first run to what it lets go; stock restic sees the same. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Policy } from '@opencbr/contract'
import { startBackupService, until } from './support/backup-service.ts'
import { restic, resticBinaries } from './support/restic.ts'

test('hourly runs of a policy that keeps two leave two snapshots in a whole repository', async () => {
  await using world = await startBackupService()
  const { service, steps, root } = world
  const folder = join(root, 'mail')
  await fs.mkdir(folder)
  const vaultId = await steps.createVault('turbo', [await steps.declare(folder)])
  const hours = Array.from({ length: 24 }, (_, hour) => hour).join(',')
  const { policy } = await steps.send<{ policy: Policy }>('POST', '/v3/{project_id}/policies', {
    policy: {
      name: 'hourly', operation_type: 'backup', operation_definition: { max_backups: 2 },
      trigger: { properties: { pattern: [`FREQ=DAILY;BYHOUR=${hours};BYMINUTE=0`] } },
    },
  }, 200)
  await steps.send('POST', `/v3/{project_id}/vaults/${vaultId}/associatepolicy`, { policy_id: policy.id }, 200)

  const atRest = (): Promise<true> => until('the end of all tasks', async () =>
    (await steps.tasks('status=waiting&status=running')).length === 0 ? true : undefined)
  for (let hour = 0; hour < 6; hour += 1) {
    await fs.writeFile(join(folder, `letter-${hour}`), `Letter ${hour}`)
    service.clock.advanceSeconds(3600)
    await service.service.scheduler.tick()
    await atRest()
  }
  await steps.send('PUT', `/v3/{project_id}/policies/${policy.id}`, { policy: { enabled: false } }, 200)
  for (let hour = 0; hour < 3; hour += 1) {
    service.clock.advanceSeconds(3600)
    await service.service.scheduler.tick()
    await atRest()
  }
  const { backups } = await steps.get<{ backups: { name: string, status: string, extend_info: { auto_trigger: boolean, snapshot_id: string } }[] }>('/v3/{project_id}/backups')
  assert.deepEqual(backups.map((backup) => [backup.status, backup.extend_info.auto_trigger]), [['available', true], ['available', true]])
  assert.ok(backups.every((backup) => /^autobk_[0-9a-f]{4}$/.test(backup.name)))
  const tasks = await steps.tasks()
  assert.deepEqual(tasks.filter((task) => task.operation_type === 'delete').map((task) => [task.status, task.policy_id]), Array.from({ length: 4 }, () => ['success', policy.id]))
  const { repository, password } = await steps.recoveryKit(vaultId)
  const [binary] = resticBinaries()
  assert.ok(binary !== undefined)
  const stock = restic(binary, repository, password)
  const listed = JSON.parse(stock.run('snapshots', '--json').stdout.toString()) as { id: string }[]
  assert.deepEqual(new Set(listed.map((snapshot) => snapshot.id)), new Set(backups.map((backup) => backup.extend_info.snapshot_id)))
  stock.run('check', '--read-data')
})
