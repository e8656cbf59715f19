/**
 * Puts the plaintext of a blob where a restore wants it, in whichever thread has opened the blob: into files that are
 * open, which all threads of the process share, or into a small file of its own, which is made, filled, given
 * its attributes and closed at once.
 */
import * as fs from 'node:fs'
import { chmodBitsFrom } from '../format/tree-values.ts'
import { closeDescriptor, findDescriptor, pathIn } from '../posix/posix.ts'
import { setAttributes, type AttributesOf } from './attributes.ts'
import { writeIntoHoleNow, writeToDisk } from './content-file.ts'
import type { RestoreWarningCode } from './restore-warnings.ts'
import { errorCodeOf } from './system-errors.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
/** How a file is opened that must not be there yet. */
export const NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
/** What is made is private to the restore at first. */
export const PRIVATE_FILE = 0o600
/** Without what gives a program the rights of others, which is set in the end. */
const PERMISSIONS_OF_ALL = 0o777

/** A place in an open file that reads as zeros there. */
export interface PlaceInFile {
  readonly descriptor: number
  /** Bytes from the start of the file. */
  readonly offset: number
  /** Whether somebody will wait until the file is on the disk: then it is written there at once. */
  readonly isAwaited?: boolean
  /** A descriptor of the same file for that, past the system's memory. */
  readonly direct?: number | undefined
}

/** A file that is not there yet, and whose whole content is the blob. */
export interface FileToMake {
  /** The descriptor of its directory. */
  readonly directory: number
  /** The bytes of its name, each as a character. */
  readonly name: string
  readonly attributes: AttributesOf
  /** Whether nobody else can reach it, whatever its permissions are, until its directory gets its own. */
  readonly isHidden: boolean
}

export type DeliveryTarget = PlaceInFile | FileToMake

/** A system call that has failed, in a form that goes from thread to thread. */
export interface FailedCall {
  readonly message: string
  readonly code: string
  readonly syscall: string
}

export interface DeliveryOutcome {
  /** Undefined when everything is in place. */
  readonly failed: FailedCall | undefined
  /** Whether the file to make has been made, even if it could not be filled. */
  readonly isMade: boolean
  /** What could not be set of its attributes. */
  readonly reports: readonly (readonly [code: RestoreWarningCode, reason: string])[]
}

const IN_PLACE: DeliveryOutcome = { failed: undefined, isMade: false, reports: [] }

/**
 * Puts a plaintext into one place; it must stay until that is done. Failed system calls are told; whatever else goes wrong is thrown.
 */
export function deliver(plaintext: Uint8Array, target: DeliveryTarget): DeliveryOutcome | Promise<DeliveryOutcome> {
  if ('name' in target) return makeFile(plaintext, target)
  const { descriptor, direct, offset, isAwaited = false } = target
  try {
    if (!isAwaited) writeIntoHoleNow(descriptor, plaintext, offset)
    return (isAwaited ? writeToDisk(descriptor, direct, plaintext, offset)?.then(() => IN_PLACE, notInPlace) : undefined) ?? IN_PLACE
  } catch (error) {
    return notInPlace(error)
  }
}

function notInPlace(error: unknown): DeliveryOutcome {
  return { ...IN_PLACE, failed: failedCallOf(error) }
}

function makeFile(plaintext: Uint8Array, { directory, name, attributes, isHidden }: FileToMake): DeliveryOutcome {
  const reports: [RestoreWarningCode, string][] = []
  const mode = isHidden ? chmodBitsFrom(attributes.mode) & PERMISSIONS_OF_ALL : PRIVATE_FILE
  const found = findDescriptor(directory, name, NEW_FILE, mode)
  let descriptor = found
  try {
    descriptor ??= fs.openSync(pathIn(directory, Buffer.from(name, 'latin1')), NEW_FILE, mode)
    // Zeros at the end are not written.
    if (writeIntoHoleNow(descriptor, plaintext, 0) < plaintext.length) fs.ftruncateSync(descriptor, plaintext.length)
    setAttributes(descriptor, attributes, (code, reason) => reports.push([code, reason]))
    return { failed: undefined, isMade: true, reports }
  } catch (error) {
    return { failed: failedCallOf(error), isMade: descriptor !== undefined, reports }
  } finally {
    if (found !== undefined) closeDescriptor(found)
    else if (descriptor !== undefined) fs.closeSync(descriptor)
  }
}

function failedCallOf(error: unknown): FailedCall {
  const code = errorCodeOf(error)
  if (code === undefined) throw error
  const { message, syscall = '' } = error as NodeJS.ErrnoException
  return { message, code, syscall }
}

/** The error as the thread had it. */
export function errorOfCall({ message, code, syscall }: FailedCall): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code, syscall })
}
