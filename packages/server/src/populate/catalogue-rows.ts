/**
 * Rows of an invented catalogue: every column that the listing shows or filters by varies, with the
 * proportions of a cloud that has been in use for a year. All of it follows from the seed: the same seed
 * gives the same rows, times included, since those count from a date that the seed chooses and not
 * from today.
 *
 * The rows describe backups without data, for benchmarks and tests only. They start no work: work is
 * started by jobs, and there are none, so a backup that is `protecting` here stays so. No row names a
 * snapshot, a source or a repository that exists.
 */
import type { Micros } from '../clock.ts'
import type { BackupStatus, Flag, ImageType, MemberStatus, NewRow, VaultStatus } from '../db/schema.ts'
import type { BackupId, CheckpointId, ProjectId, ResourceId, UserId, VaultId } from '../ids.ts'
import { openDeck, type Random } from './random.ts'

const SECOND = 1_000_000
const DAY = 86_400 * SECOND
const GIB = 1024 ** 3

interface Kind {
  readonly objectType: string
  readonly resourceType: string
  readonly providerId: string
  readonly nameStem: string
}

const DISK_PROVIDER = 'd1603440-187d-4516-af25-121250c7cc97'
const SERVER_PROVIDER = '0daac4c5-6707-4851-97ba-169e36266b66'

const SERVER: Kind = { objectType: 'server', resourceType: 'OS::Nova::Server', providerId: SERVER_PROVIDER, nameStem: 'web' }
const DISK: Kind = { objectType: 'disk', resourceType: 'OS::Cinder::Volume', providerId: DISK_PROVIDER, nameStem: 'data' }
const TURBO: Kind = {
  objectType: 'turbo', resourceType: 'OS::Sfs::Turbo', providerId: '3f3c3220-245c-4805-b811-758870015881', nameStem: 'share',
}
const METAL: Kind = { objectType: 'server', resourceType: 'OS::Ironic::BareMetalServer', providerId: SERVER_PROVIDER, nameStem: 'metal' }
const DESKTOP: Kind = {
  objectType: 'workspace', resourceType: 'OS::Workspace::DesktopV2', providerId: '86a80900-71bf-4961-956a-d52df944f84a', nameStem: 'desk',
}
const NATIVE: Kind = {
  objectType: 'vmware', resourceType: 'OS::Native::Server', providerId: 'a13639de-00be-4e94-af30-26912d75e4a2', nameStem: 'host',
}

/** Vaults take their kinds in this order, so that a few vaults already hold the common kinds. */
const KINDS_OF_VAULTS: readonly Kind[] = [SERVER, DISK, TURBO, SERVER, DISK, TURBO, NATIVE, SERVER, DESKTOP, DISK]

const ZONES = ['az-1', 'az-2', 'az-3', 'edge-1a']
const MANUAL_NAMES = ['before-upgrade', 'release_42', 'nightly', '每日备份', '财务-归档', '升级前_数据库']
const RESOURCE_NAMES = ['01', '02', '03', '17', 'db', 'mail', 'wiki', '生产', '测试-库']
const RETENTION_DAYS = [7, 30, 90, 3650]
const FILL_PERCENTS = [0, 0.4, 1, 12.5, 25, 50, 50, 79.99, 80, 95, 100, 130]
const REGIONS = ['eu-2', 'ap-1']

export interface CatalogueSize {
  /** Top-level backups; children come on top. */
  readonly backups: number
  readonly vaults: number
  readonly resources: number
}

interface Tenant {
  readonly projectId: ProjectId
  readonly userId: UserId
  readonly vaults: readonly FilledVault[]
}

interface FilledVault {
  readonly kind: Kind
  readonly row: NewRow<'vaults'>
  readonly resources: readonly FilledResource[]
  /** A vault in another region's stead: it holds copies. */
  readonly holdsReplicas: boolean
}

interface FilledResource {
  readonly id: ResourceId
  readonly kind: Kind
  readonly name: string
  readonly sizeGb: number
  readonly zone: string
  readonly encrypted: Flag
  readonly bootable: Flag
  readonly disks: readonly { readonly id: ResourceId, readonly name: string, readonly sizeGb: number }[]
}

/** By the tables' names. */
export interface CatalogueRows {
  readonly checkpoints: NewRow<'checkpoints'>[]
  readonly backups: NewRow<'backups'>[]
  readonly backup_members: NewRow<'backup_members'>[]
  readonly replication_records: NewRow<'replication_records'>[]
}

/** Seeds choose a day between the beginnings of 2023 and 2025. */
export function chooseEpoch(random: Random): Micros {
  return Date.UTC(2023, 0, 1) * 1000 + random.below(730) * DAY
}

export function makeTenant(
  random: Random, projectId: ProjectId, size: CatalogueSize, epoch: Micros, sealPassword: (vaultId: VaultId) => string,
): Tenant {
  const userId = random.hex(32) as UserId
  const enterpriseProjects = ['0', '0', random.uuid(), random.uuid(), random.uuid()]
  const vaults = Array.from({ length: size.vaults }, (_, index) => {
    const kind = KINDS_OF_VAULTS[index % KINDS_OF_VAULTS.length] ?? SERVER
    const resourceCount = Math.floor(size.resources / size.vaults) + (index < size.resources % size.vaults ? 1 : 0)
    const resources = Array.from({ length: resourceCount }, () => makeResource(random, kind))
    const sizeGb = random.pick([10, 100, 500, 4000, 20_000])
    const holdsReplicas = index % KINDS_OF_VAULTS.length === 7
    const createdAt = epoch - random.below(30 * 86_400) * SECOND
    const vaultId = random.uuid() as VaultId
    const row = makeVaultRow(random, {
      id: vaultId, project_id: projectId, user_id: userId, kind, sizeGb, createdAt, holdsReplicas,
      name: `vault-${kind.objectType}-${String(index + 1).padStart(3, '0')}`,
      enterpriseProjectId: random.pick(enterpriseProjects), passwordSealed: sealPassword(vaultId),
    })
    return { kind, row, resources, holdsReplicas }
  })
  return { projectId, userId, vaults }
}

function makeVaultRow(random: Random, vault: {
  id: VaultId, project_id: ProjectId, user_id: UserId, kind: Kind, sizeGb: number, createdAt: Micros, holdsReplicas: boolean
  name: string, enterpriseProjectId: string, passwordSealed: string
}): NewRow<'vaults'> {
  const status: VaultStatus = random.chance(0.95) ? 'available' : 'lock'
  return {
    id: vault.id,
    project_id: vault.project_id,
    user_id: vault.user_id,
    name: vault.name,
    description: random.chance(0.5) ? null : 'populated for a benchmark',
    enterprise_project_id: vault.enterpriseProjectId,
    provider_id: vault.kind.providerId,
    status,
    protect_type: vault.holdsReplicas ? 'replication' : 'backup',
    object_type: vault.kind.objectType,
    cloud_type: vault.kind === NATIVE ? 'hybrid' : 'public',
    consistent_level: 'crash_consistent',
    charging_mode: 'post_paid',
    is_multi_az: random.chance(0.2) ? 1 : 0,
    size_gb: vault.sizeGb,
    used_bytes: Math.round(vault.sizeGb * GIB * random.pick(FILL_PERCENTS) / 100),
    auto_bind: 0,
    bind_rules: '{}',
    auto_expand: 0,
    smn_notify: 1,
    threshold_percent: 80,
    locked: 0,
    demand_billing: 0,
    availability_zone: '',
    sys_lock_source_service: '',
    backup_name_prefix: null,
    repository_url: null,
    repository_id: null,
    password_sealed: vault.passwordSealed,
    created_at: vault.createdAt,
    updated_at: vault.createdAt,
  }
}

function makeResource(random: Random, kindOfVault: Kind): FilledResource {
  const kind = kindOfVault === SERVER && random.chance(0.1) ? METAL : kindOfVault
  const name = `${kind.nameStem}-${random.pick(RESOURCE_NAMES)}`
  const diskCount = kind === SERVER ? 1 + random.below(2) : 0
  const disks = Array.from({ length: diskCount }, (_, index) => ({
    id: random.uuid() as ResourceId, name: `${name}-disk${index}`, sizeGb: 10 + random.below(500),
  }))
  const disksGb = disks.reduce((sum, disk) => sum + disk.sizeGb, 0)
  return {
    id: random.uuid() as ResourceId,
    kind,
    name,
    sizeGb: disks.length > 0 ? disksGb : 1 + random.below(2000),
    zone: random.pick(ZONES),
    encrypted: random.chance(0.1) ? 1 : 0,
    bootable: random.chance(0.4) ? 1 : 0,
    disks,
  }
}

export function vaultResourceRows({ row, resources }: FilledVault): NewRow<'vault_resources'>[] {
  return resources.map((resource) => ({
    vault_id: row.id,
    resource_id: resource.id,
    project_id: row.project_id,
    resource_type: resource.kind.resourceType,
    name: resource.name,
    size_gb: resource.sizeGb,
    protect_status: 'available',
    auto_protect: 1,
    extra_info: '{}',
    added_at: row.created_at,
  }))
}

/** Projects with which a tenant's backups are shared; a tenant without vaults accepts nothing. */
interface Receiver {
  readonly projectId: ProjectId
  readonly vaults: readonly FilledVault[]
}

/**
 * Yields runs in the order of their times, some hundred rows at a time, until `backupCount` top-level
 * backups are made.
 */
export function* makeRuns(
  random: Random, tenant: Tenant, backupCount: number, epoch: Micros,
  shares: { readonly receivers: readonly Receiver[], readonly probability: number },
): Generator<CatalogueRows> {
  const draw = openDraws(random)
  const vaults = tenant.vaults.filter((vault) => vault.resources.length > 0)
  const resourcesPerVault = vaults.reduce((sum, vault) => sum + vault.resources.length, 0) / vaults.length
  const perRunMax = Math.max(1, Math.min(12, Math.floor(resourcesPerVault)))
  const stepSeconds = Math.max(1, Math.floor(400 * 86_400 / (backupCount / ((1 + perRunMax) / 2))))
  let second = epoch
  let startedAt = epoch
  let left = backupCount
  let rows = noRows()
  while (left > 0) {
    // Every fifth run starts together with the one before, as runs of policies do.
    if (!random.chance(0.2)) {
      second += random.below(2 * stepSeconds) * SECOND
      startedAt = second + (random.chance(0.5) ? 0 : random.below(SECOND))
    }
    const vault = random.pick(vaults)
    const count = Math.min(left, 1 + random.below(perRunMax))
    addRun(random, draw, rows, { tenant, vault, count, startedAt, shares })
    left -= count
    if (rows.backups.length >= 2000) {
      yield rows
      rows = noRows()
    }
  }
  yield rows
}

function noRows(): CatalogueRows {
  return { checkpoints: [], backups: [], backup_members: [], replication_records: [] }
}

interface Draws {
  readonly status: () => BackupStatus
  readonly imageType: () => ImageType
  readonly memberStatus: () => MemberStatus
  readonly replicationStatus: () => NewRow<'replication_records'>['status']
}

function openDraws(random: Random): Draws {
  return {
    status: openDeck<BackupStatus>(random, [
      ['available', 84], ['error', 5], ['protecting', 2], ['waiting_protect', 2], ['deleting', 2], ['waiting_delete', 1],
      ['restoring', 2], ['waiting_restore', 2],
    ]),
    imageType: openDeck<ImageType>(random, [['backup', 88], ['replication', 12]]),
    memberStatus: openDeck<MemberStatus>(random, [['pending', 30], ['accepted', 50], ['rejected', 20]]),
    replicationStatus: openDeck(random, [
      ['success', 70], ['replicating', 10], ['waiting_replicate', 8], ['fail', 8], ['skip', 4],
    ]),
  }
}

function addRun(random: Random, draw: Draws, rows: CatalogueRows, run: {
  tenant: Tenant, vault: FilledVault, count: number, startedAt: Micros
  shares: { readonly receivers: readonly Receiver[], readonly probability: number }
}): void {
  const { tenant, vault, count, startedAt } = run
  const automatic = random.chance(0.65)
  const checkpointId = random.uuid() as CheckpointId
  const drawn = vault.holdsReplicas ? 'replication' : draw.imageType()
  const stem = automatic ? `${drawn === 'replication' ? 'autorp' : 'autobk'}_${random.hex(4)}`
    : random.chance(0.5) ? `manualbk_${random.hex(4)}` : random.pick(MANUAL_NAMES)
  const incremental: Flag = random.chance(0.8) ? 1 : 0
  const expiredAt = automatic && random.chance(0.7) ? startedAt + random.pick(RETENTION_DAYS) * DAY : null
  const together = random.chance(0.6)
  rows.checkpoints.push({
    id: checkpointId,
    project_id: tenant.projectId,
    vault_id: vault.row.id,
    status: 'available',
    name: stem,
    description: '',
    auto_trigger: automatic ? 1 : 0,
    incremental,
    skipped_resources: '[]',
    created_at: startedAt,
  })
  for (let index = 0; index < count; index += 1) {
    const resource = random.pick(vault.resources)
    const createdAt = together ? startedAt : startedAt + random.below(2 * SECOND)
    const status = draw.status()
    const captured = status !== 'waiting_protect' && status !== 'protecting' && random.chance(status === 'error' ? 0.5 : 0.95)
    const backup: NewRow<'backups'> = {
      ...dataOf(random, resource.sizeGb),
      id: random.uuid() as BackupId,
      project_id: tenant.projectId,
      vault_id: vault.row.id,
      checkpoint_id: checkpointId,
      parent_id: null,
      name: count > 1 && !automatic ? `${stem}-${String(index + 1).padStart(4, '0')}` : stem,
      description: random.chance(0.8) ? '' : '升级之前 before the upgrade',
      status,
      image_type: drawn,
      resource_id: resource.id,
      resource_name: resource.name,
      resource_type: resource.kind.resourceType,
      resource_size_gb: resource.sizeGb,
      resource_az: resource.zone,
      enterprise_project_id: vault.row.enterprise_project_id,
      provider_id: resource.kind.providerId,
      incremental,
      auto_trigger: automatic ? 1 : 0,
      created_at: createdAt,
      updated_at: status === 'waiting_protect' ? createdAt : createdAt + random.below(7200) * SECOND + random.below(3) * 1000,
      protected_at: captured ? createdAt + random.below(1800) * SECOND : null,
      expired_at: expiredAt,
      bootable: resource.kind === DISK ? resource.bootable : null,
      snapshot_id: resource.kind !== SERVER && captured ? random.hex(64) : null,
      support_lld: random.chance(0.7) ? 1 : 0,
      supported_restore_mode: resource.kind === SERVER ? random.pick(['backup', 'snapshot'] as const) : 'na',
      contain_system_disk: resource.disks.length > 0 ? 1 : 0,
      encrypted: resource.encrypted,
      system_disk: resource.kind === DISK ? resource.bootable : 0,
      is_multi_az: vault.row.is_multi_az,
      os_images_data: resource.kind === SERVER && random.chance(0.03) ? JSON.stringify([{ image_id: random.uuid() }]) : null,
      source_path: null,
      version: 3,
    }
    rows.backups.push(backup)
    addChildren(random, rows, backup, resource, captured)
    addShares(random, draw, rows, backup, run.shares)
    if (backup.image_type === 'backup' && resource.kind === SERVER && random.chance(0.1)) addReplications(random, draw, rows, backup)
  }
}

function dataOf(random: Random, sizeGb: number): { content_bytes: number, stored_bytes: number } {
  const content = Math.floor(sizeGb * GIB * (1 + random.below(100)) / 100)
  return { content_bytes: content, stored_bytes: Math.floor(content / (2 + random.below(30))) }
}

function addChildren(random: Random, rows: CatalogueRows, parent: NewRow<'backups'>, resource: FilledResource, captured: boolean): void {
  for (const [index, disk] of resource.disks.entries()) {
    rows.backups.push({
      ...parent,
      ...dataOf(random, disk.sizeGb),
      id: random.uuid() as BackupId,
      parent_id: parent.id,
      name: `${parent.name}_${disk.name}`,
      resource_id: disk.id,
      resource_name: disk.name,
      resource_type: DISK.resourceType,
      resource_size_gb: disk.sizeGb,
      provider_id: DISK_PROVIDER,
      protected_at: null,
      bootable: index === 0 ? 1 : 0,
      snapshot_id: captured ? random.hex(64) : null,
      supported_restore_mode: 'na',
      contain_system_disk: 0,
      system_disk: index === 0 ? 1 : 0,
      os_images_data: null,
    })
  }
}

function addShares(random: Random, draw: Draws, rows: CatalogueRows, backup: NewRow<'backups'>, shares: {
  readonly receivers: readonly Receiver[], readonly probability: number
}): void {
  for (const receiver of shares.receivers) {
    if (!random.chance(shares.probability)) continue
    const status = draw.memberStatus()
    const fitting = receiver.vaults.filter((vault) => vault.row.provider_id === backup.provider_id && !vault.holdsReplicas)
    if (status === 'accepted' && fitting.length === 0) continue
    const offeredAt = backup.created_at + random.below(86_400) * SECOND
    rows.backup_members.push({
      id: random.uuid(),
      backup_id: backup.id,
      project_id: backup.project_id,
      dest_project_id: receiver.projectId,
      status,
      vault_id: status === 'accepted' ? random.pick(fitting).row.id : null,
      image_id: status === 'accepted' && random.chance(0.1) ? random.uuid() : null,
      created_at: offeredAt,
      updated_at: offeredAt + (status === 'pending' ? 0 : random.below(86_400) * SECOND),
    })
  }
}

function addReplications(random: Random, draw: Draws, rows: CatalogueRows, backup: NewRow<'backups'>): void {
  for (const region of random.chance(0.2) ? REGIONS : REGIONS.slice(0, 1)) {
    const status = draw.replicationStatus()
    rows.replication_records.push({
      id: random.uuid(),
      backup_id: backup.id,
      checkpoint_id: backup.checkpoint_id,
      vault_id: backup.vault_id,
      project_id: backup.project_id,
      status,
      source_region: 'local-1',
      destination_region: region,
      destination_project_id: random.hex(32),
      destination_vault_id: random.uuid(),
      destination_backup_id: random.uuid(),
      destination_checkpoint_id: random.uuid(),
      progress: status === 'success' ? 100 : status === 'replicating' ? random.below(100) : 0,
      fail_code: status === 'fail' ? 'BackupService.9999' : '',
      fail_reason: status === 'fail' ? 'The target region did not answer.' : '',
      auto_trigger: random.chance(0.7) ? 1 : 0,
      created_at: backup.created_at + random.below(3600) * SECOND,
    })
  }
}
