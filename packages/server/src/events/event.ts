import type { Micros } from '../clock.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'

/** Further kinds are added by whoever has something to tell: `noun.what_happened`. */
export type EventKind = `${string}.${string}`

export interface NewEvent {
  readonly kind: EventKind
  readonly projectId: ProjectId
  readonly vault?: { readonly id: VaultId, readonly name: string } | undefined
  readonly resourceId?: ResourceId | undefined
  /** One sentence for a person. */
  readonly message: string
  /** The same for programs. */
  readonly facts: Readonly<Record<string, unknown>>
  readonly createdAt: Micros
}
