/**
 * OpenStack's Cinder as a peer of the listing: its volume API lists backups too, by filters, in an order, page by page and with
 * a count. It comes from Debian's packages, unpacked and started without privileges: two workers, SQLite, no Keystone
 * (its own `noauth`), so that only listing is compared.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { findFreePort } from '@opencbr/testkit'

export interface CinderServer extends AsyncDisposable {
  readonly port: number
  /** Of the process that started the workers. */
  readonly pid: number
  readonly projectId: string
  readonly headers: Readonly<Record<string, string>>
  /** The package's version of Cinder. */
  readonly version: string
}

const PROJECT_ID = 'c'.repeat(32)
const WORKERS = 2
const START_MS_MAX = 60_000

const PASTE = `
[composite:osapi_volume]
use = call:cinder.api:root_app_factory
/v3: v3
[composite:v3]
use = call:cinder.api.middleware.auth:pipeline_factory
noauth = request_id faultwrap sizelimit noauth apiv3
[filter:request_id]
paste.filter_factory = oslo_middleware.request_id:RequestId.factory
[filter:faultwrap]
paste.filter_factory = cinder.api.middleware.fault:FaultWrapper.factory
[filter:sizelimit]
paste.filter_factory = oslo_middleware.sizelimit:RequestBodySizeLimiter.factory
[filter:noauth]
paste.filter_factory = cinder.api.middleware.auth:NoAuthMiddleware.factory
[app:apiv3]
paste.app_factory = cinder.api.v3.router:APIRouter.factory
`

/** Starts it in a folder, with so many backups in one project. Throws with the reason when Cinder cannot be brought. */
export async function startCinderServer(folder: string, backups: number): Promise<CinderServer> {
  const brought = spawnSync('bash', [join(import.meta.dirname, '../../scripts/install-cinder.sh')], { encoding: 'utf8' })
  if (brought.status !== 0) throw new Error(brought.stderr.trim().split('\n').at(-1) ?? 'no Cinder can be brought')
  const packages = join(brought.stdout.trim(), 'usr/lib/python3/dist-packages')
  const port = await findFreePort()
  const configFile = join(folder, 'cinder.conf')
  await writeFile(join(folder, 'paste.ini'), PASTE)
  await writeFile(configFile, `[DEFAULT]
auth_strategy = noauth
state_path = ${folder}
transport_url = fake://
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = ${port}
osapi_volume_workers = ${WORKERS}
osapi_max_limit = 1000
api_paste_config = ${join(folder, 'paste.ini')}
[database]
connection = sqlite:///${join(folder, 'cinder.db')}
[oslo_concurrency]
lock_path = ${folder}
`)
  const logFile = join(folder, 'log')
  const run = (module: string, args: readonly string[]): ChildProcess => {
    const log = openSync(logFile, 'a', 0o600)
    try {
      const program = `import sys; sys.argv = ${JSON.stringify(['cinder', '--config-file', configFile, ...args])}; from ${module} import main; main()`
      return spawn('/usr/bin/python3', ['-c', program], { cwd: folder, stdio: ['ignore', log, log], env: { ...process.env, PYTHONPATH: packages } })
    } finally {
      closeSync(log)
    }
  }
  const [code] = await once(run('cinder.cmd.manage', ['db', 'sync']), 'exit') as [number | null]
  if (code !== 0) throw new Error(`Cinder cannot make its database: ${readFileSync(logFile, 'utf8').slice(-2000)}`)
  fill(join(folder, 'cinder.db'), backups)
  const server = run('cinder.cmd.api', [])
  const ended = once(server, 'exit')
  const headers = { 'x-auth-token': `admin:${PROJECT_ID}`, 'openstack-api-version': 'volume 3.60' }
  const end = async (): Promise<void> => {
    if (server.exitCode === null && server.signalCode === null) server.kill('SIGTERM')
    await ended
  }
  try {
    await answers(`http://127.0.0.1:${port}/v3/${PROJECT_ID}/backups/detail?limit=1`, headers, server, logFile)
  } catch (error) {
    await end()
    throw error
  }
  const asked = spawnSync('/usr/bin/python3', ['-c', 'from cinder.version import version_info; print(version_info.version_string())'], { encoding: 'utf8', env: { ...process.env, PYTHONPATH: packages } })
  return { port, pid: server.pid ?? 0, projectId: PROJECT_ID, headers, version: asked.stdout.trim(), [Symbol.asyncDispose]: end }
}

/** Rows as its own API would have written them, five minutes apart; every twentieth failed, and a volume has ten. */
function fill(path: string, backups: number): void {
  using database = new DatabaseSync(path)
  const insert = database.prepare(`insert into backups (
    created_at, updated_at, data_timestamp, deleted, id, volume_id, user_id, project_id, host, availability_zone, display_name, display_description, container, status,
    service, size, object_count, num_dependent_backups
  ) values (?, ?, ?, 0, ?, ?, ?, ?, 'host-1', 'az-1', ?, '', 'volumebackups', ?, 'cinder.backup.drivers.swift.SwiftBackupDriver', 10, 1, 0)`)
  database.exec('begin')
  let volumeId = ''
  for (let index = 0; index < backups; index += 1) {
    if (index % 10 === 0) volumeId = randomUUID()
    const time = `${new Date(Date.UTC(2024, 0, 1) + index * 300_000).toISOString().slice(0, 23).replace('T', ' ')}000`
    insert.run(time, time, time, randomUUID(), volumeId, 'd'.repeat(32), PROJECT_ID, `backup-${index}`, index % 20 === 0 ? 'error' : 'available')
  }
  database.exec('commit')
}

async function answers(url: string, headers: Readonly<Record<string, string>>, server: ChildProcess, logFile: string): Promise<void> {
  const impatientAt = performance.now() + START_MS_MAX
  for (;;) {
    const answer = await fetch(url, { headers }).catch(() => undefined)
    if (answer?.status === 200) return
    if (server.exitCode !== null || performance.now() > impatientAt) {
      throw new Error(`Cinder does not start: ${answer?.status ?? ''} ${readFileSync(logFile, 'utf8').slice(-2000)}`)
    }
    await sleep(100)
  }
}
