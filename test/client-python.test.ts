/** The Huawei Cloud SDK v3 for Python, as its package registry has it, against a running server with real backups. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { bringClient, runDocumented, runToReport, startClientServer } from './support/client-server.ts'
import { compareTrees } from './support/compare-trees.ts'

const brought = bringClient('python')

const skip = 'unavailable' in brought && brought.unavailable

test('the Python SDK manages vaults, backups, policies, tags and shares by access keys', { skip, timeout: 120_000 }, async () => {
  assert.ok('directory' in brought)
  await using client = await startClientServer()
  const report = await runToReport<{ vault_id: string, deleted_vault_id: string, backup_id: string, restored: string }>(
    [join(brought.directory, 'bin/python'), join(import.meta.dirname, 'clients/python-sdk/lifecycle.py')], client.environment,
  )
  assert.deepEqual(compareTrees(client.source, report.restored), [])
  const { steps } = client.server
  assert.deepEqual((await steps.get<{ vaults: { id: string }[] }>('/v3/{project_id}/vaults')).vaults.map((each) => each.id), [report.vault_id])
  const { backups } = await steps.get<{ backups: { id: string, status: string }[] }>('/v3/{project_id}/backups')
  assert.deepEqual(backups.map((each) => [each.id, each.status]), [[report.backup_id, 'available']])
})

test('the program for the Python SDK in docs/clients.md runs', { skip, timeout: 120_000 }, async () => {
  assert.ok('directory' in brought)
  await using client = await startClientServer()
  const ran = await runDocumented(client, 'Huawei Cloud SDK for Python', 'python', { path: [join(brought.directory, 'bin')] })
  assert.match(ran.stdout, /^documented /)
})
