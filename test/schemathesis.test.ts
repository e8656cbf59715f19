/**
 * Schemathesis makes calls out of the server's own OpenAPI document, fitting ones and not, with credentials and
 * without, and judges the answers: no 5xx, no call that hangs, no status, type or body other than described.
 *
 * All operations take part. Ids of what exists stand in the paths, so that calls get behind the door; deletions
 * get made-up ids, so that the rest still has something to look at.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { startBackupService, stepsOf } from './support/backup-service.ts'

const SEED = 20_260_115
const CHECKS = 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance'
/** A call without an answer for so long hangs, however busy the machine is. */
const ANSWER_SECONDS_MAX = 60
const RUN_MS_MAX = 8 * 60_000

interface Run {
  readonly url: string
  readonly phases: string
  /** Calls that are made up for each operation, besides those that `phases` lists. */
  readonly examples: number
  readonly headers?: Readonly<Record<string, string>>
  /** Path parameters of every operation. */
  readonly everywhere?: Readonly<Record<string, string>>
  /** Path parameters of what does not delete. */
  readonly kept?: Readonly<Record<string, string>>
}

interface Described {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly security: readonly unknown[] }>>>>
}

interface Report {
  readonly stop_reason: string
  readonly operations: { readonly total: number }
  readonly test_cases: { readonly generated: number }
  /** By operation (`GET /v3/{project_id}/vaults`) and phase; of those that took one call at least. */
  readonly valid_rates: Readonly<Record<string, Readonly<Record<string, { readonly accepted: number }>>>>
}

/** The program; undefined when it cannot be brought, and then the test says so, or fails where everything has to run. */
function bringSchemathesis(t: TestContext): string | undefined {
  const brought = spawnSync('bash', [join(import.meta.dirname, '../scripts/install-schemathesis.sh')], { encoding: 'utf8' })
  if (brought.status === 0) return brought.stdout.trim()
  assert.ok(brought.status === 3 && process.env['CI'] !== 'true', brought.stderr)
  t.skip(brought.stderr.trim())
  return undefined
}

/** Fails when anything was found, or not everything was tried; answers the operations that took a call. */
async function runSchemathesis(program: string, run: Run): Promise<string[]> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'opencbr-schemathesis-'))
  try {
    const config = join(folder, 'schemathesis.toml')
    const report = join(folder, 'report.json')
    await fs.writeFile(config, describe(run))
    // Started there, since it keeps notes of its own in the current directory.
    const child = spawn(program, [
      '--config-file', config, 'run', `${run.url}/openapi.json`, '--checks', CHECKS, '--phases', run.phases, '--max-examples', String(run.examples),
      '--seed', String(SEED), '--generation-database', 'none', '--continue-on-failure', '--request-timeout', String(ANSWER_SECONDS_MAX),
      '--report', 'json', '--report-json-path', report, '--no-color',
    ], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], timeout: RUN_MS_MAX, killSignal: 'SIGKILL' })
    let said = ''
    child.stdout.on('data', (part: Buffer) => { said += part.toString() })
    child.stderr.on('data', (part: Buffer) => { said += part.toString() })
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    })
    // Some of its calls are a line of many thousand characters.
    const readable = said.split('\n').map((line) => line.slice(0, 300)).join('\n')
    assert.equal(code, 0, readable)
    const { stop_reason: stopReason, operations, test_cases: { generated }, valid_rates: rates } = JSON.parse(await fs.readFile(report, 'utf8')) as Report
    const { total } = operations
    assert.ok(total > 100, readable)
    assert.deepEqual({ stopReason, ...operations }, { stopReason: 'completed', total, selected: total, tested: total, errored: 0, skipped: 0, skip_reasons: [] }, readable)
    assert.ok(generated > total, readable)
    return Object.keys(rates).filter((name) => Object.values(rates[name] ?? {}).some(({ accepted }) => accepted > 0))
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

function lines(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).map(([name, value]) => `${JSON.stringify(name)} = ${JSON.stringify(value)}`)
}

/** As TOML; texts of JSON are texts of TOML. */
function describe({ headers = {}, everywhere = {}, kept = {} }: Run): string {
  return [
    '[headers]', ...lines(headers), '[parameters]', ...lines(everywhere),
    // What answers hold is not tried elsewhere: that would find the caller's own user and project, and delete them.
    '[phases.coverage.extra-data-sources]', 'responses = false', '[phases.fuzzing.extra-data-sources]', 'responses = false',
    '[[operations]]', 'include-method = ["GET", "HEAD", "POST", "PUT"]', '[operations.parameters]', ...lines({ ...everywhere, ...kept }), '',
  ].join('\n')
}

test('Schemathesis finds nothing wrong in what is answered to somebody with credentials', async (t) => {
  const program = bringSchemathesis(t)
  if (program === undefined) return
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-schemathesis-world-')))
  try {
    const kept = await makeWorld({ root: join(base, 'root'), dataDir: join(base, 'data') })
    // Without an agent, so that what is asked for waits, and the test does not measure how fast backups are made.
    await using world = await startBackupService({ root: join(base, 'root'), dataDir: join(base, 'data') }, { agent: 'none' })
    const { service } = world
    const taken = await runSchemathesis(program, {
      url: service.url, phases: 'coverage,fuzzing', examples: 3,
      headers: { 'X-Auth-Token': service.token }, everywhere: { project_id: service.projectId }, kept,
    })
    // Else only doors were tried: calls were taken to the end, and neither the credentials nor the vault were lost on the way.
    for (const name of ['GET /v3/{project_id}/vaults', 'GET /v3/{project_id}/backups/{backup_id}', 'GET /x/v1/{project_id}/backups/{backup_id}/files', 'POST /x/v1/roles']) {
      assert.ok(taken.includes(name), `${name} is not among ${taken.join(', ')}`)
    }
    assert.ok(taken.length > 40, taken.join(', '))
    await stepsOf(service).vault(kept['vault_id'] ?? '')
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})

/** One of everything; answers the ids by the names of path parameters. */
async function makeWorld(places: { readonly root: string, readonly dataDir: string }): Promise<Record<string, string>> {
  await using world = await startBackupService(places)
  const { service, steps, root } = world
  await fs.mkdir(join(root, 'mail'))
  await fs.writeFile(join(root, 'mail/file'), 'mail')
  const resource = await steps.declare(join(root, 'mail'))
  const vault = await steps.createVault('turbo', [resource])
  const [backup] = await steps.backUp(vault)
  const [task] = await steps.tasks()
  const agent = randomUUID()
  await steps.send('POST', '/v3/{project_id}/agents', { agent: { agent_id: agent, host_ip: '127.0.0.1', host_name: hostname(), host_os: 'linux' } }, 200)
  const { policy } = await steps.send<{ policy: { id: string } }>('POST', '/v3/{project_id}/policies', {
    policy: { name: 'nightly', operation_type: 'backup', operation_definition: {}, trigger: { properties: { pattern: ['FREQ=DAILY;BYHOUR=3;BYMINUTE=15'] } } },
  }, 200)
  return {
    vault_id: vault, resource_id: resource, backup_id: backup?.id ?? '', checkpoint_id: backup?.checkpoint_id ?? '', operation_log_id: task?.id ?? '', task_id: task?.id ?? '',
    agent_id: agent, policy_id: policy.id, protectable_type: 'turbo', instance_id: resource, domain_name: service.bootstrap.domain_name,
  }
}

test('Schemathesis finds nothing wrong in what is answered to somebody without credentials', async (t) => {
  const program = bringSchemathesis(t)
  if (program === undefined) return
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-schemathesis-world-')))
  try {
    await using world = await startBackupService({ root: join(base, 'root'), dataDir: join(base, 'data') }, { agent: 'none' })
    const taken = await runSchemathesis(program, { url: world.service.url, phases: 'fuzzing', examples: 2, everywhere: { project_id: world.service.projectId } })
    const { paths } = (await world.service.call<Described>('GET', '/openapi.json')).body
    const isPublic = (name: string): boolean => {
      const [method = '', path = ''] = name.split(' ')
      return paths[path]?.[method.toLowerCase()]?.security.length === 0
    }
    assert.deepEqual(taken.filter((name) => !isPublic(name)), [])
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})
