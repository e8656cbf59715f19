/** The command line as people use it: the real program, against a real server in a process of its own. */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { compareTrees } from './support/compare-trees.ts'
import { restic, resticBinaries } from './support/restic.ts'

const root = join(import.meta.dirname, '..')
/** As a shell finds it; npm would put the project's own Node first. */
const path = (process.env['PATH'] ?? '').split(':').filter((folder) => !folder.includes('node_modules')).join(':')
const program = join(root, 'node_modules/.bin/opencbr')

const work = mkdtempSync(join(tmpdir(), 'opencbr-cli-'))
const data = join(work, 'data')
const source = join(work, 'source')
const restored = join(work, 'restored')
let server: ChildProcess

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function runWith(environment: Record<string, string>, ...args: string[]): Ran {
  const run = spawnSync(program, args, { cwd: work, encoding: 'utf8', env: { PATH: path, ...environment }, timeout: 120_000 })
  return { code: run.status, stdout: run.stdout, stderr: run.stderr }
}

/** Runs a command on the test's server, which must succeed. */
function opencbr(...args: string[]): Ran {
  const ran = runWith({}, ...args)
  assert.equal(ran.code, 0, `opencbr ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
  return ran
}

function json<Answer>(...args: string[]): Answer {
  return JSON.parse(opencbr(...args, '--json').stdout) as Answer
}

/** Starts a server, and resolves when it says that it serves. */
async function startServer(dataDir: string, ...args: string[]): Promise<ChildProcess> {
  const child = spawn(program, ['serve', '--data', dataDir, '--listen', '127.0.0.1:0', ...args], {
    env: { PATH: path }, stdio: ['ignore', 'inherit', 'pipe'],
  })
  const { stderr } = child
  assert.ok(stderr)
  let said = ''
  const serves = Promise.withResolvers<ChildProcess>()
  // Read on to the end, so that the server never waits for us.
  stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
    if (said.includes('serves on')) serves.resolve(child)
  })
  child.once('close', () => serves.reject(new Error(`The server did not start: ${said}`)))
  return serves.promise
}

before(async () => {
  mkdirSync(source)
  mkdirSync(restored)
  writeFileSync(join(source, 'letter.txt'), 'Dear reader,\n')
  mkdirSync(join(source, '写真'))
  writeFileSync(join(source, '写真', 'picture'), Buffer.alloc(3_000_000, 'picture'))
  symlinkSync('letter.txt', join(source, 'link'))
  server = await startServer(data, '--allow-path', work)
})

after(async () => {
  server.kill('SIGTERM')
  if (server.exitCode === null) await once(server, 'exit')
  rmSync(work, { recursive: true, force: true })
})

interface Backups {
  readonly count: number
  readonly backups: readonly { readonly id: string, readonly name: string, readonly status: string, readonly incremental: boolean }[]
}

test('from a folder to a backup and back, with names for ids', () => {
  const { resource } = json<{ resource: { id: string, name: string, type: string } }>('resource', 'add', source)
  assert.deepEqual([resource.name, resource.type], ['source', 'OS::Sfs::Turbo'])
  assert.match(opencbr('resource', 'list').stdout, new RegExp(`^ID +NAME .*\\n${resource.id} +source +OS::Sfs::Turbo .* ${source}\\n$`))

  const created = json<{ vault: { id: string, billing: { size: number } } }>('vault', 'create', 'home', '--type', 'turbo', '--size', '50', '--resource', 'source')
  assert.equal(created.vault.billing.size, 50)
  assert.match(opencbr('vault', 'list', '--resource', 'source').stdout, new RegExp(`\\n${created.vault.id} +home +turbo +available .* 50 GB +1 `))
  assert.equal(json<{ vault: { name: string, billing: { size: number } } }>('vault', 'update', 'home', '--size', '60').vault.billing.size, 60)
  assert.match(opencbr('vault', 'show', 'home').stdout, /^used +\d+ MB of 60 GB$/m)
  assert.match(opencbr('protectable', 'list', 'turbo').stdout, /source .* home/)

  const first = json<{ checkpoint: { id: string, status: string } }>('checkpoint', 'create', 'home', '--name', 'first', '--wait')
  assert.equal(first.checkpoint.status, 'available')
  assert.match(opencbr('checkpoint', 'show', first.checkpoint.id).stdout, /^status +available$/m)
  const second = opencbr('checkpoint', 'create', 'home', '--name', 'second', '--wait')
  assert.match(second.stderr, /^backup source: success$/m)

  const all = json<Backups>('backup', 'list', '--vault', 'home', '--status', 'available', '--status', 'error', '--sort', 'name:asc')
  assert.deepEqual([all.count, all.backups.map(({ name }) => name)], [2, ['first', 'second']])
  assert.equal(json<Backups>('backup', 'list', '--name', 'first', '--resource', 'source').count, 1)
  assert.equal(json<Backups>('backup', 'list', '--status', 'error').count, 0)
  const page = opencbr('backup', 'list', '--limit', '1')
  assert.match(page.stdout, /^ID +NAME +STATUS .*\n\S+ +second +available +source /)
  assert.match(page.stderr, /^1 of 2 are shown/)

  assert.match(opencbr('backup', 'update', 'first', '--description', 'the very first').stdout, /^description +the very first$/m)
  assert.match(opencbr('backup', 'show', 'first').stdout, /^status +available$/m)
  assert.equal(json<{ backup_id: string }>('backup', 'metadata', 'first').backup_id, all.backups[0]?.id)

  const to = join(restored, 'again')
  const back = json<{ operation_log: { status: string } }>('backup', 'restore', 'first', '--to', to, '--wait')
  assert.equal(back.operation_log.status, 'success')
  assert.deepEqual(compareTrees(source, to), [])

  const { recovery_kit: kit } = json<{ recovery_kit: { repository: string, password: string } }>('vault', 'recovery-kit', 'home')
  const [binary = ''] = resticBinaries()
  const snapshots = JSON.parse(restic(binary, kit.repository, kit.password).run('snapshots', '--json').stdout.toString()) as unknown[]
  assert.equal(snapshots.length, 2)
  const shell = spawnSync('sh', ['-c', `eval "$(${program} vault recovery-kit home)" && printf '%s|%s' "$RESTIC_REPOSITORY" "$RESTIC_PASSWORD"`], {
    cwd: work, encoding: 'utf8', env: { PATH: path },
  })
  assert.equal(shell.stdout, `${kit.repository}|${kit.password}`)

  opencbr('backup', 'delete', 'first', '--wait')
  assert.equal(runWith({}, 'backup', 'show', 'first').code, 3)
  const tasks = json<{ operation_logs: { id: string, operation_type: string, status: string }[] }>('task', 'list', '--vault', 'home')
  assert.deepEqual(tasks.operation_logs.map((task) => `${task.operation_type} ${task.status}`), ['delete success', 'restore success', 'backup success', 'backup success'])
  assert.match(opencbr('task', 'show', tasks.operation_logs[0]?.id ?? '').stdout, /^freed +\d.*\nstill to free +\d/m)

  assert.equal(runWith({}, 'resource', 'remove', 'source').code, 4)
  opencbr('vault', 'remove-resource', 'home', 'source', '--wait')
  assert.equal(json<Backups>('backup', 'list').count, 0)
  opencbr('vault', 'add-resource', 'home', 'source')
  opencbr('vault', 'delete', 'home', '--wait')
  assert.equal(runWith({}, 'vault', 'show', 'home').code, 3)
  assert.ok(!existsSync(kit.repository))
  opencbr('resource', 'remove', 'source')
  assert.equal(opencbr('resource', 'list').stderr, 'No resources.\n')
})

function expectEnd(code: number, text: RegExp, ran: Ran): void {
  assert.equal(ran.code, code, ran.stdout + ran.stderr)
  assert.match(ran.stderr, text)
  assert.equal(ran.stdout, '')
}

test('a disk image comes back over itself and over another disk', () => {
  const [image, other] = [join(work, 'disk.img'), join(work, 'other.img')]
  const content = Buffer.alloc(3 << 20)
  content.fill('data', 1 << 20, (1 << 20) + 5000)
  writeFileSync(image, content)
  writeFileSync(other, Buffer.alloc(4 << 20, 1))
  for (const disk of [image, other]) assert.match(opencbr('resource', 'add', disk).stdout, /^type +OS::Cinder::Volume$/m)
  opencbr('vault', 'create', 'disks', '--type', 'disk', '--size', '10', '--resource', 'disk.img')
  opencbr('checkpoint', 'create', 'disks', '--name', 'disk', '--wait')
  writeFileSync(image, Buffer.alloc(3 << 20, 2))
  for (const [disk, name] of [[image, 'disk.img'], [other, 'other.img']] as const) {
    opencbr('backup', 'restore', 'disk', '--volume', name, '--wait')
    assert.equal(readFileSync(disk).subarray(0, 3 << 20).compare(content), 0, name)
  }
  assert.equal(readFileSync(other).subarray(3 << 20).compare(Buffer.alloc(1 << 20, 1)), 0)
})

test('each way to end has its exit code, and says why on standard error', async () => {
  expectEnd(2, /unknown option '--colour'/, runWith({}, 'backup', 'list', '--colour'))
  expectEnd(2, /missing required argument/, runWith({}, 'vault', 'show'))
  expectEnd(2, /Say where to/, runWith({}, 'backup', 'restore', 'x'))
  expectEnd(2, /bootstrap\.json cannot be read/, runWith({}, 'vault', 'list', '--data', 'nowhere'))
  expectEnd(3, /no vault with the name or id nothing/, runWith({}, 'vault', 'show', 'nothing'))
  expectEnd(3, /BackupService\.6105/, runWith({}, 'vault', 'show', '00000000-0000-4000-8000-000000000000'))
  expectEnd(4, /BackupService\.9900: .*limit/, runWith({}, 'backup', 'list', '--limit', '0'))
  expectEnd(4, /resource\.path/, runWith({}, 'resource', 'add', join(work, 'missing'), '--type', 'tree'))
  expectEnd(4, /APIGW\.0301/, runWith({ OPENCBR_ENDPOINT: endpoint(), OPENCBR_TOKEN: 'wrong', OPENCBR_PROJECT_ID: 'x' }, 'vault', 'list'))
  expectEnd(6, /cannot be reached: ECONNREFUSED/, runWith({ OPENCBR_ENDPOINT: await closedAddress(), OPENCBR_TOKEN: 'x', OPENCBR_PROJECT_ID: 'x' }, 'vault', 'list'))
  const refused = runWith({}, 'backup', 'list', '--limit', '0', '--json')
  assert.equal((JSON.parse(refused.stderr) as { error_code: string }).error_code, 'BackupService.9900')

  for (const name of ['twin', 'twin']) opencbr('vault', 'create', name, '--type', 'turbo', '--size', '10')
  expectEnd(2, /There are 2 vaults with the name twin; use the id/, runWith({}, 'vault', 'show', 'twin'))
})

test('a task that fails ends the waiting command with 5, and the reason', () => {
  const folder = join(work, 'soon gone')
  mkdirSync(folder)
  opencbr('resource', 'add', folder, '--name', 'gone')
  opencbr('vault', 'create', 'unlucky', '--type', 'turbo', '--size', '10', '--resource', 'gone')
  rmSync(folder, { recursive: true })
  const ran = runWith({}, 'checkpoint', 'create', 'unlucky', '--wait')
  assert.equal(ran.code, 5, ran.stdout + ran.stderr)
  assert.match(ran.stderr, /The task \S+ \(backup gone\) ended as failed: BackupService\.\d{4}: \S/)
  assert.equal(json<Backups>('backup', 'list', '--vault', 'unlucky', '--status', 'error').count, 1)
})

test('a token and the access key open the same project as the data directory', () => {
  const token = opencbr('token').stdout.trim()
  const bootstrap = JSON.parse(readFileSync(join(data, 'bootstrap.json'), 'utf8')) as { access_key: string, secret_key: string, project_id: string }
  const count = json<{ count: number }>('vault', 'list').count
  assert.ok(count > 0)
  for (const credentials of [
    { OPENCBR_TOKEN: token },
    { OPENCBR_ACCESS_KEY: bootstrap.access_key, OPENCBR_SECRET_KEY: bootstrap.secret_key },
    { OPENCBR_ACCESS_KEY: bootstrap.access_key, OPENCBR_SECRET_KEY: bootstrap.secret_key, OPENCBR_PROJECT_ID: bootstrap.project_id },
  ]) {
    const ran = runWith({ OPENCBR_ENDPOINT: endpoint(), ...credentials }, 'vault', 'list', '--json')
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal((JSON.parse(ran.stdout) as { count: number }).count, count)
  }
})

test('waiting gives up at --timeout, and ends at Ctrl-C, without touching the task', async () => {
  await using stub = await serveRunningTask()
  const environment = { PATH: path, OPENCBR_ENDPOINT: stub.url, OPENCBR_TOKEN: 'any', OPENCBR_PROJECT_ID: 'any' }
  const impatient = spawn(program, ['task', 'wait', 'one', '--timeout', '0'], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  assert.ok(impatient.stderr)
  const said = Array.fromAsync(impatient.stderr.setEncoding('utf8'))
  assert.deepEqual(await once(impatient, 'exit'), [7, null])
  assert.match((await said).join(''), /backup mail: running 40 %[^]*goes on.*opencbr task wait one/)

  const asked = once(stub.server, 'request')
  const waiting = spawn(program, ['task', 'wait', 'one'], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  assert.ok(waiting.stderr)
  await Promise.all([asked, once(waiting.stderr, 'data')])
  waiting.kill('SIGINT')
  assert.deepEqual(await once(waiting, 'exit'), [130, null])
})

test('a stopped server ends with 0, and its data directory opens again', async () => {
  const own = join(work, 'own')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const child = await startServer(own)
    child.kill(signal)
    assert.deepEqual(await once(child, 'exit'), [0, null])
  }
})

test('npm start tells of an allowed path that is not there, and stops in an orderly way when npm is asked to', async () => {
  const environment = {
    PATH: path, HOME: work, OPENCBR_DATA: join(work, 'npm'), OPENCBR_LISTEN: '127.0.0.1:0', OPENCBR_ALLOW_PATH: `${work}:${join(work, 'later')}`,
  }
  const npm = spawn('npm', ['start'], { cwd: root, env: environment, stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  try {
    const { stderr } = npm
    assert.ok(stderr)
    let said = ''
    const serves = Promise.withResolvers<void>()
    stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (said.includes('serves on')) serves.resolve()
    })
    npm.once('exit', () => serves.reject(new Error(said)))
    await serves.promise
    npm.kill('SIGTERM')
    assert.deepEqual(await once(npm, 'exit'), [0, null])
    assert.match(said, /^The allowed path \S+\/later does not exist/m)
    assert.equal(said.match(/allowed path/g)?.length, 1)
    assert.match(said, /OpenCBR stops \(SIGTERM\)/)
  } finally {
    if (npm.pid !== undefined) killGroup(npm.pid)
  }
})

test('populating twice with the same seed is refused, once fills the catalogue', () => {
  const own = join(work, 'populated')
  const args = ['dev', 'populate', '--data', own, '--backups', '50', '--vaults', '3', '--seed', '7']
  assert.match(opencbr(...args).stderr, /^Populated /m)
  const again = runWith({}, ...args)
  assert.equal(again.code, 1)
  assert.match(again.stderr, /^opencbr: .*seed 7/)
})

function endpoint(): string {
  return (JSON.parse(readFileSync(join(data, 'bootstrap.json'), 'utf8')) as { endpoint: string }).endpoint
}

/** Leaves nothing running, whatever the test has found. */
function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // Nothing of it is left, as it should be.
  }
}

/** An address at which nobody listens any more. */
async function closedAddress(): Promise<string> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  return `http://127.0.0.1:${port}`
}

/** A server whose one task never ends. */
async function serveRunningTask(): Promise<{ url: string, server: Server } & AsyncDisposable> {
  const task = {
    id: 'one', operation_type: 'backup', status: 'running', vault_name: 'v', error_info: { code: '', message: '' },
    extra_info: { common: { progress: 40 }, resource: { id: 'r', name: 'mail', type: 'OS::Sfs::Turbo' } },
  }
  const stub = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ operation_log: task }))
  })
  stub.listen(0, '127.0.0.1')
  await once(stub, 'listening')
  return {
    url: `http://127.0.0.1:${(stub.address() as AddressInfo).port}`,
    server: stub,
    async [Symbol.asyncDispose]() {
      stub.closeAllConnections()
      stub.close()
      await once(stub, 'close')
    },
  }
}
