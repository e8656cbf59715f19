import * as fs from 'node:fs'
import { chmodBitsFrom, parseTreeTime } from '../format/tree-values.ts'
import type { TreeNode } from '../format/tree.ts'
import {
  findOpenStatus, findXattr, listXattrs, removeXattr, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, setTimes, setXattr, type FileStatus,
} from '../posix/posix.ts'
import type { RestoreWarningCode } from './restore-warnings.ts'
import { reasonOf } from './system-errors.ts'

const PERMISSIONS = 0o7777
const NANOSECONDS_PER_SECOND = 1_000_000_000n
const SETUID_AND_SETGID = 0o6000
const ACCESS_LIST = 'system.posix_acl_access'

/** What a node says of a file beside its content. */
export type AttributesOf = Pick<TreeNode, 'mode' | 'uid' | 'gid' | 'mtime' | 'atime' | 'extendedAttributes'>

/** Told of everything that could not be set, with the reason. */
export type ReportAttribute = (code: RestoreWarningCode, reason: string) => void

/**
 * Gives the file behind a descriptor the attributes of a node, and touches only those that differ. What
 * is neither a regular file nor a directory may be opened with O_PATH. The order matters: a change of the owner takes set-user-id bits and
 * capabilities away, an access control list changes the permissions, and nothing but the times
 * themselves may come after the times.
 */
export function setAttributes(descriptor: number, node: AttributesOf, report: ReportAttribute): void {
  const status = findOpenStatus(descriptor) ?? statusOf(descriptor)
  const kind = status.mode & S_IFMT
  // Whatever is not opened for its content is opened with O_PATH, on which these calls do not work.
  const isPlain = kind === S_IFREG || kind === S_IFDIR
  const through = `/proc/self/fd/${descriptor}`

  let ownerIsRight = true
  let modeMayHaveChanged = false
  if (status.uid !== node.uid || status.gid !== node.gid) {
    modeMayHaveChanged = true
    try {
      if (isPlain) fs.fchownSync(descriptor, node.uid, node.gid)
      else fs.chownSync(through, node.uid, node.gid)
    } catch (error) {
      ownerIsRight = false
      report('owner.not_set', reasonOf(error))
    }
  }

  if (setExtendedAttributes(descriptor, node, report)) modeMayHaveChanged = true

  if (kind !== S_IFLNK) {
    let bits = chmodBitsFrom(node.mode)
    if (!ownerIsRight && (bits & SETUID_AND_SETGID) !== 0) {
      // The program would run with the rights of somebody it never belonged to.
      bits &= ~SETUID_AND_SETGID
      report('mode.reduced', '')
    }
    if (modeMayHaveChanged || (status.mode & PERMISSIONS) !== bits) {
      try {
        if (isPlain) fs.fchmodSync(descriptor, bits)
        else fs.chmodSync(through, bits)
      } catch (error) {
        report('mode.not_set', reasonOf(error))
      }
    }
  }

  setNodeTimes(descriptor, node, status, report)
}

type Status = Pick<FileStatus, 'mode' | 'uid' | 'gid' | 'mtimeSeconds' | 'mtimeNanoseconds'>

/** What of it is needed here, where `findOpenStatus` does not tell. */
function statusOf(descriptor: number): Status {
  const { mode, uid, gid, mtimeNs } = fs.fstatSync(descriptor, { bigint: true })
  const nanoseconds = ((mtimeNs % NANOSECONDS_PER_SECOND) + NANOSECONDS_PER_SECOND) % NANOSECONDS_PER_SECOND
  return {
    mode: Number(mode), uid: Number(uid), gid: Number(gid),
    mtimeSeconds: Number((mtimeNs - nanoseconds) / NANOSECONDS_PER_SECOND), mtimeNanoseconds: Number(nanoseconds),
  }
}

/** Returns whether something was set or removed that changes the permissions. */
function setExtendedAttributes(descriptor: number, node: AttributesOf, report: ReportAttribute): boolean {
  let changedMode = false
  const wanted = new Set<string>()
  for (const { name, value } of node.extendedAttributes) {
    wanted.add(name)
    const bytes = Buffer.from(name)
    try {
      if (findXattr(descriptor, bytes)?.equals(value) === true) continue
      setXattr(descriptor, bytes, value)
      if (name === ACCESS_LIST) changedMode = true
    } catch (error) {
      report('attribute.not_set', `${name}: ${reasonOf(error)}`)
    }
  }
  let present: string[]
  try {
    present = listXattrs(descriptor).map(String)
  } catch (error) {
    report('attribute.not_set', reasonOf(error))
    return changedMode
  }
  for (const name of present) {
    if (wanted.has(name) || !isOurs(name)) continue
    try {
      removeXattr(descriptor, Buffer.from(name))
      if (name === ACCESS_LIST) changedMode = true
    } catch (error) {
      report('attribute.not_set', `${name}: ${reasonOf(error)}`)
    }
  }
  return changedMode
}

/**
 * Attributes that say something about the file, so that one which the backup lacks must go: what an
 * older file in its place had, or what a new one inherited. The others belong to the machine, such as
 * security labels and what a cluster file system notes.
 */
function isOurs(name: string): boolean {
  return name.startsWith('user.') || name.startsWith('system.posix_acl_') || name === 'security.capability'
}

function setNodeTimes(descriptor: number, node: AttributesOf, status: Status, report: ReportAttribute): void {
  const modifiedNs = parseTreeTime(node.mtime)
  const accessedNs = parseTreeTime(node.atime) ?? modifiedNs
  if (modifiedNs === undefined || accessedNs === undefined) {
    report('times.not_set', 'the repository holds no time for it')
    return
  }
  // Setting the owner or the permissions leaves these two as they are.
  const presentNs = BigInt(status.mtimeSeconds) * NANOSECONDS_PER_SECOND + BigInt(status.mtimeNanoseconds)
  if (presentNs === modifiedNs && fs.fstatSync(descriptor, { bigint: true }).atimeNs === accessedNs) return
  try {
    setTimes(descriptor, { accessedNs, modifiedNs })
  } catch (error) {
    report('times.not_set', reasonOf(error))
  }
}
