/** `opencbr policy`: the real program against the real service. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Deployment, OrganizationPolicy, Policy, PolicyPreview } from '@opencbr/contract'
import { startTestService } from '@opencbr/testkit'

const program = join(import.meta.dirname, '../node_modules/.bin/opencbr')
const path = (process.env['PATH'] ?? '').split(':').filter((folder) => !folder.includes('node_modules')).join(':')

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function runOn(service: { url: string, token: string }, ...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const env = { PATH: path, OPENCBR_ENDPOINT: service.url, OPENCBR_TOKEN: service.token }
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

test('a policy from its creation over previews and runs to its end', async () => {
  await using service = await startTestService({ agent: 'none' })
  const opencbr = async (...args: string[]): Promise<Ran> => {
    const ran = await runOn(service, ...args)
    assert.equal(ran.code, 0, `opencbr ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
    return ran
  }
  await opencbr('vault', 'create', 'docs', '--type', 'turbo', '--size', '10')
  const made = JSON.parse((await opencbr(
    'policy', 'create', 'nightly', '--at', '1:30', '--at', '13:00', '--days', 'mo,fr', '--keep', '3', '--keep-weekly', '4', '--time-zone', 'Europe/Berlin', '--vault', 'docs', '--json',
  )).stdout) as { policy: Policy }
  assert.deepEqual(made.policy.trigger.properties.pattern, ['FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=01;BYMINUTE=30', 'FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=13;BYMINUTE=00'])
  const { max_backups, week_backups, timezone } = made.policy.operation_definition
  assert.deepEqual([max_backups, week_backups, timezone, made.policy.associated_vaults?.length], [3, 4, 'UTC+00:00', 1])
  assert.match((await opencbr('policy', 'list')).stdout, /nightly +backup +yes +the newest 3, 4 weekly +FREQ=WEEKLY/)
  assert.match((await opencbr('policy', 'show', 'nightly')).stdout, /time zone +Europe\/Berlin\nnext run +2026-01-16 00:30:00 UTC/)

  const { preview } = JSON.parse((await opencbr('policy', 'preview', 'nightly', '--vault', 'docs', '--runs', '5', '--json')).stdout) as { preview: PolicyPreview }
  assert.deepEqual([preview.runs.length, preview.retention?.kept], [5, 0])
  assert.match((await opencbr('policy', 'preview', '--at', '02:30', '--time-zone', 'Europe/Berlin', '--from', '2026-03-28T12:00:00Z', '--keep-days', '7')).stdout, /2026-03-29 01:00:00 +2026-03-29 02:30 \(skipped by the clocks\) +2026-04-05/)

  service.clock.advanceSeconds(17 * 3600)
  await service.service.scheduler.tick()
  assert.match((await opencbr('policy', 'runs', 'nightly')).stdout, /2026-01-16 00:30:00 .* skipped +0 +- +There is nothing to back up/)

  const dry = JSON.parse((await opencbr('policy', 'update', 'nightly', '--keep-days', '9', '--dry-run', '--json')).stdout) as { previews: PolicyPreview[] }
  assert.equal(dry.previews.length, 1)
  assert.match((await opencbr('policy', 'update', 'nightly', '--keep-days', '9', '--disable', '--name', 'rare')).stdout, /enabled +no\n[^]*keeps +9 days/)
  await opencbr('policy', 'dissociate', 'rare', 'docs')
  await opencbr('policy', 'associate', 'rare', 'docs')
  assert.match((await opencbr('policy', 'delete', 'rare', '--dry-run')).stdout, /UNBOUND FROM VAULT/)
  await opencbr('policy', 'delete', 'rare', '--yes')
  assert.equal((await runOn(service, 'policy', 'show', 'rare')).code, 3)
  assert.equal((await runOn(service, 'policy', 'create', 'x')).code, 2)
  assert.equal((await runOn(service, 'policy', 'create', 'x', '--at', '25:00')).code, 4)
})

test('a policy of the domain, from its creation to its end', async () => {
  await using service = await startTestService({ agent: 'none' })
  const opencbr = async (...args: string[]): Promise<Ran> => {
    const ran = await runOn(service, 'organization-policy', ...args)
    assert.equal(ran.code, 0, `opencbr ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
    return ran
  }
  const made = JSON.parse((await opencbr('create', 'baseline', '--at', '01:30', '--keep-days', '30', '--policy-name', 'nightly', '--json')).stdout) as {
    policy: OrganizationPolicy, deployments: Deployment[]
  }
  assert.deepEqual([made.policy.policy_name, made.policy.policy_operation_definition.retention_duration_days, made.deployments.length], ['nightly', 30, 1])
  assert.match((await opencbr('list')).stdout, /baseline +backup +yes +root +30 days +available/)
  assert.match((await runOn(service, 'policy', 'list')).stdout, /nightly +backup +yes/)
  const changed = await opencbr('update', 'baseline', '--keep', '5', '--disable', '--scope', service.projectId, '--yes')
  assert.match(changed.stdout, /enabled +no\n[^]*keeps +the newest 5\n/)
  assert.match((await opencbr('show', 'baseline')).stdout, new RegExp(`${service.projectId} +${made.deployments[0]?.policy_id} +available`))
  await opencbr('delete', 'baseline', '--yes')
  assert.equal((await runOn(service, 'organization-policy', 'show', 'baseline')).code, 3)
})
