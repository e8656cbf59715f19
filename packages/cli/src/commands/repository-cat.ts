import { listTree, readContent, segmentedDiskBytes, type BlobId, type BlobType, type Repository } from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printJson } from '../output.ts'
import {
  findSnapshot, interruptible, oneOf, reading, splitSnapshotPath, type AccessFlags, type OpenedRepository, type SnapshotFlags,
} from './repository-access.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { describeSnapshot, writeOut } from './repository-read.ts'

type CatFlags = AccessFlags & SnapshotFlags

export function runCat({ args: [location = '', what = '', id], options }: Call<CatFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async (opened, signal) => {
    if (what.includes(':')) return catFile(opened.repository, what, options, signal)
    return catStored(opened, what, id, options, signal)
  }))
}

async function catFile(repository: Repository, text: string, flags: CatFlags, signal: AbortSignal): Promise<void> {
  const { name, path } = splitSnapshotPath(text)
  const { id } = await findSnapshot(repository, name, flags, signal)
  await repository.loadIndex({ signal })
  for await (const { node } of listTree(repository, id, path, { signal, recursive: false })) {
    if (await segmentedDiskBytes(repository, node) !== undefined) {
      for await (const entry of listTree(repository, id, path, { signal })) {
        for await (const piece of readContent(repository, entry.node, signal)) await writeOut(piece)
      }
      return
    }
    if (node.type !== 'file') throw new RepositoryCommandFailure('failure', `${path} is no file; opencbr repository ls shows what is in it.`)
    for await (const piece of readContent(repository, node, signal)) await writeOut(piece)
    return
  }
}

async function catStored(
  { repository, storage }: OpenedRepository, kind: string, text: string | undefined, flags: CatFlags, signal: AbortSignal,
): Promise<void> {
  if (kind === 'config') {
    printJson({ version: repository.version, id: repository.id, chunker_polynomial: repository.chunkerPolynomial.toString(16) })
    return
  }
  if (text === undefined) throw new RepositoryCommandFailure('usage', `Say which ${kind} by its id.`)
  switch (kind) {
    case 'snapshot':
      printJson(describeSnapshot(await findSnapshot(repository, text, flags, signal)))
      return
    case 'index': {
      const ids = (await repository.storedFiles.listIndexFiles(signal)).filter((id) => id.startsWith(text))
      const packs = await repository.storedFiles.readIndexFile(oneOf(ids, text, 'index'), signal)
      printJson({
        packs: packs.map(({ id, blobs }) => ({
          id,
          blobs: blobs.map(({ id: blobId, type, offset, length, plainLength, compressed }) =>
            ({ id: blobId, type, offset, length, ...(compressed ? { uncompressed_length: plainLength } : {}) })),
        })),
      })
      return
    }
    case 'key': {
      const ids = (await Array.fromAsync(storage.list('keys/'))).map(({ key }) => key.slice('keys/'.length)).filter((id) => id.startsWith(text))
      const { data: _sealed, ...shown } = JSON.parse(Buffer.from(await storage.get(`keys/${oneOf(ids, text, 'key')}`)).toString()) as Record<string, unknown>
      printJson(shown)
      return
    }
    case 'blob':
      await repository.loadIndex({ signal })
      await writeOut(await repository.loadBlob(typeOfBlob(repository, text), text as BlobId))
      return
    case 'tree': {
      const isBlob = /^[0-9a-f]{64}$/.test(text)
      const treeId = isBlob ? (text as BlobId) : (await findSnapshot(repository, text, flags, signal)).snapshot.tree
      await repository.loadIndex({ signal })
      await writeOut(await repository.loadBlob('tree', treeId))
      return
    }
    default:
      throw new RepositoryCommandFailure('usage', `${kind} is nothing to print: SNAPSHOT:PATH, config, snapshot, index, key, tree and blob are.`)
  }
}

function typeOfBlob(repository: Repository, id: string): BlobType {
  if (!/^[0-9a-f]{64}$/.test(id)) throw new RepositoryCommandFailure('usage', `${id} is not the whole id of a blob.`)
  return repository.locate('data', id as BlobId) === undefined ? 'tree' : 'data'
}
