import type { ListMembersQuery } from '@opencbr/contract'
import { findBackup, findVisibleBackup } from '../backups/index.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findMember, selectMemberPage, type MemberSort, type MemberSortKey } from './member-store.ts'

const LIMIT_MAX = 1000

/** Whether the project owns the backup or only received it. To anybody else there is no such backup. */
export async function sideOf(db: Reader, projectId: ProjectId, backupId: BackupId): Promise<'owner' | 'receiver'> {
  if (await findBackup(db, projectId, backupId) !== undefined) return 'owner'
  if (await findVisibleBackup(db, projectId, backupId) !== undefined) return 'receiver'
  throw new Failure('backup.not_found', { backupId })
}

/** The owner sees all shares of a backup, a receiver its own. */
export async function listMembers(
  { db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string, query: ListMembersQuery,
): Promise<{ readonly rows: readonly Row<'backup_members'>[], readonly count: number }> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const side = await sideOf(db, projectId, backupId)
  const wanted = query.dest_project_id as ProjectId | undefined
  if (side === 'receiver' && wanted !== undefined && wanted !== projectId) return { rows: [], count: 0 }
  const filter = {
    destProjectId: side === 'receiver' ? projectId : wanted,
    imageId: query.image_id,
    status: query.status,
    vaultId: query.vault_id as VaultId | undefined,
  }
  return selectMemberPage(db, backupId, filter, parseOrder(query.sort), {
    limit: Math.min(query.limit ?? LIMIT_MAX, LIMIT_MAX), offset: query.offset ?? 0, marker: query.marker,
  })
}

function parseOrder(sort: string | undefined): MemberSort[] {
  const order = (sort ?? 'created_at').split(',').map((term): MemberSort => {
    const [key = '', direction] = term.split(':')
    return { key: key as MemberSortKey, direction: direction === 'asc' ? 'asc' : 'desc' }
  })
  return order.some(({ key }) => key === 'id') ? order : [...order, { key: 'id', direction: order.at(-1)?.direction ?? 'desc' }]
}

export async function showMember({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string, memberId: string): Promise<Row<'backup_members'>> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  return getMember(db, projectId, backupId, memberId)
}

/** A share that the project gave, or the one that it received. */
export async function getMember(db: Reader, projectId: ProjectId, backupId: BackupId, memberId: string): Promise<Row<'backup_members'>> {
  const side = await sideOf(db, projectId, backupId)
  const member = side === 'owner' || memberId === projectId ? await findMember(db, backupId, memberId as ProjectId) : undefined
  if (member === undefined) throw new Failure('member.not_found', { backupId, projectId: memberId.slice(0, 64) })
  return member
}
