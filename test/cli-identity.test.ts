/** The commands about users, roles, keys and shares, as processes against a server of their own. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '..')
const program = join(root, 'node_modules/.bin/opencbr')
const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(':')

interface Ran { readonly code: number | null, readonly stdout: string, readonly stderr: string }

function run(environment: Record<string, string>, ...args: string[]): Ran {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: { PATH: path, ...environment }, timeout: 60_000 })
  return { code: status, stdout, stderr }
}

function json<Answer>(environment: Record<string, string>, ...args: string[]): Answer {
  const ran = run(environment, ...args, '--json')
  assert.equal(ran.code, 0, `opencbr ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
  return JSON.parse(ran.stdout) as Answer
}

test('an administrator makes a project and a user, who acts there with a key of its own', async () => {
  const work = realpathSync(mkdtempSync(join(tmpdir(), 'opencbr-cli-identity-')))
  const data = join(work, 'data')
  const server = spawn(program, ['serve', '--data', data, '--listen', '127.0.0.1:0'], { env: { PATH: path }, stdio: ['ignore', 'inherit', 'pipe'] })
  try {
    const { stderr } = server
    assert.ok(stderr)
    for await (const text of stderr.setEncoding('utf8')) if (String(text).includes('serves on')) break
    const admin = { OPENCBR_DATA: data }
    const { endpoint } = JSON.parse(readFileSync(join(data, 'bootstrap.json'), 'utf8')) as { endpoint: string }

    const { project } = json<{ project: { id: string } }>(admin, 'project', 'create', 'lab')
    const { user } = json<{ user: { id: string, password: string } }>(admin, 'user', 'create', 'eva', '--description', 'of the lab')
    assert.ok(user.password.length >= 20)
    json(admin, 'role', 'create', 'lister', 'cbr:vaults:list', 'cbr:backups:list')
    json(admin, 'group', 'create', 'people')
    assert.equal(run(admin, 'group', 'add-user', 'people', 'eva').code, 0)
    json(admin, 'role', 'assign', 'lister', '--group', 'people', '--project', 'lab')
    assert.match(run(admin, 'role', 'assignments', '--project', 'lab').stdout, /^\S+ +lister +group \S+ +project /m)
    assert.match(run(admin, 'role', 'list').stdout, /^administrator +administrator +yes [^]*lister +no/m)
    assert.match(run(admin, 'user', 'list').stdout, /eva +yes [^]*of the lab/)

    const { access_key: key } = json<{ access_key: { access_key: string, secret_key: string } }>(admin, 'key', 'create', '--user', 'eva')
    const eva = { OPENCBR_ENDPOINT: endpoint, OPENCBR_ACCESS_KEY: key.access_key, OPENCBR_SECRET_KEY: key.secret_key }
    assert.equal(json<{ count: number }>(eva, 'vault', 'list').count, 0)
    const denied = run(eva, 'vault', 'create', 'v', '--type', 'turbo', '--size', '10')
    assert.equal(denied.code, 4)
    assert.match(denied.stderr, /cbr:vaults:create is not permitted/)
    assert.equal(run(eva, 'user', 'list').code, 4)
    assert.equal(run({ ...eva, OPENCBR_PROJECT_ID: project.id }, 'backup', 'list').code, 0)
    assert.match(run(eva, 'key', 'list').stdout, new RegExp(key.access_key))

    assert.equal(run(admin, 'key', 'disable', key.access_key).code, 0)
    assert.equal(run(eva, 'vault', 'list').code, 4)
    assert.equal(run(admin, 'key', 'enable', key.access_key).code, 0)
    assert.equal(run(eva, 'vault', 'list').code, 0)
    assert.notEqual(run(admin, 'user', 'password', 'eva').stdout.trim(), user.password)
    assert.equal(run(admin, 'member', 'list', '00000000-0000-4000-8000-000000000000').code, 3)
    assert.equal(run(admin, 'member', 'accept', '00000000-0000-4000-8000-000000000000').code, 2)
    for (const [noun, name] of [['user', 'eva'], ['group', 'people'], ['role', 'lister'], ['project', 'lab']] as const) {
      const ran = run(admin, noun, 'delete', name, '--yes')
      assert.equal(ran.code, 0, ran.stderr)
      assert.equal(run(admin, noun, 'show', name).code, 3)
    }
    assert.equal(run(eva, 'vault', 'list').code, 4)
  } finally {
    server.kill('SIGTERM')
    if (server.exitCode === null) await once(server, 'exit')
    rmSync(work, { recursive: true, force: true })
  }
})
