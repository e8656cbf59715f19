/** The commands that look into backups, verify them, and rebuild the catalogue, as people use them. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Verification } from '@opencbr/contract'
import { startServerProcess } from './support/server-process.ts'

const program = join(import.meta.dirname, '../node_modules/.bin/opencbr')

test('a backup is listed, printed, downloaded and verified, and the catalogue comes back, all from the command line', async () => {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-cli-files-')))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  function opencbr(code: number, ...args: string[]): { stdout: string, stderr: string } {
    const run = spawnSync(program, ['--data', dataDir, ...args], { cwd: base, encoding: 'utf8', timeout: 60_000 })
    assert.equal(run.status, code, `${args.join(' ')}: ${run.stdout}${run.stderr}`)
    return run
  }
  try {
    await fs.mkdir(join(root, 'mail', 'in'), { recursive: true })
    const content = randomBytes(300_000)
    await fs.writeFile(join(root, 'mail', 'in', 'letter'), content)
    await fs.writeFile(join(root, 'mail', 'note'), 'a note\n')
    {
      await using server = await startServerProcess({ dataDir, allowPaths: [root] })
      const { steps } = server
      const vaultId = await steps.createVault('turbo', [await steps.declare(join(root, 'mail'))], 'docs')
      await steps.backUp(vaultId, { name: 'first' })

      assert.match(opencbr(0, 'backup', 'ls', 'first').stdout, /^MODE +TYPE +SIZE +MODIFIED +OWNER +NAME\n\d{4} +directory .* in\n0\d{3} +file +7 .* note\n$/)
      assert.equal((JSON.parse(opencbr(0, 'backup', 'ls', 'first', '/in', '--json').stdout) as { count: number }).count, 1)
      assert.equal(opencbr(0, 'backup', 'cat', 'first', '/note').stdout, 'a note\n')
      opencbr(3, 'backup', 'cat', 'first', '/nothing')
      opencbr(4, 'backup', 'cat', 'first', '/in')
      opencbr(0, 'backup', 'download', 'first', '/in/letter')
      assert.ok((await fs.readFile(join(base, 'letter'))).equals(content))
      opencbr(4, 'backup', 'download', 'first', '/in/letter')
      opencbr(0, 'backup', 'download', 'first', '--format', 'tar', '--to', 'mail.tar')
      assert.equal(spawnSync('tar', ['-tf', join(base, 'mail.tar')], { encoding: 'utf8' }).stdout, 'in/\nin/letter\nnote\n')

      const { verification } = JSON.parse(opencbr(0, 'backup', 'verify', 'first', '--wait', '--json').stdout) as { verification: Verification }
      assert.deepEqual([verification.status, verification.level, verification.whole], ['success', 'data', true])
      assert.match(opencbr(0, 'vault', 'scrub', 'docs', '--every-days', '30').stdout, /^every +30 days$/m)
      assert.match(opencbr(0, 'verification', 'list').stdout, new RegExp(`\\n${verification.id} +backup +data +success `))

      const { repository } = await steps.recoveryKit(vaultId)
      for (const name of await fs.readdir(join(repository, 'data'), { recursive: true })) {
        if (/[0-9a-f]{64}$/.test(name)) await fs.truncate(join(repository, 'data', name), 100)
      }
      const failed = opencbr(5, 'vault', 'verify', 'docs', '--level', 'structure', '--wait')
      assert.match(failed.stderr, /not as long as the index says/)
    }
    opencbr(1, 'catalog', 'rebuild')
    for (const suffix of ['', '-wal', '-shm']) await fs.rm(join(dataDir, `catalogue.db${suffix}`), { force: true })
    const rebuilt = JSON.parse(opencbr(0, 'catalog', 'rebuild', '--json').stdout) as { vaults: { name: string, backups: number }[] }
    assert.deepEqual(rebuilt.vaults.map(({ name, backups }) => [name, backups]), [['docs', 1]])
    await using server = await startServerProcess({ dataDir, allowPaths: [root] })
    assert.equal((await server.steps.get<{ count: number }>('/v3/{project_id}/backups?name=first')).count, 1)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})
