/**
 * The Terraform provider for Huawei Cloud, driven by OpenTofu, both built from what the module proxy has, against a running
 * server with a real backup. The provider's configuration is what `opencbr env terraform` prints, and the resources are
 * those of docs/clients.md. The provider waits by a clock of its own, half a minute at a time.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { bringClient, documentedBlock, runProgram, startClientServer, type Ran } from './support/client-server.ts'

const brought = bringClient('terraform')
const skip = 'unavailable' in brought && brought.unavailable

const MODULE = 'github.com/huaweicloud/terraform-provider-huaweicloud'

/** A directory with the provider where OpenTofu looks for one that no registry has to hand out, and the settings that say so. */
async function layOutMirror(programs: string, work: string): Promise<string> {
  const modules = await fs.readFile(join(import.meta.dirname, 'clients/terraform/modules.txt'), 'utf8')
  const version = modules.split('\n').map((line) => line.split(' ')).find(([module]) => module === MODULE)?.[1]
  assert.ok(version !== undefined)
  const machine = `linux_${process.arch === 'x64' ? 'amd64' : process.arch}`
  const place = join(work, 'mirror/registry.opentofu.org/huaweicloud/huaweicloud', version.slice(1), machine)
  await fs.mkdir(place, { recursive: true })
  await fs.copyFile(join(programs, 'bin/terraform-provider-huaweicloud'), join(place, 'terraform-provider-huaweicloud'))
  const settings = join(work, 'tofu.rc')
  await fs.writeFile(settings, `provider_installation {\n  filesystem_mirror {\n    path = ${JSON.stringify(join(work, 'mirror'))}\n  }\n}\n`)
  return settings
}

test('Terraform makes a policy, a vault and a checkpoint, finds no drift, changes the vault, and takes all away', { skip, timeout: 900_000 }, async () => {
  assert.ok('directory' in brought)
  await using client = await startClientServer()
  const { server, environment, first, work, resourceId } = client
  const { steps } = server
  const folder = join(work, 'configuration')
  await fs.mkdir(folder)
  const described = await runProgram([process.execPath, join(import.meta.dirname, '../packages/cli/src/main.ts'), 'env', 'terraform'], {
    ...environment, OPENCBR_ENDPOINT: server.url, OPENCBR_ACCESS_KEY: first.accessKey, OPENCBR_SECRET_KEY: first.secretKey, OPENCBR_PROJECT_ID: first.projectId,
  })
  assert.equal(described.code, 0, described.stderr)
  await fs.writeFile(join(folder, 'provider.tf'), described.stdout)
  const resources = await documentedBlock('Terraform', 'hcl')
  await fs.writeFile(join(folder, 'main.tf'), resources)

  const program = join(brought.directory, 'bin/tofu')
  const variables = { ...environment, TF_CLI_CONFIG_FILE: await layOutMirror(brought.directory, work), TF_IN_AUTOMATION: '1', TF_VAR_folder: resourceId }
  const attempt = (...words: string[]): Promise<Ran> => runProgram([program, ...words], variables, { directory: folder, millisecondsMax: 400_000 })
  const run = async (...words: string[]): Promise<string> => {
    const ran = await attempt(...words)
    assert.equal(ran.code, 0, `tofu ${words.join(' ')}\n${ran.stdout}\n${ran.stderr}`)
    return ran.stdout
  }
  /** 0: nothing to do, 2: changes are due. */
  const plan = async (): Promise<number | null> => (await attempt('plan', '-input=false', '-no-color', '-detailed-exitcode')).code

  await run('init', '-input=false', '-no-color')
  await run('validate', '-no-color')
  assert.equal(await plan(), 2)
  await run('apply', '-input=false', '-no-color', '-auto-approve')

  const { vaults: [vault, ...others] } = await steps.get<{ vaults: { id: string, name: string, tags: unknown, resources: { id: string }[], billing: { size: number } }[] }>('/v3/{project_id}/vaults')
  assert.ok(vault !== undefined && others.length === 0)
  assert.deepEqual([vault.name, vault.billing.size, vault.tags, vault.resources.map((each) => each.id)], ['home', 100, [{ key: 'team', value: 'lab' }], [resourceId]])
  const { policies } = await steps.get<{ policies: { name: string, associated_vaults: { vault_id: string }[] }[] }>('/v3/{project_id}/policies')
  assert.deepEqual(policies.map((each) => [each.name, each.associated_vaults.map((one) => one.vault_id)]), [['nightly', [vault.id]]])
  const { backups } = await steps.get<{ backups: { id: string, status: string, resource_id: string }[] }>('/v3/{project_id}/backups')
  assert.deepEqual(backups.map((each) => [each.status, each.resource_id]), [['available', resourceId]])
  const outputs = JSON.parse(await run('output', '-json')) as { backups: { value: string[] } }
  assert.deepEqual(outputs.backups.value, backups.map((each) => each.id), 'the data source lists what was backed up')

  assert.equal(await plan(), 0, 'what was applied is what is there')
  await fs.writeFile(join(folder, 'main.tf'), resources.replace(/size( +)= 100/, 'size$1= 200'))
  assert.equal(await plan(), 2)
  await run('apply', '-input=false', '-no-color', '-auto-approve')
  assert.equal((await steps.get<{ vault: { billing: { size: number } } }>(`/v3/{project_id}/vaults/${vault.id}`)).vault.billing.size, 200)
  assert.equal(await plan(), 0)

  await run('destroy', '-input=false', '-no-color', '-auto-approve')
  for (const noun of ['vaults', 'policies', 'backups']) {
    assert.deepEqual((await steps.get<Record<string, unknown[]>>(`/v3/{project_id}/${noun}`))[noun], [], `no ${noun} are left`)
  }
})
