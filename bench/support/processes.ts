/** What Linux tells of processes. */
import { readdir, readFile } from 'node:fs/promises'

export async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const text = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '')
    children.push(...text.split(' ').filter((each) => each !== '').map(Number))
  }
  return children
}

/** Resident memory in MB, now or at most so far. */
export async function residentMb(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1000)
}

const TICKS_PER_SECOND = 100

/** Processor time that a process and those it started have taken, in ms. */
export async function processorMs(pid: number): Promise<number> {
  let ticks = 0
  for (const each of [pid, ...await childrenOf(pid)]) {
    const stat = await readFile(`/proc/${each}/stat`, 'utf8')
    const [user = '', system = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13)
    ticks += Number(user) + Number(system)
  }
  return ticks / TICKS_PER_SECOND * 1000
}
