import type { AddMembersBody } from '@opencbr/contract'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import { findBackup, findVisibleBackup } from '../backups/index.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type BackupId, type ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault } from '../vaults/index.ts'
import { countMembers, findReceivers, insertMembers } from './member-store.ts'

const MEMBERS_MAX = 100
const PROJECT_ID = /^[0-9a-f]{32}$/
const SERVERS: readonly string[] = ['OS::Nova::Server', 'OS::Ironic::BareMetalServer', 'OS::Native::Server']

/** Offers a backup to other projects; each answers for itself. All are offered, or none. */
export async function addMembers(
  { db, clock, config }: Pick<Deps, 'db' | 'clock' | 'config'>, projectId: ProjectId, id: string, body: AddMembersBody,
): Promise<Row<'backup_members'>[]> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  if (body.domains !== undefined) {
    throw new Failure('not_supported', { field: 'domains', reason: 'backups are shared with projects, named in members' })
  }
  if (body.members === undefined) throw new Failure('parameter.invalid', { field: 'members', reason: 'it is mandatory' })
  const receivers = readReceivers(projectId, body.members)
  return db.transaction().execute(async (tx) => {
    const backup = await getShareable(tx, projectId, backupId, config.shareServersOnly === true)
    await assertKnown(tx, receivers)
    const [again] = await findReceivers(tx, backupId, receivers)
    if (again !== undefined) throw new Failure('member.exists', { backupId, projectId: again })
    if (await countMembers(tx, backupId) + receivers.length > MEMBERS_MAX) throw new Failure('member.too_many', { backupId, max: MEMBERS_MAX })
    const now = clock.now()
    const rows: NewRow<'backup_members'>[] = receivers.map((receiver) => ({
      id: newUuid<BackupId>(),
      backup_id: backupId,
      project_id: backup.project_id,
      dest_project_id: receiver,
      status: 'pending',
      vault_id: null,
      image_id: null,
      created_at: now,
      updated_at: now,
    }))
    await insertMembers(tx, rows)
    return rows as Row<'backup_members'>[]
  })
}

function readReceivers(projectId: ProjectId, texts: readonly string[]): ProjectId[] {
  const receivers = new Set<ProjectId>()
  for (const [place, text] of texts.entries()) {
    if (!PROJECT_ID.test(text)) throw new Failure('member.bad_receiver', { projectId: text.slice(0, 64), reason: 'it is not the id of a project' })
    if (text === projectId) throw new Failure('member.bad_receiver', { projectId: text, reason: 'the backup is its own' })
    if (receivers.has(text as ProjectId)) throw new Failure('parameter.invalid', { field: `members.${place}`, reason: `${text} is named twice` })
    receivers.add(text as ProjectId)
  }
  return [...receivers]
}

async function getShareable(tx: Transaction, projectId: ProjectId, backupId: BackupId, serversOnly: boolean): Promise<Row<'backups'>> {
  const backup = await findBackup(tx, projectId, backupId)
  if (backup === undefined) {
    const received = await findVisibleBackup(tx, projectId, backupId)
    throw received === undefined ? new Failure('backup.not_found', { backupId }) : new Failure('member.second_hand', { backupId })
  }
  const vault = await findVault(tx, projectId, backup.vault_id)
  if (vault === undefined) throw new Failure('backup.not_found', { backupId })
  if (serversOnly && !SERVERS.includes(backup.resource_type)) throw new Failure('member.servers_only', { backupId, resourceType: backup.resource_type })
  if (backup.status !== 'available') throw new Failure('member.backup_status', { backupId, status: backup.status })
  if (backup.parent_id !== null) throw new Failure('member.refused', { backupId, reason: `it is a part of backup ${backup.parent_id} and goes with it` })
  if (backup.image_type !== 'backup') throw new Failure('member.refused', { backupId, reason: 'it is a copy from elsewhere' })
  // Every backup is encrypted in its repository; what is refused is a server whose disks are, with a key of the owner.
  if (backup.encrypted === 1 && SERVERS.includes(backup.resource_type)) throw new Failure('member.encrypted', { backupId })
  if (vault.status !== 'available') throw new Failure('member.vault_status', { vaultId: vault.id, status: vault.status })
  return backup
}

async function assertKnown(db: Reader, receivers: readonly ProjectId[]): Promise<void> {
  const known = await db.selectFrom('projects').select('id').where('id', 'in', receivers).where('enabled', '=', 1).execute()
  const ids = new Set(known.map((row) => row.id))
  const unknown = receivers.find((receiver) => !ids.has(receiver))
  if (unknown !== undefined) throw new Failure('member.bad_receiver', { projectId: unknown, reason: 'there is no such project' })
}
