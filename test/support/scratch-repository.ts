/** A repository on disk for one test, opened by us and within reach of stock restic. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import {
  archiveImage, archiveTree, initRepository, kdfForRandomPassword, openRepository, type ArchiveOptions, type ArchiveResult,
  type ArchiveTreeOptions, type Repository, type RepositoryLock,
} from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { restic, type Restic } from './restic.ts'

export const PASSWORD = 'correct horse battery staple'
export const HOSTNAME = 'source.example'

/** A directory that goes away with the test. */
export function scratchDirectory(t: TestContext): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-test-'))
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

export interface ScratchRepository extends AsyncDisposable {
  readonly path: string
  readonly repository: Repository
  readonly lock: RepositoryLock
  archiveTree(path: string, options?: Partial<ArchiveTreeOptions>): Promise<ArchiveResult>
  archiveImage(path: string, options?: Partial<ArchiveOptions>): Promise<ArchiveResult>
  /** Stock restic on this repository. */
  restic(binary: string): Restic
}

function complete<Options extends Partial<ArchiveOptions>>(path: string, options: Options) {
  const time = new Date('2026-01-02T03:04:05.678Z')
  return { path, hostname: HOSTNAME, tags: ['test'], time, programVersion: 'opencbr test', ...options }
}

/** Opens the repository at a path, which is created when there is none. */
export async function openScratchRepository(path: string): Promise<ScratchRepository> {
  fs.mkdirSync(path, { recursive: true })
  const storage = localStorage(path)
  if (!fs.existsSync(join(path, 'config'))) await initRepository(storage, { password: PASSWORD, kdf: kdfForRandomPassword })
  const repository = await openRepository(storage, { password: PASSWORD })
  const lock = await repository.lock({ exclusive: false, settleMs: 0 })
  return {
    path,
    repository,
    lock,
    archiveTree: (source, options = {}) => archiveTree(repository, lock, complete(source, options)),
    archiveImage: (source, options = {}) => archiveImage(repository, lock, complete(source, options)),
    restic: (binary) => restic(binary, path, PASSWORD),
    async [Symbol.asyncDispose]() {
      await lock[Symbol.asyncDispose]()
      await repository[Symbol.asyncDispose]()
    },
  }
}
