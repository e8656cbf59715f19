import { StorageFailure } from '@opencbr/storage'

/**
 * Everything that can go wrong for a reason outside the engine, with what a person can do about it.
 * `retry` says when trying again makes sense: `later` by itself, `after-repair` once somebody has
 * acted, `never` with the same input.
 */
export const failures = {
  'repository.not_found': { retry: 'never', text: 'There is no repository here: the storage holds no config file.' },
  'repository.exists': { retry: 'never', text: 'A repository exists here already; it was not touched.' },
  'repository.wrong_password': { retry: 'never', text: 'The password opens none of the key files of the repository.' },
  'repository.unsupported': { retry: 'never', text: 'The repository has a format that this version does not know.' },
  'repository.locked': { retry: 'later', text: 'Another process holds a lock on the repository.' },
  'repository.lock_lost': { retry: 'later', text: 'The lock on the repository was lost while work was going on; nothing was committed.' },
  'repository.changed': { retry: 'later', text: 'The repository changed since this was planned, so nothing was done: plan again.' },
  'repository.damaged': { retry: 'after-repair', text: 'A file of the repository is damaged or missing: check the repository.' },
  'blob.missing': { retry: 'after-repair', text: 'The repository lacks data that a snapshot needs: check the repository.' },
  'blob.damaged': { retry: 'after-repair', text: 'Stored data is damaged: check the repository, and its storage.' },
  'host.unsound': { retry: 'after-repair', text: 'This machine computed a wrong result: test its memory and processor.' },
  'snapshot.not_found': { retry: 'never', text: 'The repository holds no such snapshot.' },
  'snapshot.path_not_found': { retry: 'never', text: 'The snapshot holds nothing of the wanted kind at this path.' },
  'key.not_found': { retry: 'never', text: 'The repository has no such key.' },
  'key.needed': { retry: 'never', text: 'This key must stay: it is the one in use, or the last.' },
  'source.missing': { retry: 'after-repair', text: 'What should be backed up does not exist.' },
  'source.wrong_kind': { retry: 'never', text: 'What should be backed up is of another kind than was said.' },
  'source.unreadable': { retry: 'after-repair', text: 'What should be backed up cannot be read.' },
  'source.changed': { retry: 'later', text: 'What should be backed up changed under the run.' },
  'storage.not_found': { retry: 'after-repair', text: 'A file of the repository is not in the storage.' },
  'storage.exists': { retry: 'never', text: 'The storage already holds a file of this name.' },
  'storage.out_of_range': { retry: 'after-repair', text: 'A stored file is shorter than it should be.' },
  'storage.full': { retry: 'after-repair', text: 'The storage has no space left: free some, or enlarge it.' },
  'storage.over_capacity': { retry: 'after-repair', text: 'There is not enough room: the vault would hold more than its size. Enlarge it, or delete backups.' },
  'storage.forbidden': { retry: 'after-repair', text: 'The storage refuses access: check its permissions.' },
  'storage.wrong_place': { retry: 'after-repair', text: 'There is no storage at this address: check it, its bucket and its region.' },
  'storage.unavailable': { retry: 'later', text: 'The storage cannot be reached or answers with an error.' },
  'destination.forbidden': { retry: 'never', text: 'The destination does not lie inside an allowed directory.' },
  'destination.too_small': { retry: 'never', text: 'The destination is smaller than what should be restored.' },
  'destination.full': { retry: 'after-repair', text: 'The destination has no space left: free some and restore again.' },
  'destination.unwritable': { retry: 'after-repair', text: 'The destination cannot be written.' },
  'destination.unsuitable': { retry: 'never', text: 'The destination is neither a regular file of its own nor a block device.' },
  'destination.changed': { retry: 'later', text: 'Somebody else changed the destination during the restore; it was stopped.' },
  cancelled: { retry: 'never', text: 'The operation was cancelled.' },
} as const satisfies Record<string, { retry: 'never' | 'later' | 'after-repair'; text: string }>

export type FailureCode = keyof typeof failures

export class Failure extends Error {
  override name = 'Failure'
  readonly code: FailureCode
  readonly facts: Readonly<Record<string, string | number>>

  constructor(code: FailureCode, facts: Failure['facts'] = {}, options?: ErrorOptions) {
    super(failures[code].text, options)
    this.code = code
    this.facts = facts
  }
}

/** Throws `cancelled`, with the signal's reason as cause, when the signal has been aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new Failure('cancelled', {}, { cause: signal.reason })
}

/**
 * Turns what storages and aborted calls throw into the engine's own failures. Anything else is
 * handed back as it is: it is a mistake of ours and must not look like a known failure.
 */
export function asFailure(error: unknown, signal?: AbortSignal): unknown {
  if (error instanceof Failure) return error
  if (signal?.aborted === true) return new Failure('cancelled', {}, { cause: error })
  if (error instanceof StorageFailure) return new Failure(error.code, error.facts, { cause: error })
  return error
}
