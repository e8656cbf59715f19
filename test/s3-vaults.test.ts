/**
 * Vaults and repositories in a bucket of a real S3 server: the service keeps vaults there, and the repository
 * commands work there as on a disk, with the password from a file, a variable and the terminal.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { initRepository, kdfForRandomPassword } from '@opencbr/engine'
import { createS3Bucket, openStorage, type StorageKeys } from '@opencbr/storage'
import { startBackupService } from './support/backup-service.ts'
import { compareTrees } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { bringS3Server, startS3Server } from './support/s3-server.ts'
import { PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const BUCKET = 'vaults'
const program = join(import.meta.dirname, '../node_modules/.bin/opencbr')

const brought = bringS3Server()
if ('root' in brought) {
  const server = await startS3Server(brought.root)
  after(() => server[Symbol.asyncDispose]())
  const { endpoint, accessKey, secretKey } = server
  // Stock restic reads its keys from here.
  process.env['AWS_ACCESS_KEY_ID'] = accessKey
  process.env['AWS_SECRET_ACCESS_KEY'] = secretKey
  await createS3Bucket({ endpoint, accessKey, secretKey, bucket: BUCKET })
  testOnServer(endpoint, { accessKey, secretKey })
} else {
  test('vaults on a real S3 server', { skip: brought.unavailable }, () => {})
}

interface Ran {
  readonly code: number | null
  readonly output: string
}

/** Runs the program, at a terminal if something is to be typed when it asks. */
async function run(rest: readonly string[], environment: Readonly<Record<string, string>>, typed?: string): Promise<Ran> {
  const quoted = [program, ...rest].map((word) => `'${word.replaceAll('\'', '\'\\\'\'')}'`).join(' ')
  const [command, commandLine] = typed === undefined ? [program, rest] : ['script', ['--quiet', '--return', '--command', quoted, '/dev/null']]
  const child = spawn(command, commandLine, { env: { PATH: process.env['PATH'], TERM: 'dumb', ...environment } })
  let output = ''
  let isAsked = false
  const onOutput = (text: string): void => {
    output += text
    if (typed === undefined || isAsked || !output.includes('assword: ')) return
    isAsked = true
    child.stdin.write(`${typed}\r`)
  }
  child.stdout.setEncoding('utf8').on('data', onOutput)
  child.stderr.setEncoding('utf8').on('data', onOutput)
  if (typed === undefined) child.stdin.end()
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  if (typed !== undefined) assert.ok(isAsked, `nobody was asked: ${output}`)
  return { code, output }
}

function makeFolder(folder: string): void {
  fs.mkdirSync(join(folder, 'below'), { recursive: true })
  fs.writeFileSync(join(folder, 'random'), pseudoRandomBytes(3 << 20, 1))
  fs.writeFileSync(join(folder, 'below', 'text'), 'compressible '.repeat(50_000))
  fs.symlinkSync('below/text', join(folder, 'link'))
}

function testOnServer(endpoint: string, keys: StorageKeys): void {
  test('a vault in a bucket: backed up, restored, judged by restic from the recovery kit, pruned, and removed with all its objects', async () => {
    const prefix = randomUUID()
    const address = `${endpoint.replace('http://', 's3:http://')}/${BUCKET}/${prefix}`
    const bucket = openStorage(address, keys)
    // Without the catalogue's manifests, which are there for as long as the deployment is.
    const keysOf = async () => (await Array.fromAsync(bucket.list(''))).map(({ key }) => key).filter((key) => !key.startsWith('manifests/'))
    const options = { config: { storage: address, storageKeys: keys } }
    await using world = await startBackupService(undefined, options)
    const { steps, root } = world
    const folder = join(root, 'mail')
    makeFolder(folder)
    const resource = await steps.declare(folder)
    const vaultId = await steps.createVault('turbo', [resource])
    const early = await steps.recoveryKit(vaultId)
    const [first] = await steps.backUp(vaultId, { name: 'first' })
    assert.equal(first?.status, 'available')
    const kit = await steps.get<{ recovery_kit: { repository: string, password: string, variables: string[] } }>(`/x/v1/{project_id}/vaults/${vaultId}/recovery-kit`)
    const { repository, password, variables } = kit.recovery_kit
    assert.equal(early.repository, repository)
    assert.equal(repository, `${address}/${world.service.projectId}/${vaultId}`)
    assert.deepEqual(variables, ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'])
    assert.ok(!JSON.stringify(kit).includes(keys.secretKey ?? '-'))
    assert.ok(!fs.existsSync(join(world.dataDir, 'vaults')))
    const below = `${world.service.projectId}/${vaultId}/`
    assert.ok((await keysOf()).every((key) => key.startsWith(below)) && (await keysOf()).includes(`${below}config`))

    for (const binary of resticBinaries()) restic(binary, repository, password).run('check', '--read-data')
    const target = join(root, 'restored')
    const task = await steps.restore(first.id, { details: { destination_path: target } })
    assert.equal(task.status, 'success', JSON.stringify(task))
    assert.deepEqual(compareTrees(folder, target), [])

    fs.writeFileSync(join(folder, 'random'), pseudoRandomBytes(3 << 20, 2))
    const [second] = await steps.backUp(vaultId, { name: 'second' })
    assert.equal(second?.status, 'available')
    const { billing: { used: before } } = await steps.vault(vaultId)
    await steps.send('DELETE', `/v3/{project_id}/backups/${first.id}`, undefined, 204)
    const deletion = (await steps.tasks('operation_type=delete'))[0]
    assert.ok(deletion !== undefined)
    assert.equal((await steps.taskEnd(deletion.id)).status, 'success')
    const { billing: { used } } = await steps.vault(vaultId)
    assert.ok(before - used >= 2, `${before} MB before, ${used} MB after`)
    for (const binary of resticBinaries()) restic(binary, repository, password).run('check', '--read-data')

    // What dead makers and unfinished work left goes as well.
    await bucket.put(`${below}data/00/leftover`, [Buffer.from('x')])
    await steps.send('DELETE', `/v3/{project_id}/vaults/${vaultId}`, undefined, 204)
    const removal = (await steps.tasks('operation_type=vault_delete'))[0]
    assert.ok(removal !== undefined)
    assert.equal((await steps.taskEnd(removal.id)).status, 'success')
    assert.deepEqual(await keysOf(), [])
  })

  test('a vault in a bucket whose first maker died has one key afterwards, which restic takes', async () => {
    const address = `s3:${endpoint}/${BUCKET}/${randomUUID()}`
    await using world = await startBackupService(undefined, { config: { storage: address, storageKeys: keys } })
    const { steps, root } = world
    makeFolder(join(root, 'mail'))
    const vaultId = await steps.createVault('turbo', [await steps.declare(join(root, 'mail'))])
    const { repository, password } = await steps.recoveryKit(vaultId)
    const storage = openStorage(repository, keys)
    for (let maker = 0; maker < 3; maker += 1) {
      await initRepository(storage, { password, kdf: kdfForRandomPassword })
      await storage.delete('config')
    }
    const [backup] = await steps.backUp(vaultId)
    assert.equal(backup?.status, 'available')
    assert.equal((await Array.fromAsync(storage.list('keys/'))).length, 1)
    for (const binary of resticBinaries()) restic(binary, repository, password).run('check', '--read-data')
  })

  test('repository commands in a bucket, with the password from a file, a variable and the terminal', async (t) => {
    const directory = scratchDirectory(t)
    const source = join(directory, 'source')
    makeFolder(source)
    const passwordFile = join(directory, 'password')
    fs.writeFileSync(passwordFile, `${PASSWORD}\n`)
    const prefix = randomUUID()
    const address = `s3:${endpoint}/${BUCKET}/${prefix}`
    const environment = { AWS_ACCESS_KEY_ID: keys.accessKey ?? '', AWS_SECRET_ACCESS_KEY: keys.secretKey ?? '' }
    const command = async (words: readonly string[], more: Readonly<Record<string, string>> = {}, typed?: string): Promise<string> => {
      const { code, output } = await run(['repository', ...words], { ...environment, ...more }, typed)
      assert.equal(code, 0, `${words.join(' ')}: ${output}`)
      return output
    }
    await initRepository(openStorage(address, keys), { password: PASSWORD, kdf: kdfForRandomPassword })

    await command(['backup', address, source, '--password-file', passwordFile])
    fs.writeFileSync(join(source, 'more'), 'more\n')
    await command(['backup', address, source], { OPENCBR_REPOSITORY_PASSWORD: PASSWORD })
    const listed = await command(['snapshots', address, '--json'], { RESTIC_PASSWORD_FILE: passwordFile })
    assert.equal((JSON.parse(listed) as object[]).length, 2)
    assert.match(await command(['ls', address, 'latest'], {}, PASSWORD), /\/source\/more/)
    assert.ok(!(await command(['stats', address], {}, PASSWORD)).includes(PASSWORD), 'what is typed is not shown')
    assert.equal((await run(['repository', 'snapshots', address], environment, 'wrong')).code, 12)
    assert.equal((await run(['repository', 'snapshots', address], environment)).code, 1)
    assert.equal((await run(['repository', 'snapshots', `s3://${BUCKET}/${prefix}`], { ...environment, AWS_ENDPOINT_URL: endpoint, RESTIC_PASSWORD: PASSWORD })).code, 0)
    assert.equal((await run(['repository', 'snapshots', `s3:${endpoint}/${BUCKET}/nothing`], { ...environment, RESTIC_PASSWORD: PASSWORD })).code, 10)

    const target = join(directory, 'restored')
    await command(['restore', address, `latest:${source}`, '--target', target], { RESTIC_PASSWORD: PASSWORD })
    assert.deepEqual(compareTrees(source, target), [])
    await command(['check', address, '--read-data'], { RESTIC_PASSWORD: PASSWORD })
    const local = join(directory, 'copy')
    await initRepository(openStorage(local), { password: PASSWORD, kdf: kdfForRandomPassword })
    await command(['copy', address, local], { RESTIC_PASSWORD: PASSWORD })
    await command(['forget', address, '--keep-last', '1', '--prune'], { RESTIC_PASSWORD: PASSWORD })
    for (const binary of resticBinaries()) {
      restic(binary, address, PASSWORD).run('check', '--read-data')
      restic(binary, local, PASSWORD).run('check', '--read-data')
    }
  })
}
