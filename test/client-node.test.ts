/** The core of the Huawei Cloud SDK v3 for Node.js, as its package registry has it, against a running server with real backups. */
import assert from 'node:assert/strict'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { bringClient, runDocumented, runToReport, startClientServer } from './support/client-server.ts'
import { compareTrees } from './support/compare-trees.ts'

const brought = bringClient('node')

const skip = 'unavailable' in brought && brought.unavailable

test('the core of the Node.js SDK signs calls about vaults, backups, policies, tags and shares', { skip, timeout: 120_000 }, async () => {
  assert.ok('directory' in brought)
  await using client = await startClientServer()
  const report = await runToReport<{ vault_id: string, backup_id: string, restored: string }>(
    [process.execPath, join(import.meta.dirname, 'clients/node/lifecycle.mjs'), brought.directory], client.environment,
  )
  assert.deepEqual(compareTrees(client.source, report.restored), [])
  const { steps } = client.server
  assert.deepEqual((await steps.get<{ vaults: { id: string }[] }>('/v3/{project_id}/vaults')).vaults.map((each) => each.id), [report.vault_id])
  const { backups } = await steps.get<{ backups: { id: string, status: string }[] }>('/v3/{project_id}/backups')
  assert.deepEqual(backups.map((each) => [each.id, each.status]), [[report.backup_id, 'available']])
})

test('the program for the core of the Node.js SDK in docs/clients.md runs', { skip, timeout: 120_000 }, async () => {
  assert.ok('directory' in brought)
  await using client = await startClientServer()
  await symlink(join(brought.directory, 'node_modules'), join(client.directory, 'node_modules'))
  const ran = await runDocumented(client, 'Huawei Cloud SDK for Node.js', 'js')
  assert.match(ran.stdout, /^documented /)
})
