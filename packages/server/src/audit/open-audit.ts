/**
 * Writes the audit trail.
 *
 * Order of writes. A call that may change something is *begun* before it is carried out: a row of
 * `audit_begun`, synced like any commit. When it has ended, and before it is answered, one transaction adds its record to
 * the chain and takes that row away. So nothing is changed without a trace, whatever dies when:
 *
 * - begin fails: the call fails, and nothing was changed;
 * - the process dies in between: the row stays, and becomes a record with the outcome `unknown`, at the next start, or, where
 *   other servers share the catalogue, within some time;
 * - the record cannot be written: the change is done, and saying otherwise would make the caller repeat it. The
 *   answer is the true one, the operator is told in the log, and the row becomes a record later, as above.
 *
 * A call that was denied changed nothing and is only recorded. The record is not in the transaction of the change because
 * that one is over when the status and the ids of the answer are known, and a call may have none or several.
 *
 * One chain for all projects: the end of it is one row, every removal shows, a whole project's trail included, and a call
 * without a project has a place. What it costs, one writer at a time, the catalogue costs anyway. Whatever waits
 * is written in one transaction, so many calls at once share one sync; listings wait for none of it.
 *
 * A chain alone does not keep somebody who can write into the database from making all of it anew, so its end is
 * sealed with the master key, which lies elsewhere. Against putting an old end back with the records that belong to it
 * only an end that somebody noted helps: `opencbr audit verify` prints it, and takes it.
 */
import type { Clock, Micros } from '../clock.ts'
import type { Database, Transaction } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import type { Secrets } from '../secrets.ts'
import type { AuditEntry, EndedAuditEntry } from './audit.ts'
import { appendRecords, insertBegun, listBegun } from './audit-store.ts'

export interface Audit {
  /** Resolves when the entry is safe; the call may be carried out then. */
  readonly begin: (entry: AuditEntry) => Promise<void>
  /** Resolves when the record is in the chain. */
  readonly record: (entry: EndedAuditEntry) => Promise<void>
  /** Gives calls that died with their server a record. */
  readonly settle: () => Promise<void>
  readonly close: () => Promise<void>
}

/** How many are written in one transaction. */
const BATCH_MAX = 500
/** No call takes as long: what was begun earlier has died. */
const CALL_MICROS_MAX = 3600 * 1_000_000
const SETTLE_MS = 600_000

interface Waiting {
  readonly write: { readonly begun: AuditEntry } | { readonly ended: EndedAuditEntry }
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

export async function openAudit({ db, clock, secrets }: { db: Database, clock: Clock, secrets: Secrets }): Promise<Audit> {
  const waiting: Waiting[] = []
  let writing: Promise<void> | undefined

  async function writeBatch(tx: Transaction, batch: readonly Waiting[]): Promise<void> {
    for (const { write } of batch) {
      if ('begun' in write) await insertBegun(tx, write.begun)
    }
    await appendRecords(tx, secrets, batch.flatMap(({ write }) => ('ended' in write ? [write.ended] : [])))
  }

  async function writeAll(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, BATCH_MAX)
      try {
        await db.transaction().execute((tx) => writeBatch(tx, batch))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    writing = undefined
  }

  function enqueue(write: Waiting['write']): Promise<void> {
    return new Promise((resolve, reject) => {
      waiting.push({ write, resolve, reject })
      writing ??= writeAll()
    })
  }

  /** Undefined: all that there are. */
  async function settleBefore(calledBefore: Micros | undefined): Promise<void> {
    for (let settled = BATCH_MAX; settled === BATCH_MAX;) {
      settled = await db.transaction().execute(async (tx) => {
        const dead = await listBegun(tx, calledBefore, BATCH_MAX)
        await appendRecords(tx, secrets, dead.map((entry) => ({ ...entry, outcome: 'unknown', status: null, errorCode: null })))
        return dead.length
      })
    }
  }
  const settle = (): Promise<void> => settleBefore(clock.now() - CALL_MICROS_MAX)

  // With SQLite nobody else uses the catalogue, so whoever began a call before this start is dead.
  await settleBefore(dialectOf(db) === 'sqlite' ? undefined : clock.now() - CALL_MICROS_MAX)
  // A catalogue that is out of reach now is looked at again the next time.
  const timer = setInterval(() => void settle().catch(() => {}), SETTLE_MS).unref()
  return {
    begin: (begun) => enqueue({ begun }),
    record: (ended) => enqueue({ ended }),
    settle,
    async close() {
      clearInterval(timer)
      await writing
    },
  }
}
