import type { Migration } from 'kysely/migration'
import * as catalogue from './001-catalogue.ts'
import * as policies from './002-policies.ts'
import * as vaults from './003-vaults.ts'
import * as identity from './004-identity.ts'
import * as agents from './006-agents.ts'
import * as verify from './007-verify.ts'
import * as servers from './008-servers.ts'
import * as manifests from './009-manifests.ts'
import * as backupLists from './010-backup-lists.ts'
import * as identityRevision from './011-identity-revision.ts'
import * as audit from './012-audit.ts'
import * as organizationPolicies from './013-organization-policies.ts'
import * as countersPerStatement from './015-counters-per-statement.ts'
import * as reservedRoom from './016-reserved-room.ts'
import * as webhooks from './017-webhooks.ts'
import * as listingAtScale from './018-listing-at-scale.ts'
import * as smallerLists from './019-smaller-lists.ts'

/** In the order in which they run; names are recorded in the database. */
export const migrations: Record<string, Migration> = {
  '001-catalogue': catalogue,
  '002-policies': policies,
  '003-vaults': vaults,
  '004-identity': identity,
  '006-agents': agents,
  '007-verify': verify,
  '008-servers': servers,
  '009-manifests': manifests,
  '010-backup-lists': backupLists,
  '011-identity-revision': identityRevision,
  '012-audit': audit,
  '013-organization-policies': organizationPolicies,
  '015-counters-per-statement': countersPerStatement,
  '016-reserved-room': reservedRoom,
  '017-webhooks': webhooks,
  '018-listing-at-scale': listingAtScale,
  '019-smaller-lists': smallerLists,
}
