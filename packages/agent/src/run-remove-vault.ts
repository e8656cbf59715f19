/**
 * Removes a vault's repository from its storage. The config goes first: without it there is no
 * repository, so a removal that is broken off leaves nothing that looks like one, and goes on when
 * it runs again.
 */
import * as fs from 'node:fs/promises'
import { Failure } from '@opencbr/engine'
import type { Storage } from '@opencbr/storage'
import type { RemoveVaultAssignment, RemoveVaultOutcome } from './protocol.ts'
import { hasRepository, vaultPlace, withVault, type WorkContext } from './vault-repository.ts'

const REMOVALS_AT_ONCE = 8
/** A listing may still show what is gone, or not yet show what was there. */
const LISTINGS_MAX = 3

export async function runRemoveVault(job: RemoveVaultAssignment, context: WorkContext): Promise<RemoveVaultOutcome> {
  const { storage, directory } = vaultPlace(job.vault)
  if (directory !== undefined) await assertOwnDirectory(directory)
  if (await hasRepository(job.vault)) {
    await withVault(job.vault, context, { exclusive: true, create: false }, async (_repository, lock, signal) => {
      await lock.assertHeld()
      await storage.delete('config', { signal })
    })
  }
  if (directory === undefined) await removeAll(storage, context.signal)
  else await fs.rm(directory, { recursive: true, force: true })
  return { kind: 'remove_vault' }
}

/** Removes every file below the vault's address, until a listing shows none. */
async function removeAll(storage: Storage, signal: AbortSignal): Promise<void> {
  for (let listing = 1; listing <= LISTINGS_MAX; listing += 1) {
    let removed = 0
    let batch: Promise<void>[] = []
    for await (const { key } of storage.list('', { signal })) {
      batch.push(storage.delete(key, { signal }))
      removed += 1
      if (batch.length < REMOVALS_AT_ONCE) continue
      await Promise.all(batch)
      batch = []
    }
    await Promise.all(batch)
    if (removed === 0) return
  }
}

/** A link in the vault's place leads to something that is not ours to remove. */
async function assertOwnDirectory(directory: string): Promise<void> {
  try {
    const found = await fs.lstat(directory)
    if (!found.isDirectory()) throw new Failure('repository.damaged', { location: directory, reason: 'a directory was expected' })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}
