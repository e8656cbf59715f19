/**
 * What a run leaves out of a tree: what patterns name, in the language of `.gitignore`, and the content
 * of directories that declare themselves to be caches.
 */
import type { Ignore } from 'ignore'
import { kindOf } from '../source/describe.ts'
import { openSource } from '../source/open-source.ts'
import { readNow } from '../source/read-source.ts'
import { systemCodeOf } from '../source/source-errors.ts'

/** The library remembers every path that it is asked about; a fresh copy of it after so many forgets them. */
const QUESTIONS_PER_COPY = 10_000

/** Patterns that are ready to be asked. */
export class Exclusion {
  readonly #copy: () => Ignore
  #patterns: Ignore
  #questions = 0

  private constructor(copy: () => Ignore) {
    this.#copy = copy
    this.#patterns = copy()
  }

  /** Reads the lines of a `.gitignore`; undefined when there are none. Blank lines and comments have no effect. */
  static async parse(lines: readonly string[]): Promise<Exclusion | undefined> {
    if (lines.length === 0) return undefined
    // Most runs have no patterns, and are spared loading the library.
    const { default: ignore } = await import('ignore')
    const options = { ignorecase: false }
    const parsed = ignore(options).add([...lines])
    return new Exclusion(() => ignore(options).add(parsed))
  }

  /**
   * The pattern that excludes an entry of a directory that is not excluded itself.
   *
   * @param path relative to the directory that is archived, without a slash at either end
   */
  findPattern(path: string, isDirectory: boolean): string | undefined {
    if (this.#questions === QUESTIONS_PER_COPY) {
      this.#patterns = this.#copy()
      this.#questions = 0
    }
    this.#questions += 1
    return this.#patterns.test(isDirectory ? `${path}/` : path).rule?.pattern
  }
}

/** The name of the file that declares its directory to be a cache, see https://bford.info/cachedir/. */
export const CACHE_TAG_NAME = Buffer.from('CACHEDIR.TAG')
const CACHE_TAG_SIGNATURE = Buffer.from('Signature: 8a477f597d28d172789f06886806bc55')

/** Whether a file of that name is a valid tag: a regular file that begins with the signature. */
export function isCacheTag(path: Buffer): boolean {
  try {
    using file = openSource(path)
    if (kindOf(file.stat.mode) !== 'file') return false
    const start = Buffer.alloc(CACHE_TAG_SIGNATURE.length)
    return readNow(file.descriptor, start) === start.length && start.equals(CACHE_TAG_SIGNATURE)
  } catch (error) {
    // What cannot be read is archived as everything else, which tells about it.
    systemCodeOf(error)
    return false
  }
}
