/**
 * Who holds our locks. A process that was killed leaves its lock file in the repository, and restic's
 * rules would make everybody wait half an hour for it. Our own agents know better: a lock carries, in
 * its host name, which deployment, which boot and process namespace, which process, and when that
 * process started. A later agent of the same deployment then knows that the owner is dead
 *
 * - in the same boot and namespace: when there is no process of this id and start time;
 * - in another one: because the server owns the data directory by a kernel lock, so the server whose
 *   agent that was is dead, its boot or container over, and with it the agent. Not so where several
 *   servers share a catalogue: it may be a fellow's on another machine.
 *
 * Of locks of anybody else nothing is known.
 */
import { readFileSync, readlinkSync } from 'node:fs'

interface Owner {
  readonly installation: string
  readonly boot: string
  readonly namespace: string
  readonly pid: number
  /** Clock ticks from boot to the start of the process. */
  readonly startedAt: string
}

const OWNER = /^cbr-(?<installation>[0-9a-f]+)-(?<boot>[0-9a-f]+)-(?<namespace>\d+)-(?<pid>\d+)-(?<startedAt>\d+)(?:-|$)/

function currentOwner(installation: string): Owner {
  return {
    installation,
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', ''),
    namespace: /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0',
    pid: process.pid,
    startedAt: startOf(process.pid) ?? '0',
  }
}

/** The host name under which this process takes locks; `installation` is hexadecimal. */
export function lockHostname(installation: string): string {
  const owner = currentOwner(installation)
  return `cbr-${owner.installation}-${owner.boot}-${owner.namespace}-${owner.pid}-${owner.startedAt}`
}

/** Whether a lock was taken by an earlier agent of this deployment that certainly runs no more. */
export function isDeadPredecessor(installation: string, hostname: string, { hasFellows }: { readonly hasFellows: boolean } = { hasFellows: false }): boolean {
  const fields = OWNER.exec(hostname)?.groups
  if (fields === undefined || fields['installation'] !== installation) return false
  const own = currentOwner(installation)
  if (fields['boot'] !== own.boot || fields['namespace'] !== own.namespace) return !hasFellows
  return startOf(Number(fields['pid'])) !== fields['startedAt']
}

/** Undefined when there is no such process; a dead one that its parent has not looked at counts as none. */
function startOf(pid: number): string | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The second field is the program's name in parentheses, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state] = fields
  return state === 'Z' || state === 'X' ? undefined : fields[19]
}
