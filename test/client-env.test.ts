/** `opencbr env`: what it prints points the client at the server; that for curl is run. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { openService } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'
import { runDocumented, startClientServer } from './support/client-server.ts'

const program = join(resolve(import.meta.dirname, '..'), 'packages/cli/src/main.ts')
const PATH = [dirname(process.execPath), process.env['PATH'] ?? ''].join(':')

interface Ran { readonly code: number | null, readonly stdout: string, readonly stderr: string }

async function run(command: string, args: readonly string[], { environment = {}, input = '' }: { environment?: Record<string, string>, input?: string } = {}): Promise<Ran> {
  const child = spawn(command, args, { env: { PATH, ...environment } })
  child.stdin.on('error', (error: NodeJS.ErrnoException) => {
    // A command that reads nothing may have ended already.
    if (error.code !== 'EPIPE') throw error
  }).end(input)
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit') as Promise<[number | null]>])
  return { code, stdout, stderr }
}

const opencbr = (args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> =>
  run(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], { environment })

/** With a real clock: what clients send is dated. */
async function withService(tls: boolean, use: (site: { data: string, url: string, options: readonly string[] }) => Promise<void>): Promise<void> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'opencbr env-')))
  try {
    const [certFile, keyFile, data] = [join(folder, 'a b.pem'), join(folder, 'a.key'), join(folder, 'data')]
    if (tls) {
      execFileSync('openssl', [
        'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj', '/CN=test',
        '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', keyFile, '-out', certFile,
      ], { stdio: 'ignore' })
    }
    await using service = await openService({
      dataDir: data, listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent',
      tls: tls ? { certFile, keyFile } : undefined,
    }, { agent: 'none', scheduler: { timer: 'manual' } })
    const { url } = await service.listen()
    await use({ data, url, options: ['--data', data, ...(tls ? ['--ca-file', certFile] : [])] })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

for (const tls of [false, true]) {
  test(`the script for curl lists backups over ${tls ? 'TLS, with a CA file' : 'plain HTTP'}`, () => withService(tls, async ({ options }) => {
    const { code, stdout, stderr } = await opencbr([...options, 'env', 'curl'])
    assert.equal(code, 0, stderr)
    const ran = await run('sh', [], { input: stdout })
    assert.equal(ran.stderr, '')
    assert.deepEqual((JSON.parse(ran.stdout) as { backups: unknown[], count: number }).backups, [])
    // It keeps secrets off command lines.
    const bootstrap = JSON.parse(execFileSync('cat', [join(options[1] ?? '', 'bootstrap.json')], { encoding: 'utf8' })) as { password: string }
    for (const line of stdout.split('\n').filter((each) => each.includes('curl -sS'))) assert.ok(!line.includes(bootstrap.password))
  }))
}

test('variables name the server, the region and the credentials, and a shell reads them', () => withService(false, async ({ options, url }) => {
  const read = async (client: string): Promise<Record<string, string>> => {
    const { code, stdout, stderr } = await opencbr([...options, 'env', client])
    assert.equal(code, 0, stderr)
    const shown = await run('sh', ['-c', `${stdout}\nenv`])
    return Object.fromEntries(shown.stdout.split('\n').map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]))
  }
  const python = await read('python')
  assert.equal(python['HUAWEICLOUD_SDK_REGION_CBR_TEST_1'], url)
  assert.equal(python['HUAWEICLOUD_SDK_IAM_ENDPOINT'], url)
  assert.match(python['HUAWEICLOUD_SDK_AK'] ?? '', /^[A-Z0-9]+$/)
  const openstack = await read('openstack')
  assert.deepEqual([openstack['OS_AUTH_URL'], openstack['OS_USERNAME'], openstack['OS_PROJECT_NAME'], openstack['OS_REGION_NAME']], [`${url}/v3`, 'admin', 'test-1', 'test-1'])
  const go = await read('go')
  assert.deepEqual([go['HUAWEICLOUD_SDK_REGION_CBR_TEST_1'], go['HUAWEICLOUD_SDK_IAM_ENDPOINT']], [url, undefined])
  const node = await opencbr([...options, 'env', 'node', '--json'])
  assert.ok(JSON.stringify(JSON.parse(node.stdout)).includes(url))
  const terraform = await opencbr([...options, 'env', 'terraform'])
  assert.ok(terraform.stdout.includes(`    cbr = "${url}/"\n`))
  assert.equal((await opencbr([...options, 'env', 'fortran'])).code, 2)
}))

test('with a token alone, curl and openstack get it, and clients that sign say what they need', async () => {
  await using service = await startTestService({ agent: 'none' })
  const environment = { OPENCBR_ENDPOINT: service.url, OPENCBR_TOKEN: service.token, OPENCBR_PROJECT_ID: service.projectId }
  const curl = await opencbr(['env', 'curl'], environment)
  assert.deepEqual((JSON.parse((await run('sh', [], { input: curl.stdout })).stdout) as { backups: unknown[] }).backups, [])
  assert.match((await opencbr(['env', 'openstack'], environment)).stdout, /^export OS_AUTH_TYPE=v3token$/m)
  const python = await opencbr(['env', 'python'], environment)
  assert.equal(python.code, 2)
  assert.match(python.stderr, /OPENCBR_SECRET_KEY/)
})

test('the lines for curl in docs/clients.md run', async () => {
  await using client = await startClientServer()
  const ran = await runDocumented(client, 'curl', undefined)
  assert.deepEqual((JSON.parse(ran.stdout) as { backups: { name: string }[] }).backups.map((each) => each.name), ['documented'])
})
