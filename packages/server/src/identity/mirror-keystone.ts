/**
 * Keystone's domains, projects and users as rows of ours, so that what names them (shares, tasks, lists of receivers)
 * finds them. Ids are Keystone's, and so are names, as they were when a token or key was looked at last.
 */
import type { Deps } from '../deps.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { DomainId, ProjectId, UserId } from '../ids.ts'
import { findUser, type UserAndDomain } from './identity-store.ts'
import type { KeystoneToken } from './keystone-token.ts'
import { unusablePasswordHash } from './password.ts'

export interface Mirrored {
  readonly owner: UserAndDomain
  readonly project: Row<'projects'> | undefined
}

/** Makes or renames what the token names. Undefined when one of them was disabled here, as an operator may do. */
export async function mirrorKeystone({ db, clock }: Pick<Deps, 'db' | 'clock'>, { user, project }: Pick<KeystoneToken, 'user' | 'project'>): Promise<Mirrored | undefined> {
  return db.transaction().execute(async (tx) => {
    const now = clock.now()
    for (const domain of new Map([user.domain, ...(project === undefined ? [] : [project.domain])].map((each) => [each.id, each])).values()) {
      await keepNamed(tx, 'domains', { id: domain.id as DomainId, name: domain.name, created_at: now })
    }
    await keepNamed(tx, 'users', {
      // Such a user logs in at Keystone.
      id: user.id as UserId, domain_id: user.domain.id as DomainId, name: user.name, password_hash: unusablePasswordHash(), created_at: now,
    })
    if (project !== undefined) {
      await keepNamed(tx, 'projects', { id: project.id as ProjectId, domain_id: project.domain.id as DomainId, name: project.name, created_at: now })
    }
    const owner = await findUser(tx, user.id)
    const row = project === undefined ? undefined : await tx.selectFrom('projects').innerJoin('domains', 'domains.id', 'projects.domain_id').selectAll('projects')
      .where('projects.id', '=', project.id as ProjectId).where('projects.enabled', '=', 1).where('domains.enabled', '=', 1).executeTakeFirst()
    if (owner === undefined || (project !== undefined && row === undefined)) return undefined
    return { owner, project: row }
  })
}

interface NamedRow {
  readonly id: string
  readonly name: string
  readonly created_at: number
}

/** Writes only what is new: most validations find all as it was. */
async function keepNamed(tx: Transaction, table: 'domains' | 'projects' | 'users', row: NamedRow & Record<string, unknown>): Promise<void> {
  const known = await tx.selectFrom(table as 'domains').select(['id', 'name']).where('id', '=', row.id as DomainId).executeTakeFirst()
  // Somebody else's name may be in the way: of a row of ours, or of one that is gone in Keystone.
  const spare = `${row.name} (${row.id})`
  if (known?.name === row.name || known?.name === spare) return
  const inDomain = row['domain_id'] as DomainId | undefined
  let sameName = tx.selectFrom(table as 'projects').select('id').where('name', '=', row.name)
  if (inDomain !== undefined) sameName = sameName.where('domain_id', '=', inDomain)
  const name = await sameName.executeTakeFirst() === undefined ? row.name : spare
  if (known !== undefined) {
    await tx.updateTable(table as 'domains').set({ name }).where('id', '=', row.id as DomainId).execute()
    return
  }
  await tx.insertInto(table as 'domains').values({ ...row, id: row.id as DomainId, name }).onConflict((conflict) => conflict.doNothing()).execute()
}
