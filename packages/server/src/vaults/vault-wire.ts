import type { Static } from 'typebox'
import type { BindRules, ResourceCreate, Vault } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import { sizeInMb, specCodeOf, usedBytesOf } from './vault.ts'
import type { VaultView } from './vault-store.ts'

type WireResource = Static<typeof Vault>['resources'][number]

export function vaultToWire({ vault, resources, tags }: VaultView): Vault {
  return {
    id: vault.id,
    name: vault.name,
    description: vault.description,
    project_id: vault.project_id,
    enterprise_project_id: vault.enterprise_project_id,
    provider_id: vault.provider_id,
    user_id: vault.user_id,
    created_at: formatTime(vault.created_at),
    billing: {
      status: vault.status,
      used: sizeInMb(usedBytesOf(vault)),
      size: vault.size_gb,
      allocated: vault.protect_type === 'replication' ? 0 : resources.reduce((sum, resource) => sum + resource.size_gb, 0),
      protect_type: vault.protect_type,
      object_type: vault.object_type as Vault['billing']['object_type'],
      spec_code: specCodeOf(vault),
      cloud_type: vault.cloud_type as Vault['billing']['cloud_type'],
      consistent_level: vault.consistent_level as Vault['billing']['consistent_level'],
      charging_mode: 'post_paid',
      order_id: null,
      product_id: null,
      storage_unit: null,
      frozen_scene: null,
      is_multi_az: vault.is_multi_az === 1,
      is_double_az: false,
      partner_bp_id: null,
    },
    resources: resources.map(resourceInVaultToWire),
    tags: tags.map(({ key, value }) => ({ key, value })),
    auto_bind: vault.auto_bind === 1,
    bind_rules: JSON.parse(vault.bind_rules) as BindRules,
    auto_expand: vault.auto_expand === 1,
    smn_notify: vault.smn_notify === 1,
    threshold: vault.threshold_percent,
    locked: vault.locked === 1,
    availability_zone: vault.availability_zone,
    sys_lock_source_service: vault.sys_lock_source_service,
    backup_name_prefix: vault.backup_name_prefix,
    demand_billing: vault.demand_billing === 1,
    cbc_delete_count: 0,
    frozen: vault.status === 'frozen',
    supplier: '',
    cross_account: false,
    cross_account_urn: '',
  }
}

function resourceInVaultToWire(resource: VaultView['resources'][number]): WireResource {
  return {
    id: resource.resource_id,
    type: resource.resource_type as WireResource['type'],
    name: resource.name ?? '',
    size: resource.size_gb,
    protect_status: resource.protect_status,
    backup_size: sizeInMb(resource.storedBytes),
    backup_count: resource.backupCount,
    auto_protect: resource.auto_protect === 1,
    extra_info: JSON.parse(resource.extra_info) as NonNullable<ResourceCreate['extra_info']>,
  }
}
