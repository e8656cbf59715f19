import type { VaultReader } from '@opencbr/agent'
import type { Clock } from './clock.ts'
import type { ServerConfig } from './config.ts'
import type { Database } from './db/database.ts'
import type { Secrets } from './secrets.ts'

/** What verbs are given. A verb that needs less asks for less: `Pick<Deps, 'db' | 'clock'>`. */
export interface Deps {
  readonly db: Database
  /** A connection that only reads, and waits for no transaction; where there is none, the one above. */
  readonly reads: Database
  readonly clock: Clock
  readonly config: ServerConfig
  readonly secrets: Secrets
  /** Tells the agents' host that jobs were added; called after the transaction that added them. */
  readonly wakeAgents: () => void
  /** Looks into backups. */
  readonly reader: VaultReader
}
