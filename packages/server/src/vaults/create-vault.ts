import { randomBytes } from 'node:crypto'
import { VAULT_SIZE_GB_MIN, type CreateVaultBody } from '@opencbr/contract'
import type { Flag, NewRow } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type ProjectId, type UserId, type VaultId } from '../ids.ts'
import { bindBackupPolicy } from '../policies/index.ts'
import { readTags } from '../tag.ts'
import { associate } from './associate.ts'
import { assertSize, chooseKind, readResources, vaultPasswordPurpose } from './vault.ts'
import { findVaultView, insertVault, type VaultView } from './vault-store.ts'

type WantedVault = CreateVaultBody['vault']

const PASSWORD_BYTES = 32
const DEFAULT_ENTERPRISE_PROJECT = '0'
const EVERY_ENTERPRISE_PROJECT = 'all_granted_eps'
const DEFAULT_THRESHOLD_PERCENT = 80

/** Creates a vault, complete in the answer. Its repository is made by the first backup. */
export async function createVault(
  deps: Pick<Deps, 'db' | 'clock' | 'config' | 'secrets'>, caller: { projectId: ProjectId, userId: UserId }, wanted: WantedVault,
): Promise<VaultView> {
  const kind = chooseKind(wanted.billing)
  assertSellable(wanted)
  assertSize(wanted.billing.size, VAULT_SIZE_GB_MIN)
  if (wanted.billing.consistent_level === 'app_consistent' && wanted.billing.object_type !== 'server') {
    throw new Failure('parameter.invalid', { field: 'vault.billing.consistent_level', reason: 'only vaults for servers are app_consistent' })
  }
  const tags = readTags('vault.tags', wanted.tags ?? [])
  const resources = readResources('vault.resources', wanted.resources)
  const policyId = wanted.backup_policy_id
  const row = newVault(deps, caller, wanted, kind.providerId)
  return deps.db.transaction().execute(async (tx) => {
    await insertVault(tx, row, tags)
    await associate(deps, tx, row, 'vault.resources', resources)
    if (policyId !== undefined && policyId !== '') await bindBackupPolicy(tx, { vault: row, policyId, region: deps.config.region, now: row.created_at })
    const view = await findVaultView(tx, row.project_id, row.id)
    if (view === undefined) throw new TypeError('a vault that was just written is not there')
    return view
  })
}

function assertSellable(wanted: WantedVault): void {
  if (wanted.billing.charging_mode === 'pre_paid') {
    throw new Failure('not_supported', { field: 'vault.billing.charging_mode', reason: 'this server sells nothing, so vaults are post_paid' })
  }
  if (wanted.demand_billing === true) {
    throw new Failure('not_supported', { field: 'vault.demand_billing', reason: 'it is for pre_paid vaults, and vaults are post_paid here' })
  }
}

function newVault(
  { clock, secrets }: Pick<Deps, 'clock' | 'secrets'>, caller: { projectId: ProjectId, userId: UserId }, wanted: WantedVault, providerId: string,
): NewRow<'vaults'> {
  const id = newUuid<VaultId>()
  const now = clock.now()
  const { billing } = wanted
  return {
    id,
    project_id: caller.projectId,
    user_id: caller.userId,
    name: wanted.name,
    description: wanted.description ?? null,
    enterprise_project_id: readEnterpriseProject(wanted.enterprise_project_id),
    provider_id: providerId,
    status: 'available',
    protect_type: billing.protect_type,
    object_type: billing.object_type,
    cloud_type: billing.cloud_type ?? 'public',
    consistent_level: billing.consistent_level === '' ? 'crash_consistent' : billing.consistent_level,
    charging_mode: 'post_paid',
    is_multi_az: toFlag(billing.is_multi_az ?? false),
    size_gb: billing.size,
    used_bytes: 0,
    auto_bind: toFlag(wanted.auto_bind ?? false),
    bind_rules: JSON.stringify(wanted.bind_rules ?? {}),
    auto_expand: toFlag(wanted.auto_expand ?? false),
    smn_notify: toFlag(wanted.smn_notify ?? true),
    threshold_percent: wanted.threshold ?? DEFAULT_THRESHOLD_PERCENT,
    locked: toFlag(wanted.locked ?? false),
    demand_billing: 0,
    availability_zone: wanted.availability_zone ?? '',
    sys_lock_source_service: wanted.sys_lock_source_service ?? '',
    backup_name_prefix: wanted.backup_name_prefix ?? null,
    repository_url: null,
    repository_id: null,
    password_sealed: secrets.seal(vaultPasswordPurpose(id), randomBytes(PASSWORD_BYTES).toString('base64url')),
    created_at: now,
    updated_at: now,
  }
}

function readEnterpriseProject(id: string | number | undefined): string {
  const text = String(id ?? '').trim()
  if (text === EVERY_ENTERPRISE_PROJECT) {
    throw new Failure('parameter.invalid', { field: 'vault.enterprise_project_id', reason: 'a vault belongs to one enterprise project' })
  }
  return text === '' ? DEFAULT_ENTERPRISE_PROJECT : text
}

function toFlag(value: boolean): Flag {
  return value ? 1 : 0
}
