import type { Protectable } from '@opencbr/contract'
import { sizeInGb } from '../resources/index.ts'
import { vaultToWire } from '../vaults/index.ts'
import { PROTECTABLE_STATUS, type ProtectableView } from './list-protectables.ts'

export function protectableToWire({ resource, vault }: ProtectableView): Protectable {
  const { id, name, type } = resource
  const size = sizeInGb(resource.size_bytes)
  return {
    id,
    name,
    type,
    size,
    status: PROTECTABLE_STATUS,
    // The cloud says true of a resource that sits in a vault, too; the vault is how one sees it.
    protectable: { result: true, code: '', reason: '', vault: vault === undefined ? null : vaultToWire(vault) },
    detail: { id, name, status: PROTECTABLE_STATUS, size, tags: resource.tags.map(({ key, value }) => `${key}=${value}`) },
    children: [],
  }
}
