import type { Backup, BackupMetadata, ReplicationRecord } from '@opencbr/contract'
import { formatTime, formatTimeOrNull } from '../clock.ts'
import type { Flag, Row } from '../db/schema.ts'
import type { BackupId } from '../ids.ts'
import { giveBack, JsonPieces } from '../json-pieces.ts'
import type { VisibleBackup } from './backup-list-store.ts'
import type { BackupPage } from './list-backups.ts'
import type { ShownBackup } from './show-backup.ts'

/** A `ListBackupsResponse` in JSON. Takes the page's bytes: nobody may look at them afterwards. */
export function backupPageToWire(page: BackupPage): JsonPieces {
  const frame = `],${JSON.stringify({ count: page.count, offset: page.offset, limit: page.limit }).slice(1)}`
  return new JsonPieces([Buffer.from('{"backups":['), ...documentsToWire(page), Buffer.from(frame)])
}

/** How a document begins, up to its id. Within texts quotes are escaped. */
const BEFORE_ID = Buffer.from('{"id":"')
/** How every document ends; records belong before the last two brackets. */
const NO_RECORDS = Buffer.from('"replication_records":[]}')

/** Of documents with commas between them. */
export function idsOfDocuments(documents: Uint8Array): BackupId[] {
  const bytes = asBuffer(documents)
  const ids: BackupId[] = []
  for (let at = bytes.indexOf(BEFORE_ID); at >= 0; at = bytes.indexOf(BEFORE_ID, at + 1)) {
    const from = at + BEFORE_ID.length
    ids.push(bytes.toString('latin1', from, bytes.indexOf('"', from)) as BackupId)
  }
  return ids
}

/** The last of some documents. */
export function lastOfDocuments(documents: Uint8Array): Backup | undefined {
  const bytes = asBuffer(documents)
  const at = bytes.lastIndexOf(BEFORE_ID)
  return at < 0 ? undefined : JSON.parse(bytes.toString('utf8', at)) as Backup
}

function documentsToWire({ documents, replicationRecords }: BackupPage): Uint8Array[] {
  if (replicationRecords.length === 0) return [documents]
  const records = Map.groupBy(replicationRecords, (record) => record.backup_id)
  const bytes = asBuffer(documents)
  const parts: Uint8Array[] = []
  let from = 0
  for (let at = bytes.indexOf(BEFORE_ID); at >= 0; at = bytes.indexOf(BEFORE_ID, at + 1)) {
    const idAt = at + BEFORE_ID.length
    const own = records.get(bytes.toString('latin1', idAt, bytes.indexOf('"', idAt)) as BackupId)
    if (own === undefined) continue
    const to = bytes.indexOf(NO_RECORDS, at) + NO_RECORDS.length - 2
    parts.push(bytes.subarray(from, to), Buffer.from(own.map((record) => JSON.stringify(replicationRecordToWire(record))).join(',')))
    from = to
  }
  const whole = Buffer.concat([...parts, bytes.subarray(from)])
  giveBack(documents)
  return [whole]
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** A row's document, as triggers write it. */
export function documentOf(row: Row<'backups'>): string {
  return JSON.stringify(backupToWire({ ...row, share_id: null, receiver_vault_id: null }, [], []))
}

export function shownBackupToWire({ backup, children, replicationRecords }: ShownBackup): Backup {
  const records = Map.groupBy(replicationRecords, (record) => record.backup_id)
  const parts = children.map((child) => backupToWire(child, [], records.get(child.id) ?? []))
  return backupToWire(backup, parts, records.get(backup.id) ?? [])
}

/**
 * What is known of the source. Its members come from the cloud's servers; for other kinds of resources
 * most of them are empty.
 */
export function metadataToWire({ backup, children }: ShownBackup): BackupMetadata {
  const isServer = SERVER_TYPES.has(backup.resource_type)
  const disks = backup.resource_type === 'OS::Cinder::Volume' ? [backup] : children
  return {
    backup_id: backup.id,
    backups: JSON.stringify(backupToWire(backup, [], [])),
    flavor: '{}',
    floatingips: [],
    interface: '[]',
    ports: [],
    server: isServer ? JSON.stringify({ id: backup.resource_id, name: backup.resource_name }) : '{}',
    volumes: disks.map((disk) => JSON.stringify({
      id: disk.resource_id, name: disk.resource_name, size: disk.resource_size_gb, bootable: String(disk.bootable === 1),
    })),
  }
}

const SERVER_TYPES: ReadonlySet<string> = new Set(['OS::Nova::Server', 'OS::Ironic::BareMetalServer', 'OS::Native::Server'])

function backupToWire<Children>(
  row: VisibleBackup, children: Children, records: readonly Row<'replication_records'>[],
): Omit<Backup, 'children'> & { children: Children } {
  const incremental = row.incremental === 1
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    status: row.status,
    image_type: row.image_type as Backup['image_type'],
    checkpoint_id: row.checkpoint_id,
    parent_id: row.parent_id,
    children,
    project_id: row.project_id,
    enterprise_project_id: row.enterprise_project_id,
    vault_id: row.share_id === null ? row.vault_id : row.receiver_vault_id,
    provider_id: row.provider_id,
    resource_id: row.resource_id,
    resource_name: row.resource_name,
    resource_type: row.resource_type as Backup['resource_type'],
    resource_size: row.resource_size_gb,
    resource_az: row.resource_az,
    incremental,
    version: row.version,
    created_at: formatTime(row.created_at),
    updated_at: formatTime(row.updated_at),
    protected_at: formatTimeOrNull(row.protected_at),
    expired_at: formatTimeOrNull(row.expired_at),
    scheduled_operation_id: null,
    extend_info: {
      auto_trigger: row.auto_trigger === 1,
      bootable: flagOrNull(row.bootable),
      snapshot_id: row.snapshot_id,
      support_lld: row.support_lld === 1,
      supported_restore_mode: row.supported_restore_mode,
      os_images_data: row.os_images_data === null ? null : JSON.parse(row.os_images_data) as { image_id: string }[],
      contain_system_disk: row.contain_system_disk === 1,
      encrypted: row.encrypted === 1,
      system_disk: row.system_disk === 1,
      incremental,
      is_multi_az: row.is_multi_az === 1,
      progress: null,
      architecture: null,
      app_consistency: null,
      encrypted_algorithm: null,
      is_dec: null,
    },
    replication_records: records.map(replicationRecordToWire),
  }
}

function flagOrNull(flag: Flag | null): boolean | null {
  return flag === null ? null : flag === 1
}

function replicationRecordToWire(row: Row<'replication_records'>): ReplicationRecord {
  return {
    id: row.id,
    created_at: formatTime(row.created_at),
    status: row.status,
    extra_info: {
      progress: row.progress,
      fail_code: row.fail_code,
      fail_reason: row.fail_reason,
      auto_trigger: row.auto_trigger === 1,
      destination_vault_id: row.destination_vault_id,
      // The reference page spells it so, and clients read both.
      destinatio_vault_id: row.destination_vault_id,
    },
    source_backup_id: row.backup_id,
    source_checkpoint_id: row.checkpoint_id,
    source_project_id: row.project_id,
    source_region: row.source_region,
    destination_backup_id: row.destination_backup_id,
    destination_checkpoint_id: row.destination_checkpoint_id,
    destination_project_id: row.destination_project_id,
    destination_region: row.destination_region,
    destination_vault_id: row.destination_vault_id,
    vault_id: row.vault_id,
  }
}
