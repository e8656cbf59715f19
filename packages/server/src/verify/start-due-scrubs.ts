import type { Deps } from '../deps.ts'
import { findVault } from '../vaults/index.ts'
import { nextShare, SCRUB_RETRY } from './scrub.ts'
import { claimScrub, listDueScrubs, setScrubRun } from './scrub-store.ts'
import { insertVerificationJob } from './start-verification.ts'
import { findVerification } from './verification-store.ts'

const STARTED_AT_ONCE_MAX = 100

/**
 * Starts the run of every scrub that is due. The claim is conditional, so of several servers one
 * starts it; until a run has moved the scrub on, it is looked at again each hour, and begun again if it failed.
 */
export async function startDueScrubs(deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>): Promise<number> {
  const due = await listDueScrubs(deps.db, deps.clock.now(), STARTED_AT_ONCE_MAX)
  let started = 0
  for (const scrub of due) {
    const isStarted = await deps.db.transaction().execute(async (tx) => {
      const now = deps.clock.now()
      if (!await claimScrub(tx, scrub, now + SCRUB_RETRY)) return false
      const vault = await findVault(tx, scrub.project_id, scrub.vault_id)
      if (vault === undefined || vault.status === 'deleting') return false
      const last = scrub.verification_id === null ? undefined : await findVerification(tx, scrub.project_id, scrub.verification_id)
      if (last?.status === 'waiting' || last?.status === 'running') return false
      const share = nextShare({ position: scrub.position, coveredUntil: scrub.covered_until }, scrub.every_days, now)
      const wanted = { backup_id: null, scope: 'scrub', level: 'data', sample_percent: null, request_id: '', created_at: now } as const
      const { id } = await insertVerificationJob(tx, vault, wanted, share)
      await setScrubRun(tx, vault.id, id)
      return true
    })
    if (isStarted) started += 1
  }
  if (started > 0) deps.wakeAgents()
  return started
}

const LOOK_EVERY_MS = 60_000

/** Looks each minute for what is due; answers what ends that. */
export function keepScrubbing(deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents' | 'config'>): () => void {
  let looking = false
  const timer = setInterval(() => {
    if (looking) return
    looking = true
    startDueScrubs(deps).catch((error: unknown) => {
      // The next look finds what this one could not start.
      if (deps.config.logLevel !== 'silent') process.stderr.write(`scrubs: ${error instanceof Error ? error.message : String(error)}\n`)
    }).finally(() => {
      looking = false
    })
  }, LOOK_EVERY_MS)
  timer.unref()
  return () => clearInterval(timer)
}
