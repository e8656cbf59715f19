/**
 * This server among those that share the catalogue.
 *
 * Each start is a *run*; the holders of its jobs' leases begin with the run's name, so that whoever finds it dead
 * knows which jobs to give back. A beat does three things in one transaction: it counts this server's
 * own beat, takes those off the list that have been silent for too long, and lets the caller give back what is held by
 * nobody on the list. A server that finds itself taken off has lost its jobs: it must end its agent, and comes back
 * as another one. So must one that could not beat for some time, before the others find it dead.
 *
 * A server that starts may be a newer version, and change the schema under those that run. Each beat looks whether
 * that has happened; migrations have the catalogue for themselves, and so has a beat.
 *
 * With SQLite there is one server, and nothing beats.
 */
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { writePrivateFile } from '../data-directory.ts'
import type { Transaction } from '../db/database.ts'
import { identifyCatalogue } from '../db/catalogue-facts.ts'
import { dialectOf } from '../db/dialect.ts'
import { findUnknownMigrations } from '../db/migrate.ts'
import type { Deps } from '../deps.ts'
import { newHexId, randomHex, type ServerId } from '../ids.ts'
import { openRollCall, SILENT_BEATS_MAX, type RollCall } from './roll-call.ts'
import { countBeat, enterServer, listServers, removeAllServers, removeServer } from './server-store.ts'

export interface Membership {
  /** Names the catalogue where others may share it. */
  readonly catalogueId: string | undefined
  /** Names a new holder of leases: one agent process of this run. */
  readonly newHolder: () => string
  /** Whether whoever holds this lease is on the list. */
  readonly isListed: (tx: Transaction) => Promise<(holder: string) => boolean>
  /**
   * One beat. `takeOver` runs in its transaction, after the dead are off the list. False when this server itself was
   * off the list: it is on it again, as another run, and holds nothing.
   */
  readonly beat: (takeOver: (tx: Transaction) => Promise<void>) => Promise<boolean>
  /** Undefined where nobody else can be. */
  readonly beatEveryMs: number | undefined
  readonly leave: () => Promise<void>
}

/** How long a silent server keeps its jobs. */
const LEASE_SECONDS = 30

type MemberDeps = Pick<Deps, 'db' | 'clock' | 'config'>

/** `onNewer` is called at each beat that finds changes of the schema that this program does not know. */
export async function joinServers(deps: MemberDeps, onNewer: (migrations: readonly string[]) => void): Promise<Membership> {
  const { db, clock, config } = deps
  const isAlone = dialectOf(db) === 'sqlite'
  let id = await readServerId(config.dataDir)
  let run: string
  let rollCall: RollCall

  async function enter(tx: Transaction): Promise<void> {
    run = randomHex(32)
    rollCall = openRollCall(run)
    await enterServer(tx, { id, run, host: hostname(), now: clock.now() })
  }
  await db.transaction().execute(async (tx) => {
    if (isAlone) await removeAllServers(tx)
    await enter(tx)
  })

  return {
    catalogueId: isAlone ? undefined : await identifyCatalogue(db),
    newHolder: () => `${run}.${randomHex(16)}`,
    async isListed(tx) {
      const runs = new Set((await listServers(tx)).map((server) => server.run))
      return (holder) => runs.has(holder.split('.')[0] ?? '')
    },
    async beat(takeOver) {
      let isMember = false
      let newer: readonly string[] = []
      await db.transaction().execute(async (tx) => {
        newer = await findUnknownMigrations(tx)
        if (newer.length > 0) return
        isMember = await countBeat(tx, run, clock.now())
        for (const dead of rollCall.look(await listServers(tx))) await removeServer(tx, dead)
        await takeOver(tx)
      })
      if (newer.length > 0) onNewer(newer)
      if (isMember || newer.length > 0) return true
      // Perhaps a copy of this data directory is in use elsewhere: with another id, the two do not chase each other away.
      id = await makeServerId(config.dataDir)
      await db.transaction().execute(enter)
      return false
    },
    beatEveryMs: isAlone ? undefined : (config.serverLeaseSeconds ?? LEASE_SECONDS) * 1000 / SILENT_BEATS_MAX,
    leave: () => db.transaction().execute((tx) => removeServer(tx, run)),
  }
}

const SERVER_ID = /^[0-9a-f]{32}$/

function serverIdPath(dataDir: string): string {
  return join(dataDir, 'server.id')
}

async function readServerId(dataDir: string): Promise<ServerId> {
  const text = await readFile(serverIdPath(dataDir), 'utf8').catch(() => '')
  return SERVER_ID.test(text.trim()) ? text.trim() as ServerId : makeServerId(dataDir)
}

async function makeServerId(dataDir: string): Promise<ServerId> {
  const id = newHexId<ServerId>()
  await writePrivateFile(serverIdPath(dataDir), `${id}\n`)
  return id
}
