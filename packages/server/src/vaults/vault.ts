/** What vaults may be and hold, without a database. */
import { VAULT_RESOURCES_MAX, VAULT_SIZE_GB_MAX, type ObjectType, type VaultResourceType } from '@opencbr/contract'
import type { Row, VaultStatus } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { ResourceId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'

export const BYTES_PER_GB = 1024 ** 3
const BYTES_PER_MB = 1024 ** 2

interface VaultKind {
  /** The cloud's fixed identifier of the engine for this kind of resource. */
  readonly providerId: string
  readonly specCode: string
  readonly takes: readonly VaultResourceType[]
}

/**
 * The kinds of vaults that can be made. Servers and desktops cannot be protected here yet, but
 * Terraform creates their vaults before there is anything to protect; a backup in them fails clearly.
 */
const kinds: Partial<Record<ObjectType, VaultKind>> = {
  server: {
    providerId: '0daac4c5-6707-4851-97ba-169e36266b66', specCode: 'vault.backup.server.normal', takes: ['OS::Nova::Server', 'OS::Ironic::BareMetalServer'],
  },
  disk: { providerId: 'd1603440-187d-4516-af25-121250c7cc97', specCode: 'vault.backup.volume.normal', takes: ['OS::Cinder::Volume'] },
  turbo: { providerId: '3f3c3220-245c-4805-b811-758870015881', specCode: 'vault.backup.turbo.normal', takes: ['OS::Sfs::Turbo'] },
  // No source names the engine and product of file vaults; they are hybrid ones, and have what those have.
  file: { providerId: 'a13639de-00be-4e94-af30-26912d75e4a2', specCode: 'vault.hybrid.server.normal', takes: ['OS::Native::Server'] },
  // No source names the product code of this kind; it follows the others.
  workspace: { providerId: '86a80900-71bf-4961-956a-d52df944f84a', specCode: 'vault.backup.workspace.normal', takes: ['OS::Workspace::DesktopV2'] },
}

/** Refuses what cannot be made here, naming the member of the body. */
export function chooseKind(billing: {
  readonly object_type: ObjectType, readonly protect_type: string, readonly cloud_type?: string | undefined
}): VaultKind {
  if (billing.protect_type !== 'backup') throw kindUnsupported('protect_type', `${billing.protect_type} (there is no second region)`)
  const kind = kinds[billing.object_type]
  if (kind === undefined) throw kindUnsupported('object_type', billing.object_type)
  // Files of machines outside of the cloud are what hybrid vaults are for, and here they are all that is.
  if ((billing.cloud_type === 'hybrid') !== (billing.object_type === 'file')) {
    throw kindUnsupported('cloud_type', `${billing.cloud_type ?? 'public'} for ${billing.object_type}`)
  }
  return kind
}

function kindUnsupported(member: string, value: string): Failure {
  return new Failure('vault.kind_unsupported', { field: `vault.billing.${member}`, value })
}

/** The cloud's product for a vault, also for kinds that cannot be made here and are only in catalogues made for benchmarks. */
export function specCodeOf({ object_type: objectType, protect_type: protectType }: Pick<Row<'vaults'>, 'object_type' | 'protect_type'>): string {
  if (protectType === 'replication') return 'vault.replication.server.normal'
  return kinds[objectType as ObjectType]?.specCode ?? (objectType === 'rds' ? 'vault.backup.rds.normal' : 'vault.hybrid.server.normal')
}

/** The kinds of resources that a vault takes. */
export function resourceTypesOf(objectType: string): readonly VaultResourceType[] {
  return kinds[objectType as ObjectType]?.takes ?? []
}

export function takesType(objectType: string, type: VaultResourceType): boolean {
  return resourceTypesOf(objectType).includes(type)
}

/** `min` differs: a vault starts with at least 10 GB, and may shrink to 1. */
export function assertSize(sizeGb: number, min: number, usedBytes = 0): void {
  if (sizeGb < min || sizeGb > VAULT_SIZE_GB_MAX) {
    throw new Failure('vault.size_out_of_range', { reason: `it must be from ${min} to ${VAULT_SIZE_GB_MAX} GB` })
  }
  if (sizeGb * BYTES_PER_GB < usedBytes) {
    throw new Failure('vault.size_out_of_range', { reason: `the vault holds ${sizeInMb(usedBytes)} MB already` })
  }
}

/** What the vault's repository holds, and what accepted shares add to it. */
export function usedBytesOf(vault: Pick<Row<'vaults'>, 'used_bytes' | 'shared_bytes'>): number {
  return vault.used_bytes + vault.shared_bytes
}

/** Used space is in whole MB, and what holds anything is not empty. */
export function sizeInMb(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_MB)
}

/** A resource as a client names it for a vault. */
export interface NamedResource {
  readonly id: ResourceId
  readonly type: VaultResourceType
  readonly name: string | undefined
  readonly extraInfo: object
}

/** `field` is the list's place in the body: `vault.resources`. */
export function readResources(
  field: string,
  resources: readonly { readonly id: string, readonly type: VaultResourceType, readonly name?: string, readonly extra_info?: object }[],
): NamedResource[] {
  if (resources.length > VAULT_RESOURCES_MAX) throw tooManyResources()
  const seen = new Set<ResourceId>()
  return resources.map(({ id, type, name, extra_info: extraInfo = {} }, place) => {
    const resourceId = parseUuid<ResourceId>(`${field}.${place}.id`, id)
    if (seen.has(resourceId)) throw new Failure('vault.resource_named_twice', { resourceId })
    seen.add(resourceId)
    return { id: resourceId, type, name, extraInfo }
  })
}

export function tooManyResources(): Failure {
  return new Failure('vault.too_many_resources', { max: VAULT_RESOURCES_MAX })
}

/** Resources come and go while the size is being changed, too. */
export function assertTakesResources(vault: { readonly id: VaultId, readonly status: VaultStatus }): void {
  if (vault.status !== 'available' && vault.status !== 'lock') {
    throw new Failure('vault.wrong_status', { vaultId: vault.id, status: vault.status })
  }
}

/** For what a vault's password is sealed. */
export function vaultPasswordPurpose(vaultId: VaultId): string {
  return `vault-password:${vaultId}`
}
