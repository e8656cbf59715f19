/** The commands for vaults, tags and events, as people use them: the real program against a real server. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Vault } from '@opencbr/contract'
import { startBackupService, type BackupService } from './support/backup-service.ts'

const program = join(import.meta.dirname, '../packages/cli/bin/opencbr.mjs')

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Not synchronous: the server runs in this process. With a token, since signatures need the clocks to agree. */
function run({ service, root }: BackupService, ...args: string[]): Promise<Ran> {
  const env = { PATH: process.env['PATH'], OPENCBR_ENDPOINT: service.url, OPENCBR_TOKEN: service.token, OPENCBR_PROJECT_ID: service.projectId }
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { encoding: 'utf8', env, cwd: root }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

async function ok(backup: BackupService, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(backup, ...args)
  assert.equal(code, 0, `opencbr ${args.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

async function json<Answer>(backup: BackupService, ...args: string[]): Promise<Answer> {
  return JSON.parse(await ok(backup, ...args, '--json')) as Answer
}

async function fails(backup: BackupService, code: number, text: RegExp, ...args: string[]): Promise<void> {
  const ran = await run(backup, ...args)
  assert.equal(ran.code, code, `opencbr ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
  assert.match(ran.stderr, text)
}

test('vaults are tagged and found, and resources tagged', async () => {
  await using backup = await startBackupService(undefined, { agent: 'none' })
  await ok(backup, 'vault', 'create', 'docs', '--type', 'turbo', '--size', '100', '--auto-bind', '--bind-tag', 'team', '--bind-tag', 'stage=prod')
  await ok(backup, 'vault', 'create', 'bare', '--type', 'turbo', '--size', '10')
  assert.match(await ok(backup, 'vault', 'show', 'docs'), /yes, with any of team, stage=prod/)
  await ok(backup, 'tag', 'set', 'docs', 'team=web', 'stage=prod')
  assert.match(await ok(backup, 'tag', 'list', 'docs'), /team\s+web/)
  assert.deepEqual(await json(backup, 'tag', 'list'), { tags: [{ key: 'stage', values: ['prod'] }, { key: 'team', values: ['web'] }] })
  assert.match(await ok(backup, 'tag', 'find', '--tag', 'team=*eb', '--not-any', 'stage=test'), /docs\s+stage=prod, team=web/)
  assert.equal(await ok(backup, 'tag', 'find', '--untagged', '--count'), '1\n')
  await fails(backup, 2, /what to look for/, 'tag', 'find')
  await ok(backup, 'tag', 'remove', 'docs', 'stage')
  await fails(backup, 3, /no tag with the key stage/, 'tag', 'remove', 'docs', 'stage')
  await ok(backup, 'tag', 'remove', 'docs', 'stage', 'team', '--ignore-missing')
  assert.match(await ok(backup, 'tag', 'list', 'docs'), /^(No tags\.)?\s*$/)
  const folder = join(backup.root, 'folder')
  await fs.mkdir(folder)
  await ok(backup, 'resource', 'add', folder, '--tag', 'a=b')
  assert.match(await ok(backup, 'resource', 'tag', 'folder', 'c=d'), /c=d/)
})

test('a vault is locked only by whoever types its name', async () => {
  await using backup = await startBackupService(undefined, { agent: 'none' })
  await ok(backup, 'vault', 'create', 'docs', '--type', 'turbo', '--size', '100')
  await fails(backup, 2, /cannot be undone: add --confirm docs/, 'vault', 'lock', 'docs')
  await fails(backup, 1, /Nothing was done/, 'vault', 'lock', 'docs', '--confirm', 'dogs')
  assert.equal((await json<{ vault: Vault }>(backup, 'vault', 'show', 'docs')).vault.locked, false)
  assert.equal((await json<{ vault: Vault }>(backup, 'vault', 'lock', 'docs', '--confirm', 'docs')).vault.locked, true)
  assert.equal((await run(backup, 'vault', 'lock', 'docs')).code, 0, 'once more changes nothing')
})

test('resources pause, resume and move; figures and events are shown; dry runs change nothing', async () => {
  await using backup = await startBackupService()
  const folder = join(backup.root, 'folder')
  await fs.mkdir(folder)
  await fs.writeFile(join(folder, 'file'), 'content')
  await ok(backup, 'resource', 'add', folder)
  await ok(backup, 'vault', 'create', 'from', '--type', 'turbo', '--size', '10', '--resource', 'folder')
  await ok(backup, 'vault', 'create', 'to', '--type', 'turbo', '--size', '10')
  await ok(backup, 'checkpoint', 'create', 'from', '--wait')
  await ok(backup, 'vault', 'suspend', 'from', 'folder')
  assert.equal((await json<{ vault: Vault }>(backup, 'vault', 'show', 'from')).vault.resources[0]?.auto_protect, false)
  await ok(backup, 'vault', 'resume', 'from', 'folder')
  assert.equal((await json<{ vault: Vault }>(backup, 'vault', 'show', 'from')).vault.resources[0]?.auto_protect, true)
  await fails(backup, 3, /not in the vault to/, 'vault', 'suspend', 'to', 'folder')

  assert.match(await ok(backup, 'vault', 'migrate', 'from', 'folder', '--to', 'to', '--dry-run'), /folder with 1 backups .* would move to to/)
  assert.match(await ok(backup, 'vault', 'remove-resource', 'from', 'folder', '--dry-run'), /1 backups would be deleted/)
  assert.match(await ok(backup, 'vault', 'delete', 'from', '--dry-run'), /with 1 backups would be deleted/)
  const [made] = (await json<{ backups: { id: string, name: string }[] }>(backup, 'backup', 'list')).backups
  assert.match(await ok(backup, 'backup', 'delete', made?.id ?? '', '--dry-run'), /^The backup \S+ of folder, made 2026.*, would be deleted\.$/m)
  assert.match(await ok(backup, 'backup', 'restore', made?.id ?? '', '--to', backup.root, '--dry-run'), /would be restored into .*others stay/)
  assert.match(await ok(backup, 'resource', 'remove', 'folder', '--dry-run'), /would no longer be declared/)
  assert.equal((await json<{ operation_logs: unknown[] }>(backup, 'task', 'list')).operation_logs.length, 1)
  assert.equal((await json<{ vault: Vault }>(backup, 'vault', 'show', 'from')).vault.resources[0]?.backup_count, 1)
  await ok(backup, 'vault', 'migrate', 'from', 'folder', '--to', 'to', '--wait')
  assert.deepEqual((await json<{ vault: Vault }>(backup, 'vault', 'show', 'from')).vault.resources, [])
  assert.equal((await json<{ vault: Vault }>(backup, 'vault', 'show', 'to')).vault.resources[0]?.backup_count, 1)

  assert.deepEqual(await json(backup, 'vault', 'summary'), { size: 20, used_size: 1 })
  assert.match(await ok(backup, 'vault', 'usage', '--resource', 'folder'), /folder\s+OS::Sfs::Turbo\s+1/)
  assert.match(await ok(backup, 'event', 'list'), /^(No events\.)?\s*$/)
  const { db } = backup.service.service.deps
  await db.updateTable('vaults').set({ used_bytes: 5 * 1024 ** 3 }).where('name', '=', 'to').execute()
  await ok(backup, 'vault', 'update-all', '--threshold', '50')
  assert.match(await ok(backup, 'event', 'list', '--vault', 'to'), /vault\.threshold_reached\s+The vault to is filled to 50 %/)
  await fails(backup, 2, /what to change/, 'vault', 'update-all')
})
