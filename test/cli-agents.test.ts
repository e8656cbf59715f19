/** Agents, runs and tasks from the command line: the real program against a real server. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startServerProcess } from './support/server-process.ts'

const program = join(import.meta.dirname, '../node_modules/.bin/opencbr')

test('a machine is registered, backed up, restored and removed, and tasks are cancelled and retried', { timeout: 120_000 }, async () => {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-cli-agents-')))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  await fs.mkdir(join(root, 'etc/cache'), { recursive: true })
  await fs.mkdir(join(root, 'srv'))
  await fs.writeFile(join(root, 'etc/conf'), 'x')
  await fs.writeFile(join(root, 'etc/cache/no'), 'x')
  await fs.writeFile(join(root, 'srv/file'), 'y')
  const server = await startServerProcess({ dataDir, allowPaths: [root] })
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(program, ['--data', dataDir, ...args], { encoding: 'utf8', timeout: 60_000 })
    return { code: status, stdout, stderr }
  }
  const json = <Answer>(...args: string[]): Answer => {
    const ran = run('--json', ...args)
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`)
    return JSON.parse(ran.stdout) as Answer
  }
  try {
    interface Agent { agent_id: string, status: string, host_name: string, paths: { dir_path: string, exclude_paths: string | null }[] }
    const { agent } = json<{ agent: Agent }>('agent', 'register', '--name', 'here', '--path', join(root, 'srv'))
    assert.deepEqual([agent.status, agent.host_name, agent.paths.map((path) => path.dir_path)], ['normal', hostname(), [join(root, 'srv')]])
    json('agent', 'add-path', 'here', join(root, 'etc'), '--exclude', join(root, 'etc/cache'))
    assert.equal(run('agent', 'add-path', 'here', join(root, 'etc'), '--exclude', join(root, 'srv')).code, 2)
    assert.match(run('agent', 'list').stdout, /here .*normal +2/)
    assert.equal(run('agent', 'show', 'nobody').code, 3)

    json('vault', 'create', 'files', '--type', 'file', '--size', '10', '--resource', 'here')
    const created = run('checkpoint', 'create', 'files', '--wait', '--json', '--name', 'first')
    assert.equal(created.code, 0, created.stderr)
    const { checkpoint } = JSON.parse(created.stdout) as { checkpoint: { id: string, status: string } }
    assert.equal(checkpoint.status, 'available')
    assert.equal(run('backup', 'restore', 'first', '--to', join(root, 'back'), '--wait').code, 0)
    assert.equal(await fs.readFile(join(root, 'back', root, 'etc/conf'), 'utf8'), 'x')
    await assert.rejects(fs.stat(join(root, 'back', root, 'etc/cache')))

    // A task that is over is neither cancelled nor, as it went well, retried.
    const [task] = json<{ operation_logs: { id: string }[] }>('task', 'list', '--operation-type', 'backup').operation_logs
    for (const verb of ['cancel', 'retry']) assert.equal(run('task', verb, task?.id ?? '').code, 4)
    assert.equal(run('task', 'cancel', '00000000-0000-4000-8000-000000000000').code, 3)

    // What fails is retried once its cause is gone.
    await fs.rename(join(root, 'srv'), join(root, 'away'))
    const failed = run('checkpoint', 'create', 'files', '--wait')
    assert.equal(failed.code, 5, failed.stderr)
    await fs.rename(join(root, 'away'), join(root, 'srv'))
    const [wrong] = json<{ operation_logs: { id: string }[] }>('task', 'list', '--status', 'failed').operation_logs
    assert.equal(run('task', 'retry', wrong?.id ?? '', '--wait').code, 0)

    const planned = json<{ backups: { name: string }[] }>('checkpoint', 'delete', checkpoint.id, '--dry-run')
    assert.deepEqual(planned.backups.map((backup) => backup.name), ['first'])
    assert.equal(run('checkpoint', 'show', checkpoint.id).code, 0)
    const deleted = run('checkpoint', 'delete', checkpoint.id, '--wait')
    assert.equal(deleted.code, 0, deleted.stderr)
    assert.equal(run('checkpoint', 'show', checkpoint.id).code, 3)

    assert.match(run('agent', 'unregister', 'here', '--dry-run').stderr, /2 backups/)
    const removed = run('agent', 'unregister', 'here', '--wait')
    assert.equal(removed.code, 0, removed.stderr)
    assert.equal(run('agent', 'show', agent.agent_id).code, 3)
    assert.equal(json<{ count: number }>('backup', 'list').count, 0)
  } finally {
    await server[Symbol.asyncDispose]()
    await fs.rm(base, { recursive: true, force: true })
  }
})

test('a real bash completes the command after sourcing what it prints', () => {
  const script = `source <("$1" completion bash); COMP_WORDS=(opencbr agent unre); COMP_CWORD=2; _opencbr; printf '%s' "\${COMPREPLY[*]}"; complete -p opencbr`
  const ran = spawnSync('bash', ['--norc', '-c', script, 'bash', program], { encoding: 'utf8' })
  assert.deepEqual([ran.status, ran.stderr, ran.stdout], [0, '', 'unregistercomplete -F _opencbr opencbr\n'])
  const refused = spawnSync(program, ['completion', 'csh'], { encoding: 'utf8' })
  assert.equal(refused.status, 2)
})
