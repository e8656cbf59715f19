/** Lets a process have at most a share of one processor, by a control group of Linux of either version; needs the rights of root. */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const PERIOD_US = 20_000
/** Where the first version's groups for processors are, and the second's. */
const PLACES = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup'] as const

/** `share`: 0.25 is a quarter of one processor, over all of the process's threads. Ends when the process has ended. */
export async function limitProcessor(pid: number, share: number): Promise<AsyncDisposable> {
  const isFirst = existsSync(join(PLACES[0], 'cpu.cfs_quota_us'))
  const group = join(isFirst ? PLACES[0] : PLACES[1], `opencbr-bench-${pid}`)
  const quota = Math.round(share * PERIOD_US)
  await mkdir(group)
  if (isFirst) {
    await writeFile(join(group, 'cpu.cfs_period_us'), `${PERIOD_US}`)
    await writeFile(join(group, 'cpu.cfs_quota_us'), `${quota}`)
  } else {
    await writeFile(join(group, 'cpu.max'), `${quota} ${PERIOD_US}`)
  }
  await writeFile(join(group, 'cgroup.procs'), `${pid}`)
  return {
    async [Symbol.asyncDispose]() {
      // Whatever is left in it goes back first: a group with processes stays.
      for (const left of (await readFile(join(group, 'cgroup.procs'), 'utf8')).split('\n').filter((each) => each !== '')) {
        await writeFile(join(group, '..', 'cgroup.procs'), left).catch(() => {})
      }
      await rmdir(group)
    },
  }
}
