/** For tests: a catalogue with vaults and policies, schedulers over it, a clock to turn, and an agent that only reports. */
import type { PolicyDefinitionIn } from '@opencbr/contract'
import { recordEnd } from '../agent-host/end-job.ts'
import type { Micros } from '../clock.ts'
import type { Database } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { newUuid, randomHex, type PolicyId, type ProjectId, type ResourceId, type UserId, type VaultId } from '../ids.ts'
import { leaseJobs } from '../jobs/index.ts'
import { bindPolicy, createPolicy } from '../policies/index.ts'
import { openSecrets } from '../secrets.ts'
import { createVault } from '../vaults/index.ts'
import { openScheduler, type Scheduler } from './scheduler.ts'

/** Of the catalogue that the world is made in. */
export const MASTER_KEY = Buffer.alloc(32, 7)
export const HOUR = 3600 * 1_000_000
export const DAY = 24 * HOUR

export class TurnedClock {
  at: Micros

  constructor(at: string) {
    this.at = Date.parse(at) * 1000
  }

  now(): Micros {
    return this.at
  }
}

export interface World {
  readonly db: Database
  readonly clock: TurnedClock
  readonly projectId: ProjectId
  /** One more scheduler, as of one more server or after a restart. */
  readonly openScheduler: (db?: Database) => Scheduler
  readonly addPolicy: (pattern: readonly string[], definition?: PolicyDefinitionIn) => Promise<PolicyId>
  /** A vault with so many resources, bound to the policy. */
  readonly addVault: (policyId: PolicyId, resources?: number, prefix?: string) => Promise<VaultId>
  /** Lets every job end: whole, or failed. Answers how many there were. */
  readonly work: (how?: 'done' | 'failed') => Promise<number>
  readonly runs: () => Promise<Row<'policy_runs'>[]>
  readonly backups: () => Promise<Row<'backups'>[]>
  readonly tasks: () => Promise<Row<'operation_logs'>[]>
}

export function makeWorld(db: Database, startsAt = '2026-01-15T08:30:00Z'): World {
  const clock = new TurnedClock(startsAt)
  const projectId = randomHex(32) as ProjectId
  const config = { dataDir: '/nowhere', listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'error' as const }
  const deps = { db, clock, config, secrets: openSecrets(MASTER_KEY), wakeAgents: () => undefined }
  return {
    db,
    clock,
    projectId,
    openScheduler: (own = db) => openScheduler({ ...deps, db: own }, { timer: 'manual' }),
    async addPolicy(pattern, definition = {}) {
      const { policy } = await createPolicy(deps, projectId, {
        name: 'policy', operation_type: 'backup', operation_definition: definition, trigger: { properties: { pattern: [...pattern] } },
      })
      return policy.id
    },
    async addVault(policyId, resources = 1, prefix) {
      const { vault } = await createVault(deps, { projectId, userId: 'b'.repeat(32) as UserId }, {
        name: 'docs',
        billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' },
        resources: Array.from({ length: resources }, () => ({ id: newUuid<ResourceId>(), type: 'OS::Sfs::Turbo' as const })),
        ...(prefix === undefined ? {} : { backup_name_prefix: prefix }),
      })
      await bindPolicy(deps, projectId, vault.id, { policy_id: policyId })
      return vault.id
    },
    async work(how = 'done') {
      for (let done = 0; ; done += 1) {
        const ended = await db.transaction().execute(async (tx) => {
          const [job] = await leaseJobs(tx, { holder: 'test', limit: 1, now: clock.now() })
          if (job === undefined) return false
          await recordEnd(tx, job, how === 'done' ? { type: 'done', outcome: outcomeOf(job) } : { type: 'failed', failure: { code: 'source.missing', message: 'It is gone.' } }, 0, clock.now())
          return true
        })
        if (!ended) return done
      }
    },
    runs: () => db.selectFrom('policy_runs').selectAll().where('project_id', '=', projectId).orderBy('due_at').orderBy('vault_id').execute(),
    backups: () => db.selectFrom('backups').selectAll().where('project_id', '=', projectId).orderBy('created_at').orderBy('name').execute(),
    tasks: () => db.selectFrom('operation_logs').selectAll().where('project_id', '=', projectId).orderBy('created_at').orderBy('id').execute(),
  }
}

function outcomeOf(job: Row<'jobs'>) {
  if (job.kind === 'delete_backup') return { kind: 'forget' as const, freedBytes: 0, pendingBytes: 0, warnings: [], warningCount: 0 }
  return {
    kind: 'backup' as const, snapshotId: randomHex(64), repositoryId: randomHex(64), repositoryUrl: '/nowhere', sourcePath: '/source', whole: true,
    missingPaths: [], missingCount: 0, contentBytes: 1, storedBytes: 1, bootable: undefined, warnings: [], warningCount: 0,
  }
}
