/**
 * A process that backs up, forgets and prunes in turn until it kills itself, in the middle of a storage
 * call that its seed chooses; the moment inside the call is chosen too. Run with the repository's path,
 * the source and the seed. Each thing that it acknowledges is a line on standard output: `saved` with a
 * snapshot's id and the version of the source, or `forgetting` with an id, before it is forgotten.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { archiveTree, openRepository, planPrune, runPrune } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { gatedStorage } from './gated-storage.ts'
import { pseudoRandomBytes } from './nasty-tree.ts'
import { seededRandom } from './seeded-random.ts'

const [path = '', source = '', password = '', seedText = ''] = process.argv.slice(2)
const random = seededRandom(Number(seedText))
/** A run has some 30 calls; the later ones are left to rounds that get that far. */
const lastCall = 1 + random.below(120)
const livesOnMs = random.below(4000) / 1000

function say(line: string): void {
  // A plain write: it is with the parent before anything else happens.
  fs.writeSync(1, `${line}\n`)
}

function die(): void {
  const end = performance.now() + livesOnMs
  // The call goes on in other threads meanwhile, which a timer would not let it.
  while (performance.now() < end);
  process.kill(process.pid, 'SIGKILL')
}

const storage = gatedStorage(localStorage(path), ({ number }) => {
  if (number === lastCall) setImmediate(die)
  return undefined
})

function changeSource(): number {
  const version = random.below(1 << 16)
  for (let file = 0; file < 5; file += 1) {
    fs.writeFileSync(join(source, `file ${file}`), pseudoRandomBytes(60_000, file < 2 ? version % 3 : version + file))
  }
  return version
}

await using repository = await openRepository(storage, { password })
for (;;) {
  {
    await using lock = await repository.lock({ exclusive: false, settleMs: 0, ownerIsDead: () => true })
    const version = changeSource()
    const result = await archiveTree(repository, lock, { path: source, hostname: 'mortal', tags: [`version-${version}`], time: new Date(version) })
    say(`saved ${result.snapshotId} ${version}`)
  }
  const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0, ownerIsDead: () => true })
  {
    await using lock = await takeLock(true)
    const victims = (await repository.listSnapshots()).filter(() => random.chance(40)).map(({ id }) => id)
    for (const id of victims) say(`forgetting ${id}`)
    await repository.forgetSnapshots(victims, lock)
  }
  await runPrune(repository, takeLock, await planPrune(repository, { maxUnusedPercent: 0 }))
}
