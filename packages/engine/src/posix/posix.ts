/**
 * The system calls that a backup needs and Node does not offer, made through `node:ffi` on the C
 * library the process already has. All calls are synchronous and fit 64-bit Linux on x64 and arm64,
 * with glibc or musl: every structure passed is made of 64-bit words, and every constant used has the
 * same value on both architectures, except the one number in `mknodat`.
 *
 * Paths are bytes, because Linux names need not be UTF-8. Calls never follow a symbolic link in the
 * last place of a path. Against links in earlier places: open the directory with O_DIRECTORY and
 * O_NOFOLLOW, then work on `pathIn(descriptor, name)`, which resolves through the open descriptor.
 *
 * Errors look like Node's own: `code` is 'ENOENT' and so on, with `errno`, `syscall` and `path`.
 */
import * as fs from 'node:fs'
import { getSystemErrorMessage, getSystemErrorName } from 'node:util'
import { loadForeignFunctions } from '../foreign-functions.ts'

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const O_CLOEXEC = 0o2000000
const SEEK_END = 2
const SEEK_DATA = 3
const SEEK_HOLE = 4
const POSIX_FADV_WILLNEED = 3
const SYNC_FILE_RANGE_WRITE = 2
const FALLOC_FL_KEEP_SIZE = 1
const FALLOC_FL_PUNCH_HOLE = 2
const ENXIO = 6
const EBADF = 9
const ENODATA = 61
const ENOTSUP = 95

/** The kernel's own limit, for one value and for a list of names alike. */
const XATTR_BYTES_MAX = 65_536

export const S_IFMT = 0o170000
export const S_IFSOCK = 0o140000
export const S_IFLNK = 0o120000
export const S_IFREG = 0o100000
export const S_IFBLK = 0o060000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFIFO = 0o010000

// glibc before 2.33 has mknodat only as an inline function, so it is called by its number.
const MKNODAT_NUMBERS: Readonly<Record<string, bigint>> = { x64: 259n, arm64: 33n }
const STATX_NUMBER = { x64: 332n, arm64: 291n }[process.arch as string]
const OPENAT_NUMBER = { x64: 257n, arm64: 56n }[process.arch as string]
const GETDENTS64_NUMBER = { x64: 217n, arm64: 61n }[process.arch as string]

function refuseToLoad(): never {
  throw new Error('This runtime has no foreign function interface, or may not use it.')
}

const ffi = loadForeignFunctions() ?? refuseToLoad()

const libc = ffi.dlopen(null, {
  __errno_location: { return: 'pointer', arguments: [] },
  llistxattr: { return: 'i64', arguments: ['pointer', 'pointer', 'u64'] },
  lgetxattr: { return: 'i64', arguments: ['pointer', 'pointer', 'pointer', 'u64'] },
  lsetxattr: { return: 'i32', arguments: ['pointer', 'pointer', 'pointer', 'u64', 'i32'] },
  lremovexattr: { return: 'i32', arguments: ['pointer', 'pointer'] },
  utimensat: { return: 'i32', arguments: ['i32', 'pointer', 'pointer', 'i32'] },
  flistxattr: { return: 'i64', arguments: ['i32', 'pointer', 'u64'] },
  fgetxattr: { return: 'i64', arguments: ['i32', 'pointer', 'pointer', 'u64'] },
  fsetxattr: { return: 'i32', arguments: ['i32', 'pointer', 'pointer', 'u64', 'i32'] },
  fremovexattr: { return: 'i32', arguments: ['i32', 'pointer'] },
  futimens: { return: 'i32', arguments: ['i32', 'pointer'] },
  listxattr: { return: 'i64', arguments: ['pointer', 'pointer', 'u64'] },
  getxattr: { return: 'i64', arguments: ['pointer', 'pointer', 'pointer', 'u64'] },
  setxattr: { return: 'i32', arguments: ['pointer', 'pointer', 'pointer', 'u64', 'i32'] },
  removexattr: { return: 'i32', arguments: ['pointer', 'pointer'] },
  close: { return: 'i32', arguments: ['i32'] },
  lseek: { return: 'i64', arguments: ['i32', 'i64', 'i32'] },
  posix_fadvise: { return: 'i32', arguments: ['i32', 'i64', 'i64', 'i32'] },
  sync_file_range: { return: 'i32', arguments: ['i32', 'i64', 'i64', 'u32'] },
  fallocate: { return: 'i32', arguments: ['i32', 'i32', 'i64', 'i64'] },
  syscall: { return: 'i64', arguments: ['i64', 'i64', 'pointer', 'u64', 'u64'] },
}).functions

// By their numbers: not every C library has the calls under their names, and `openat` takes a varying number of arguments.
const call = ffi.dlopen(null, { syscall: { return: 'i32', arguments: ['i64', 'i32', 'pointer', 'i32', 'u32', 'pointer'] } }).functions.syscall

/** Where this thread keeps errno; the address does not change while the thread lives. */
const errnoAddress = libc.__errno_location()

/** Scratch space for answers of the kernel; every call is synchronous, so one per thread is enough. */
const answer = Buffer.alloc(XATTR_BYTES_MAX)
const answerBytes = BigInt(XATTR_BYTES_MAX)
const timespecs = new BigInt64Array(4)

function lastErrno(): number {
  return ffi.getInt32(errnoAddress, 0)
}

function systemError(syscall: string, file?: FileReference): NodeJS.ErrnoException {
  const errno = lastErrno()
  const code = getSystemErrorName(-errno)
  const path = typeof file === 'number' ? `descriptor ${file}` : file?.toString()
  const place = path === undefined ? '' : ` '${path}'`
  const error: NodeJS.ErrnoException = new Error(`${code}: ${getSystemErrorMessage(-errno)}, ${syscall}${place}`)
  error.code = code
  error.errno = -errno
  error.syscall = syscall
  if (path !== undefined) error.path = path
  return error
}

/** The bytes as a C string. A NUL inside would silently name another file, so it is refused. */
function terminated(bytes: Uint8Array): Buffer {
  const text = Buffer.allocUnsafe(bytes.length + 1)
  text.set(bytes)
  text[bytes.length] = 0
  if (text.indexOf(0) !== bytes.length) {
    const error: NodeJS.ErrnoException = new Error('EINVAL: a name contains a NUL byte')
    error.code = 'EINVAL'
    throw error
  }
  return text
}

/**
 * A file by its path, or the very file behind an open descriptor, whatever its name has become
 * meanwhile. A descriptor opened with O_PATH does too, also one of a symbolic link.
 */
export type FileReference = Buffer | number

/**
 * Makes a call on a descriptor. One opened with O_PATH is refused as bad, so for it the call is made
 * on the path that leads through it. The kernel jumps from there to the open file and follows nothing
 * after that: the calls that follow links are the right ones then, others would act on the entry in
 * /proc.
 */
function callOn<Result extends number | bigint>(
  descriptor: number, direct: (descriptor: number) => Result, through: (path: Buffer) => Result,
): Result {
  const result = direct(descriptor)
  return result < 0 && lastErrno() === EBADF ? through(terminated(Buffer.from(`/proc/self/fd/${descriptor}`))) : result
}

/** The path of a name in a directory that is held open, immune to renames and links above it. */
export function pathIn(directoryDescriptor: number, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directoryDescriptor}/`), name])
}

/** What the kernel says of a file, in plain numbers. */
export interface FileStatus {
  /** With the type of the file. */
  readonly mode: number
  readonly links: number
  readonly uid: number
  readonly gid: number
  readonly inode: number
  readonly size: number
  readonly mtimeSeconds: number
  readonly mtimeNanoseconds: number
  readonly ctimeSeconds: number
  readonly ctimeNanoseconds: number
}

/** All that `stat` ever told. */
const STATX_BASIC_STATS = 0x7ff
const NAME_BYTES_MAX = 255
const statusName = Buffer.alloc(NAME_BYTES_MAX + 1)
const noName = Buffer.alloc(1)
const status = new DataView(new ArrayBuffer(256))
const statusBytes = Buffer.from(status.buffer)

/**
 * Looks at a name, each byte of it a character, in a directory that is held open, without following links. It takes a third of the time of `lstat` on
 * `pathIn`. Undefined for whatever is out of the ordinary: the name is gone, a number is not exact, the system has no such call.
 */
export function findStatus(directoryDescriptor: number, latin1Name: string): FileStatus | undefined {
  if (latin1Name.length > NAME_BYTES_MAX) return undefined
  statusName[statusName.write(latin1Name, 'latin1')] = 0
  return readStatus(directoryDescriptor, statusName, AT_SYMLINK_NOFOLLOW)
}

/** The same of a file that is open. */
export function findOpenStatus(descriptor: number): FileStatus | undefined {
  return readStatus(descriptor, noName, AT_EMPTY_PATH)
}

function readStatus(descriptor: number, name: Buffer, flags: number): FileStatus | undefined {
  if (STATX_NUMBER === undefined || call(STATX_NUMBER, descriptor, name, flags, STATX_BASIC_STATS, statusBytes) !== 0) return undefined
  const mask = uint32At(0)
  const inode = uint64At(32)
  const size = uint64At(40)
  const ctimeSeconds = int64At(96)
  const mtimeSeconds = int64At(112)
  const isExact = Number.isSafeInteger(inode) && Number.isSafeInteger(size) && Number.isSafeInteger(ctimeSeconds) && Number.isSafeInteger(mtimeSeconds)
  if (!isExact || (mask & STATX_BASIC_STATS) !== STATX_BASIC_STATS) return undefined
  return {
    mode: status.getUint16(28, true), links: uint32At(16), uid: uint32At(20), gid: uint32At(24), inode, size,
    mtimeSeconds, mtimeNanoseconds: uint32At(120), ctimeSeconds, ctimeNanoseconds: uint32At(104),
  }
}

/**
 * Opens a name, each byte of it a character, in a directory that is held open: half the time of `open` on `pathIn`. Undefined for what
 * does not open, and where the system has no such call; whoever wants to know why opens it the other way.
 * It is closed by `closeDescriptor`: a thread of Node warns of descriptors that it closes and has not opened.
 */
export function findDescriptor(directoryDescriptor: number, latin1Name: string, flags: number, mode = 0): number | undefined {
  if (OPENAT_NUMBER === undefined || latin1Name.length > NAME_BYTES_MAX) return undefined
  statusName[statusName.write(latin1Name, 'latin1')] = 0
  const descriptor = call(OPENAT_NUMBER, directoryDescriptor, statusName, flags | O_CLOEXEC, mode, null)
  return descriptor < 0 ? undefined : descriptor
}

/** Closes what `findDescriptor` has opened. */
export function closeDescriptor(descriptor: number): void {
  if (libc.close(descriptor) !== 0) throw systemError('close', descriptor)
}

/** What a directory holds. */
export interface DirectoryNames {
  /** In the order of their bytes, each of which is a character: that costs much less than a buffer for each name. */
  readonly names: string[]
  /** Those of regular files, as far as the directory itself says so. */
  readonly files: ReadonlySet<string>
}

const DT_REG = 8
/** Of a directory's entry: the number of the file, a place, its length, the kind, and the name with a NUL behind it. */
const ENTRY_LENGTH_AT = 16
const ENTRY_KIND_AT = 18
const ENTRY_NAME_AT = 19

/** Lists a directory that has just been opened; the names . and .. are left out. */
export function listDirectory(descriptor: number): DirectoryNames {
  if (GETDENTS64_NUMBER === undefined) {
    return { names: fs.readdirSync(pathIn(descriptor, Buffer.from('.')), { encoding: 'latin1' }).sort(), files: new Set() }
  }
  const names: string[] = []
  const files = new Set<string>()
  for (;;) {
    const bytes = call(GETDENTS64_NUMBER, descriptor, answer, answer.length, 0, null)
    if (bytes < 0) throw systemError('getdents64', descriptor)
    if (bytes === 0) return { names: names.sort(), files }
    for (let at = 0; at < bytes; at += answer.readUInt16LE(at + ENTRY_LENGTH_AT)) {
      const name = answer.toString('latin1', at + ENTRY_NAME_AT, answer.indexOf(0, at + ENTRY_NAME_AT))
      if (name === '.' || name === '..') continue
      names.push(name)
      if (answer[at + ENTRY_KIND_AT] === DT_REG) files.add(name)
    }
  }
}

const uint32At = (offset: number): number => status.getUint32(offset, true)
const uint64At = (offset: number): number => uint32At(offset + 4) * 2 ** 32 + uint32At(offset)
const int64At = (offset: number): number => status.getInt32(offset + 4, true) * 2 ** 32 + uint32At(offset)

/** Names of a file's extended attributes in the kernel's order; none where the file system has no such thing. */
export function listXattrs(file: FileReference): Buffer[] {
  // Without room for an answer the kernel only says how long it is, and fetches no memory for it: most files have none.
  if (typeof file === 'number' && libc.flistxattr(file, null, 0n) === 0n) return []
  const length = Number(
    typeof file === 'number'
      ? callOn(
          file,
          (descriptor) => libc.flistxattr(descriptor, answer, answerBytes),
          (path) => libc.listxattr(path, answer, answerBytes),
        )
      : libc.llistxattr(terminated(file), answer, answerBytes),
  )
  if (length < 0) {
    if (lastErrno() === ENOTSUP) return []
    throw systemError('listxattr', file)
  }
  const names: Buffer[] = []
  let start = 0
  while (start < length) {
    const end = answer.indexOf(0, start)
    names.push(Buffer.from(answer.subarray(start, end)))
    start = end + 1
  }
  return names
}

/** The value of one extended attribute; undefined when the file has none of that name. */
export function findXattr(file: FileReference, name: Uint8Array): Buffer | undefined {
  const length = Number(
    typeof file === 'number'
      ? callOn(
          file,
          (descriptor) => libc.fgetxattr(descriptor, terminated(name), answer, answerBytes),
          (path) => libc.getxattr(path, terminated(name), answer, answerBytes),
        )
      : libc.lgetxattr(terminated(file), terminated(name), answer, answerBytes),
  )
  if (length < 0) {
    if (lastErrno() === ENODATA) return undefined
    throw systemError('getxattr', file)
  }
  return Buffer.from(answer.subarray(0, length))
}

/** Sets one extended attribute, replacing an older value. */
export function setXattr(file: FileReference, name: Uint8Array, value: Uint8Array): void {
  const valueBytes = BigInt(value.length)
  const result =
    typeof file === 'number'
      ? callOn(
          file,
          (descriptor) => libc.fsetxattr(descriptor, terminated(name), value, valueBytes, 0),
          (path) => libc.setxattr(path, terminated(name), value, valueBytes, 0),
        )
      : libc.lsetxattr(terminated(file), terminated(name), value, valueBytes, 0)
  if (result !== 0) throw systemError('setxattr', file)
}

/** Removes one extended attribute; throws ENODATA when there is none of that name. */
export function removeXattr(file: FileReference, name: Uint8Array): void {
  const result =
    typeof file === 'number'
      ? callOn(
          file,
          (descriptor) => libc.fremovexattr(descriptor, terminated(name)),
          (path) => libc.removexattr(path, terminated(name)),
        )
      : libc.lremovexattr(terminated(file), terminated(name))
  if (result !== 0) throw systemError('removexattr', file)
}

const NANOSECONDS_PER_SECOND = 1_000_000_000n

/** Sets both times of a file or of a symbolic link itself, in nanoseconds since 1970, also before it. */
export function setTimes(file: FileReference, times: { accessedNs: bigint; modifiedNs: bigint }): void {
  putTimespec(0, times.accessedNs)
  putTimespec(2, times.modifiedNs)
  const result =
    typeof file === 'number'
      ? callOn(
          file,
          (descriptor) => libc.futimens(descriptor, timespecs),
          (path) => libc.utimensat(AT_FDCWD, path, timespecs, 0),
        )
      : libc.utimensat(AT_FDCWD, terminated(file), timespecs, AT_SYMLINK_NOFOLLOW)
  if (result !== 0) throw systemError('utimens', file)
}

function putTimespec(index: number, nanoseconds: bigint): void {
  // The nanoseconds part is never negative: times before 1970 round down to the second before.
  const remainder = ((nanoseconds % NANOSECONDS_PER_SECOND) + NANOSECONDS_PER_SECOND) % NANOSECONDS_PER_SECOND
  timespecs[index] = (nanoseconds - remainder) / NANOSECONDS_PER_SECOND
  timespecs[index + 1] = remainder
}

/**
 * Makes a fifo, a device or an empty regular file. `mode` holds the type (`S_IFIFO`, `S_IFCHR`,
 * `S_IFBLK`, `S_IFREG`) and the permissions, from which the process's umask is taken away; `device`
 * is a number as `lstat` gives it in `rdev`. An existing name is EEXIST, whatever it is.
 */
export function makeNode(path: Buffer, mode: number, device: bigint): void {
  const number = MKNODAT_NUMBERS[process.arch]
  if (number === undefined) throw new Error(`Device nodes are not supported on ${process.arch}.`)
  const terminatedPath = terminated(path)
  if (libc.syscall(number, BigInt(AT_FDCWD), terminatedPath, BigInt(mode), device) !== 0n) {
    throw systemError('mknodat', path)
  }
}

/** A region of a file that holds data; everything between such regions reads as zeros. */
export interface DataRegion {
  /** Bytes from the start of the file. */
  readonly start: number
  /** The first byte after the region. */
  readonly end: number
}

/**
 * The first region with data at or after an offset, in a file or device of the given size; undefined
 * when only a hole is left. Where the file system cannot tell, everything is data. It moves the
 * descriptor's own offset, so read with explicit positions.
 */
export function findDataRegion(descriptor: number, offset: number, sizeBytes: number): DataRegion | undefined {
  if (offset >= sizeBytes) return undefined
  const start = libc.lseek(descriptor, BigInt(offset), SEEK_DATA)
  if (start < 0n) return lastErrno() === ENXIO ? undefined : { start: offset, end: sizeBytes }
  const end = libc.lseek(descriptor, start, SEEK_HOLE)
  if (Number(start) >= sizeBytes) return undefined
  return { start: Number(start), end: end < 0n ? sizeBytes : Math.min(Number(end), sizeBytes) }
}

/** The size in bytes of an open file or block device, for which `fstat` would say 0. */
export function sizeOf(descriptor: number): number {
  const end = libc.lseek(descriptor, 0n, SEEK_END)
  if (end < 0n) throw systemError('lseek')
  return Number(end)
}

/** Lets the system fetch the first bytes of an open file, without waiting for them. It is a hint and never fails. */
export function fetchAhead(descriptor: number, lengthBytes: number): void {
  libc.posix_fadvise(descriptor, 0n, BigInt(lengthBytes), POSIX_FADV_WILLNEED)
}

/** Lets the system begin to write a range of an open file to the disk, without waiting for it. It is a hint and never fails. */
export function startWriting(descriptor: number, offset: number, lengthBytes: number): void {
  libc.sync_file_range(descriptor, BigInt(offset), BigInt(lengthBytes), SYNC_FILE_RANGE_WRITE)
}

/** Turns a range of an open file into a hole that reads as zeros; the file keeps its size. */
export function punchHole(descriptor: number, offset: number, lengthBytes: number): void {
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
  if (libc.fallocate(descriptor, mode, BigInt(offset), BigInt(lengthBytes)) !== 0) throw systemError('fallocate')
}

export interface OwnerNames {
  /** Empty when the system knows no such user. */
  userName(uid: number): string
  /** Empty when the system knows no such group. */
  groupName(gid: number): string
}

/** Reads the names of users and groups from the system's two files, once; later changes are not seen. */
export function readOwnerNames(files = { users: '/etc/passwd', groups: '/etc/group' }): OwnerNames {
  const users = readNames(files.users)
  const groups = readNames(files.groups)
  return {
    userName: (uid) => users.get(uid) ?? '',
    groupName: (gid) => groups.get(gid) ?? '',
  }
}

function readNames(file: string): Map<number, string> {
  const names = new Map<number, string>()
  let text = ''
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch {
    // A container image may have neither file: then there are only numbers.
    return names
  }
  for (const line of text.split('\n')) {
    const [name, , number] = line.split(':')
    if (name === undefined || number === undefined || !/^\d+$/.test(number)) continue
    // The first entry of a number wins, as it does for the C library.
    if (!names.has(Number(number))) names.set(Number(number), name)
  }
  return names
}
