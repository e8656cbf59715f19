import { isObject, isWhole, parseJson } from './json.ts'

export interface LockFile {
  /** RFC 3339; the time of the last refresh. */
  readonly time: string
  readonly exclusive: boolean
  readonly hostname: string
  readonly username: string
  readonly pid: number
  readonly uid?: number
  readonly gid?: number
}

export function encodeLock({ time, exclusive, hostname, username, pid, uid, gid }: LockFile): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      time, exclusive, hostname, username, pid,
      // The original writer omits zero.
      ...(uid === undefined || uid === 0 ? {} : { uid }),
      ...(gid === undefined || gid === 0 ? {} : { gid }),
    }),
  )
}

const text = (value: unknown) => (typeof value === 'string' ? value : '')

/** The lock, or undefined when the text is not one. */
export function decodeLock(json: Uint8Array): LockFile | undefined {
  const lock = parseJson(json)
  if (!isObject(lock)) return undefined
  const { time, exclusive, hostname, username, pid, uid = 0, gid = 0 } = lock
  if (typeof time !== 'string' || Number.isNaN(Date.parse(time)) || typeof exclusive !== 'boolean') return undefined
  if (!isWhole(pid, 2 ** 53) || !isWhole(uid, 2 ** 32) || !isWhole(gid, 2 ** 32)) return undefined
  return { time, exclusive, hostname: text(hostname), username: text(username), pid, uid, gid }
}
