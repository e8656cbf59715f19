/** Moves the files of one storage into another, so that a test can begin many times at the same state. */
import { localStorage, memoryStorage, type Storage } from '@opencbr/storage'

async function copyInto(target: Storage, source: Storage): Promise<void> {
  for await (const { key } of source.list('')) await target.put(key, [await source.get(key)])
}

/** The same files in memory, where nothing that a test does to them costs time. */
export async function copyToMemory(source: Storage): Promise<Storage> {
  const copy = memoryStorage()
  await copyInto(copy, source)
  return copy
}

/** The same files in a directory, where other programs find them. */
export async function copyToDirectory(source: Storage, directory: string): Promise<void> {
  await copyInto(localStorage(directory), source)
}
