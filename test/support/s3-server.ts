/**
 * A real S3 server for one test file: Ceph's object gateway with one monitor and one store in memory, on
 * free ports of the loopback interface, its data in a directory that goes away with it.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
}

/** How long the whole cluster may take; it needs about ten seconds on an idle machine. */
const START_MS_MAX = 180_000

const POLL_MS = 250

/** Brings the server's programs. Returns the folder they lie in, or the reason why there are none. */
export function bringS3Server(): { readonly root: string } | { readonly unavailable: string } {
  const script = join(import.meta.dirname, '../../scripts/install-s3-server.sh')
  const brought = spawnSync('bash', [script], { encoding: 'utf8' })
  const root = brought.stdout.trim()
  if (brought.status === 0 && root !== '') return { root }
  return { unavailable: brought.stderr.trim().split('\n').at(-1) ?? 'no S3 server can be brought' }
}

const allow = (...parts: string[]) => parts.flatMap((part) => ['--cap', part, 'allow *'])

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

function configuration(root: string, directory: string, fsid: string, ports: readonly number[]): string {
  const [gateway, monitor] = ports
  const libraries = dirname(fs.globSync(join(root, 'usr/lib/{*-linux-*,}/ceph/erasure-code'))[0] ?? '')
  const classes = fs.globSync(join(root, 'usr/lib/{*-linux-*,}/rados-classes'))[0] ?? ''
  return `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${monitor}/0
public network = 127.0.0.0/8
run dir = ${directory}/run
admin socket = ${directory}/run/$name.$pid.asok
log file = ${directory}/log/$name.log
crash dir = ${directory}/run
keyring = ${directory}/keyring
plugin dir = ${libraries}
erasure code dir = ${libraries}/erasure-code
osd class dir = ${classes}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data = ${directory}/mon.a
mon data avail crit = 1
osd data = ${directory}/osd.0
osd objectstore = memstore
memstore device bytes = 2147483648
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${gateway}
rgw mime types file = ${directory}/mime.types
rgw thread pool size = 32
`
}

/** Starts the server from the programs below `root`. Throws with the end of its logs when it does not come up. */
export async function startS3Server(root: string): Promise<S3Server> {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-s3-server-'))
  const children: ChildProcess[] = []
  const keys = { accessKey: 'AKTEST', secretKey: 'secret-of-the-test' }
  const libraries = fs.globSync(join(root, '{usr/,}lib/{*-linux-*,}/{,ceph}')).join(':')
  const python = fs.existsSync(join(root, 'usr/bin/python3')) ? join(root, 'usr/bin/python3') : '/usr/bin/python3'
  const inRoot = root === '/' ? {} : { LD_LIBRARY_PATH: libraries, PYTHONPATH: join(root, 'usr/lib/python3/dist-packages') }
  const env = { ...process.env, ...inRoot }
  const programOf = (name: string) => join(root, 'usr/bin', name)

  function run(name: string, ...commandLine: string[]): void {
    const [program, ...rest] = name === 'ceph' ? [python, programOf(name), ...commandLine] : [programOf(name), ...commandLine]
    const result = spawnSync(program, rest, { cwd: directory, env, encoding: 'utf8', timeout: START_MS_MAX })
    if (result.status !== 0) throw new Error(`${name} ${commandLine.join(' ')} ended with ${result.status}: ${result.stderr}`)
  }

  function serve(name: string, ...commandLine: string[]): void {
    const log = fs.openSync(join(directory, `${name}.out`), 'a')
    // The kernel ends it with this process, however this one ends.
    const whole = ['--pdeathsig', 'KILL', programOf(name), '-c', 'ceph.conf', '-f', ...commandLine]
    children.push(spawn('setpriv', whole, { cwd: directory, env, stdio: ['ignore', log, log] }))
    fs.closeSync(log)
  }

  async function stop(): Promise<void> {
    for (const child of children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exited = once(child, 'exit')
      // Nothing it holds is worth an orderly end, and the gateway takes its time for one.
      child.kill('SIGKILL')
      await exited
    }
    fs.rmSync(directory, { recursive: true, force: true })
  }

  try {
    const [fsid, osd] = [randomUUID(), randomUUID()]
    const ports = await freePorts(2)
    for (const folder of ['run', 'log', 'mon.a', 'osd.0']) fs.mkdirSync(join(directory, folder))
    fs.writeFileSync(join(directory, 'mime.types'), 'application/octet-stream bin\n')
    fs.writeFileSync(join(directory, 'ceph.conf'), configuration(root, directory, fsid, ports))
    run('ceph-authtool', '--create-keyring', 'keyring', '--gen-key', '-n', 'mon.', ...allow('mon'))
    run('ceph-authtool', 'keyring', '--gen-key', '-n', 'client.admin', ...allow('mon', 'osd', 'mgr'))
    run('ceph-authtool', 'keyring', '--gen-key', '-n', 'client.rgw', ...allow('mon', 'osd'))
    run('ceph-authtool', 'keyring', '--gen-key', '-n', 'osd.0', '--cap', 'mon', 'allow profile osd', ...allow('osd'))
    run('monmaptool', '--create', '--addv', 'a', `[v2:127.0.0.1:${ports[1]}]`, '--fsid', fsid, 'monmap')
    run('ceph-mon', '-c', 'ceph.conf', '--mkfs', '-i', 'a', '--monmap', 'monmap', '--keyring', 'keyring')
    serve('ceph-mon', '-i', 'a')
    run('ceph', '-c', 'ceph.conf', '--connect-timeout', '60', 'osd', 'new', osd)
    run('ceph-osd', '-c', 'ceph.conf', '-i', '0', '--mkfs', '--osd-uuid', osd)
    serve('ceph-osd', '-i', '0')
    serve('radosgw', '-n', 'client.rgw')
    const endpoint = `http://127.0.0.1:${ports[0]}`
    await answers(endpoint, () => children.find((child) => child.exitCode !== null))
    run('radosgw-admin', '-c', 'ceph.conf', 'user', 'create', '--uid=test', '--display-name=test',
      `--access-key=${keys.accessKey}`, `--secret-key=${keys.secretKey}`)
    return {
      endpoint,
      ...keys,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    const logs = fs.globSync(join(directory, '{*.out,log/*.log}')).map((file) => `${file}:\n${fs.readFileSync(file, 'utf8').slice(-2000)}`)
    await stop()
    throw new Error(`The S3 server does not start.\n${logs.join('\n')}`, { cause: error })
  }
}

/** Waits until a server answers at all; what it says does not matter. Throws when it has ended or takes too long. */
async function answers(endpoint: string, ended: () => ChildProcess | undefined): Promise<void> {
  for (let waitedMs = 0; waitedMs < START_MS_MAX; waitedMs += POLL_MS) {
    const dead = ended()
    if (dead !== undefined) throw new Error(`${dead.spawnfile} ended with ${dead.exitCode}`)
    const answered = await fetch(endpoint, { signal: AbortSignal.timeout(5000) }).then(() => true, () => false)
    if (answered) return
    // The server tells nobody when it is ready.
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  throw new Error(`Nothing answers at ${endpoint}.`)
}
