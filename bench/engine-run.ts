/**
 * One run of the engine as a process of its own, for benchmarks:
 * `engine-run.ts init|backup-tree|backup-image|restore-tree|restore-image REPOSITORY [PATH] [DESTINATION]`,
 * with the password in OPENCBR_BENCH_PASSWORD.
 */
import assert from 'node:assert/strict'
import { dirname } from 'node:path'
import { archiveImage, archiveTree, initRepository, openRepository, restoreImage, restoreTree } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'

const HOSTNAME = 'bench'

const [command, location, path = '', destination = ''] = process.argv.slice(2)
const password = process.env['OPENCBR_BENCH_PASSWORD']
assert(command !== undefined && location !== undefined && password !== undefined)
const storage = localStorage(location)

if (command === 'init') {
  await initRepository(storage, { password })
} else {
  await using repository = await openRepository(storage, { password })
  await using lock = await repository.lock({ exclusive: false })
  const [newest] = (await repository.listSnapshots({ hostname: HOSTNAME, paths: [path] })).toReversed()
  await repository.loadIndex()
  if (command === 'backup-tree' || command === 'backup-image') {
    const archive = command === 'backup-tree' ? archiveTree : archiveImage
    const { whole } = await archive(repository, lock, { path, hostname: HOSTNAME, tags: [], time: new Date(), parent: newest?.id })
    assert(whole)
  } else {
    assert(newest !== undefined)
    const options = { snapshotId: newest.id, sourcePath: path, allowedRoots: [dirname(destination)] }
    const { whole } =
      command === 'restore-tree'
        ? await restoreTree(repository, { ...options, destination })
        : await restoreImage(repository, { ...options, targetPath: destination })
    assert(whole)
  }
}
