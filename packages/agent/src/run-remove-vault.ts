/**
 * Removes a vault's repository from its storage. The config goes first: without it there is no
 * repository, so a removal that is broken off leaves nothing that looks like one, and goes on when
 * it runs again.
 */
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '@opencbr/engine'
import type { RemoveVaultAssignment, RemoveVaultOutcome } from './protocol.ts'
import { hasRepository, vaultDirectory, withVault, type WorkContext } from './vault-repository.ts'

export async function runRemoveVault(job: RemoveVaultAssignment, context: WorkContext): Promise<RemoveVaultOutcome> {
  const directory = vaultDirectory(job.vault)
  await assertOwnDirectory(directory)
  if (await hasRepository(job.vault)) {
    await withVault(job.vault, context, { exclusive: true, create: false }, async (_repository, lock, signal) => {
      await lock.assertHeld()
      signal.throwIfAborted()
      await fs.rm(join(directory, 'config'))
    })
  }
  await fs.rm(directory, { recursive: true, force: true })
  return { kind: 'remove_vault' }
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
