/**
 * Directories of a destination, reached only through descriptors.
 *
 * A restore writes as root into places that others may write to as well, so no path is ever resolved
 * from its beginning. Every directory is opened from its parent's descriptor with O_DIRECTORY and
 * O_NOFOLLOW, and every name is used relative to a descriptor: whoever exchanges a directory for a
 * symbolic link makes the restore stop, never leave the destination.
 *
 * Only a limited number of descriptors is kept. A directory whose descriptor was given up is opened
 * from its parent again and must then be the same one as before.
 */
import * as fs from 'node:fs'
import { Failure } from '../failure.ts'
import { pathIn } from '../posix/posix.ts'
import { errorCodeOf } from './system-errors.ts'

/** Not among Node's constants; the same number on x64 and arm64. */
export const O_PATH = 0o10000000

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants
const OPEN_DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
const PERMISSIONS = 0o7777
const OWNER_MAY_ALL = 0o700

/** One directory of the destination; it stays valid while its descriptor comes and goes. */
export interface ConfinedDirectory {
  /** Undefined for the base, which is never reopened. */
  readonly parent: ConfinedDirectory | undefined
  /** Empty for the base. */
  readonly name: Buffer
  readonly device: bigint
  readonly inode: bigint
}

/** Opens and reopens directories below one base, keeping at most a given number of descriptors besides the base's. */
export class ConfinedDirectories implements Disposable {
  readonly base: ConfinedDirectory
  readonly #baseDescriptor: number
  readonly #descriptorsMax: number
  /** In the order of their last use, the longest unused first. */
  readonly #descriptors = new Map<ConfinedDirectory, number>()

  /** Those that threads use, by how many uses there are. */
  readonly #held = new Map<ConfinedDirectory, number>()

  /** Takes over the descriptor of the base, and closes it in the end. */
  constructor(baseDescriptor: number, descriptorsMax = 256) {
    const status = fs.fstatSync(baseDescriptor, { bigint: true })
    this.base = { parent: undefined, name: Buffer.alloc(0), device: status.dev, inode: status.ino }
    letOwnerIn(baseDescriptor, Number(status.mode), Number(status.uid))
    this.#baseDescriptor = baseDescriptor
    this.#descriptorsMax = descriptorsMax
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#descriptors.values()) fs.closeSync(descriptor)
    this.#descriptors.clear()
    fs.closeSync(this.#baseDescriptor)
  }

  /**
   * The path of a name in a directory, through the directory's descriptor. It must be used before the
   * next call of this object, which may close that descriptor.
   */
  place(directory: ConfinedDirectory, name: Uint8Array): Buffer {
    return pathIn(this.descriptorOf(directory), name)
  }

  /**
   * An open descriptor of the directory, to be used before the next call of this object. Throws
   * `destination.changed` when another directory has taken its place.
   */
  descriptorOf(directory: ConfinedDirectory): number {
    if (directory.parent === undefined) return this.#baseDescriptor
    const known = this.#descriptors.get(directory)
    if (known !== undefined) {
      this.#descriptors.delete(directory)
      this.#descriptors.set(directory, known)
      return known
    }
    const opened = this.#open(directory.parent, directory.name)
    if (opened.inode !== directory.inode || opened.device !== directory.device) {
      fs.closeSync(opened.descriptor)
      throw new Failure('destination.changed', { path: namesBelowBase(directory).map(String).join('/') })
    }
    this.#keep(directory, opened.descriptor)
    return opened.descriptor
  }

  /** Opens a directory that lies in another. Throws ENOENT, and ENOTDIR or ELOOP for whatever is no directory. */
  enter(parent: ConfinedDirectory, name: Buffer): ConfinedDirectory {
    const { descriptor, device, inode } = this.#open(parent, name)
    const directory = { parent, name, device, inode }
    this.#keep(directory, descriptor)
    return directory
  }

  /**
   * A descriptor of the directory that stays open until it is released; undefined when so many are held that others
   * would lack room.
   */
  hold(directory: ConfinedDirectory): { readonly descriptor: number; release(): void } | undefined {
    const count = this.#held.get(directory) ?? 0
    if (count === 0 && this.#held.size >= this.#descriptorsMax / 2) return undefined
    const descriptor = this.descriptorOf(directory)
    this.#held.set(directory, count + 1)
    return {
      descriptor,
      release: () => {
        const left = (this.#held.get(directory) ?? 0) - 1
        if (left > 0) this.#held.set(directory, left)
        else this.#held.delete(directory)
      },
    }
  }

  #open(parent: ConfinedDirectory, name: Buffer): { descriptor: number; device: bigint; inode: bigint } {
    const descriptor = openDirectory(this.place(parent, name))
    try {
      const status = fs.fstatSync(descriptor, { bigint: true })
      letOwnerIn(descriptor, Number(status.mode), Number(status.uid))
      return { descriptor, device: status.dev, inode: status.ino }
    } catch (error) {
      fs.closeSync(descriptor)
      throw error
    }
  }

  #keep(directory: ConfinedDirectory, descriptor: number): void {
    this.#descriptors.set(directory, descriptor)
    if (this.#descriptors.size <= this.#descriptorsMax) return
    for (const [longestUnused, itsDescriptor] of this.#descriptors) {
      if (this.#held.has(longestUnused)) continue
      fs.closeSync(itsDescriptor)
      this.#descriptors.delete(longestUnused)
      return
    }
  }
}

function openDirectory(path: Buffer): number {
  try {
    return fs.openSync(path, OPEN_DIRECTORY)
  } catch (error) {
    if (errorCodeOf(error) !== 'EACCES') throw error
  }
  // Its owner may lack the right to read it; the mode can still be changed through a descriptor that
  // needs no right, and only this way is it certain whose mode that is.
  const unreadable = fs.openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    const through = `/proc/self/fd/${unreadable}`
    fs.chmodSync(through, (fs.fstatSync(unreadable).mode & PERMISSIONS) | OWNER_MAY_ALL)
    return fs.openSync(`${through}/.`, OPEN_DIRECTORY)
  } finally {
    fs.closeSync(unreadable)
  }
}

/**
 * Root needs no rights. Everybody else can only fill directories that let their owner in, so an owner
 * gives himself that right; the restore sets the final mode once everything is in the directory.
 */
function letOwnerIn(descriptor: number, mode: number, uid: number): void {
  const me = process.geteuid?.()
  if (me === 0 || uid !== me || (mode & OWNER_MAY_ALL) === OWNER_MAY_ALL) return
  fs.fchmodSync(descriptor, (mode & PERMISSIONS) | OWNER_MAY_ALL)
}

/** The names that lead from the base to a directory; none for the base itself. */
export function namesBelowBase(directory: ConfinedDirectory): Buffer[] {
  const names: Buffer[] = []
  for (let at = directory; at.parent !== undefined; at = at.parent) names.unshift(at.name)
  return names
}
