/**
 * What the service stores belongs to whoever holds the vault's recovery kit: stock restic opens, checks,
 * lists and restores both kinds of vaults, with our service stopped, and goes on where it left off.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { compareTrees } from './support/compare-trees.ts'
import { makeNastyTree, pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion } from './support/restic.ts'
import { startServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024

interface ResticSnapshot {
  readonly id: string
  readonly time: string
  readonly hostname: string
  readonly paths: readonly string[]
  readonly tags: readonly string[]
  readonly parent?: string
}

/** What some releases of restic do not restore, although it is in the snapshot. */
function isLostByRestic(difference: string): boolean {
  return /^"times\/year 2400": mtime is |^not one file any more: "links\/another name of a symbolic link"|^"links\/loop-[78]": target is |attributes is (?:instead of )?trusted\.of\.link=|attributes is {2}instead of trusted\.of\.link=/.test(difference)
}

test('stock restic checks, lists and restores what the service backed up, and the service goes on after it', async () => {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-restic-')))
  const [root, dataDir] = [join(base, 'root'), join(base, 'data')]
  const [folder, image] = [join(root, 'folder'), join(root, 'disk.img')]
  try {
    await fs.mkdir(folder, { recursive: true })
    await makeNastyTree(Buffer.from(folder))
    // Data, a long hole, data that is not a whole number of sectors.
    const disk = await fs.open(image, 'w')
    await disk.write(pseudoRandomBytes(5 * MIB, 1), 0, 5 * MIB, 0)
    await disk.write(pseudoRandomBytes(MIB + 700, 2), 0, MIB + 700, 24 * MIB)
    await disk.close()

    let made: { vaultId: string, kit: { repository: string, password: string }, backupIds: string[], source: string }[] = []
    {
      await using server = await startServerProcess({ dataDir, allowPaths: [root] })
      const { steps } = server
      const vaults = [
        { vaultId: await steps.createVault('turbo', [await steps.declare(folder)], 'folders'), source: folder },
        { vaultId: await steps.createVault('disk', [await steps.declare(image, 'OS::Cinder::Volume')], 'disks'), source: image },
      ]
      const first = await Promise.all(vaults.map(({ vaultId }) => steps.backUp(vaultId)))
      await fs.writeFile(join(folder, 'added later'), 'x')
      const later = await fs.open(image, 'r+')
      await later.write(randomBytes(4096), 0, 4096, 3 * MIB)
      await later.close()
      const second = await Promise.all(vaults.map(({ vaultId }) => steps.backUp(vaultId)))
      made = await Promise.all(vaults.map(async (vault, place) => {
        const backups = [...first[place] ?? [], ...second[place] ?? []]
        assert.deepEqual(backups.map((each) => each.status), ['available', 'available'])
        return { ...vault, kit: await steps.recoveryKit(vault.vaultId), backupIds: backups.map((each) => each.id) }
      }))
      server.signal('SIGTERM')
      assert.equal(await server.ended, 0)
    }

    for (const binary of resticBinaries()) {
      for (const { kit, backupIds, source } of made) {
        const program = restic(binary, kit.repository, kit.password)
        const version = resticVersion(binary)
        program.run('check', '--read-data')
        const snapshots = JSON.parse(program.run('snapshots', '--json').stdout.toString()) as ResticSnapshot[]
        assert.deepEqual(snapshots.map((each) => each.tags.find((tag) => tag.startsWith('opencbr:backup='))), backupIds.map((id) => `opencbr:backup=${id}`))
        assert.deepEqual(snapshots.map((each) => each.paths), [[source], [source]])
        assert.equal(snapshots[1]?.parent, snapshots[0]?.id)
        assert.ok(program.run('ls', 'latest').stdout.toString().includes(source))
        const target = join(base, `restored-${version}`)
        program.run('restore', 'latest', '--target', target)
        if (source === image) {
          assert.ok((await fs.readFile(image)).equals(await fs.readFile(join(target, image))), version)
        } else {
          assert.deepEqual(compareTrees(folder, join(target, folder)).filter((each) => !isLostByRestic(each)), [], version)
        }
        await fs.rm(target, { recursive: true })
      }
    }

    // Other restic programs may change tags, which changes the id of a snapshot: the backup is still found.
    const [folders] = made
    assert.ok(folders !== undefined)
    const newest = resticBinaries().at(-1) ?? 'restic'
    restic(newest, folders.kit.repository, folders.kit.password).run('tag', '--add', 'seen-by-an-operator', 'latest')
    {
      await using server = await startServerProcess({ dataDir, allowPaths: [root] })
      const { steps } = server
      const backupId = folders.backupIds[1]
      assert.ok(backupId !== undefined)
      const restored = await steps.restore(backupId, { details: { destination_path: join(root, 'back') } })
      assert.equal(restored.status, 'success', restored.error_info.message)
      assert.deepEqual(compareTrees(folder, join(root, 'back')), [])
      const [third] = await steps.backUp(folders.vaultId)
      assert.equal(third?.status, 'available')
      restic(newest, folders.kit.repository, folders.kit.password).run('check')
    }
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})
