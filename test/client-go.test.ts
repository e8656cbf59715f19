/** Go clients as the module proxy has them, against a running server with real backups: Huawei Cloud SDK v3 and gophertelekomcloud. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { bringClient, runDocumented, runToReport, startClientServer, type ClientServer } from './support/client-server.ts'
import { compareTrees } from './support/compare-trees.ts'

const brought = bringClient('go')
const skip = 'unavailable' in brought && brought.unavailable

interface Report { readonly vault_id: string, readonly backup_id: string }

async function runOn<Kept extends Report>(client: ClientServer, program: string, ...words: readonly string[]): Promise<Kept> {
  assert.ok('directory' in brought)
  const report = await runToReport<Kept>([join(brought.directory, 'bin', program), ...words], client.environment)
  const { steps } = client.server
  assert.deepEqual((await steps.get<{ vaults: { id: string }[] }>('/v3/{project_id}/vaults')).vaults.map((each) => each.id), [report.vault_id])
  const { backups } = await steps.get<{ backups: { id: string, status: string }[] }>('/v3/{project_id}/backups')
  assert.deepEqual(backups.map((each) => [each.id, each.status]), [[report.backup_id, 'available']])
  return report
}

test('the Go SDK manages vaults, backups, policies, tags and shares by access keys', { skip, timeout: 120_000 }, async () => {
  await using client = await startClientServer()
  const report = await runOn<Report & { restored: string }>(client, 'huawei-sdk')
  assert.deepEqual(compareTrees(client.source, report.restored), [])
})

for (const credential of ['password', 'access-key']) {
  test(`gophertelekomcloud manages vaults, backups, policies, tags and shares by ${credential}`, { skip, timeout: 120_000 }, async () => {
    await using client = await startClientServer()
    await runOn(client, 'gophertelekomcloud', credential)
    assert.ok(readFileSync(client.target).equals(readFileSync(client.image)), 'the target disk holds what the source held')
  })
}

for (const [section, program] of [['Huawei Cloud SDK for Go', 'huawei-sdk'], ['gophertelekomcloud', 'gophertelekomcloud']] as const) {
  test(`the program for ${program} in docs/clients.md runs`, { skip, timeout: 240_000 }, async () => {
    assert.ok('directory' in brought)
    await using client = await startClientServer()
    for (const file of ['go.mod', 'go.sum']) await copyFile(join(import.meta.dirname, 'clients/go', program, file), join(client.directory, file))
    const ran = await runDocumented(client, section, 'go', {
      environment: {
        GOMODCACHE: join(brought.directory, 'mod'), GOCACHE: join(brought.directory, 'build'), GOTOOLCHAIN: 'local', GOPROXY: 'off', GOFLAGS: '-mod=readonly', CGO_ENABLED: '0',
      },
    })
    assert.match(ran.stdout, /^documented /)
  })
}
