/**
 * Takes unprotected resources into a vault by itself, before one of its scheduled runs (semantics of
 * the contract, 4.2). A resource qualifies when its kind fits, no backup vault holds it, and, where the vault has
 * rules, it carries one of their tags. It is taken when the free allocation of the vault, its size
 * less the sizes of its resources, is above 40 GB and above the size of the resource.
 *
 * The vault whose next run is soonest wins: that is the one that is about to run, so it takes what it can, and
 * of several with the same due time whichever the scheduler comes to first. A vault without a policy has
 * no scheduled run, and never binds.
 */
import type { BindRules } from '@opencbr/contract'
import { VAULT_RESOURCES_MAX } from '@opencbr/contract'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { recordEvent } from '../events/index.ts'
import type { ResourceId } from '../ids.ts'
import { sizeInGb } from '../resources/index.ts'
import type { Tag } from '../tag.ts'
import { associate } from './associate.ts'
import { resourceTypesOf } from './vault.ts'
import { listVaultResources } from './vault-store.ts'

export const BIND_HEADROOM_GB = 40
/** More than a vault can hold, so that small ones are found behind large ones. */
const CANDIDATES_MAX = 4 * VAULT_RESOURCES_MAX

type Candidate = Pick<Row<'resources'>, 'id' | 'type' | 'name' | 'size_bytes'>

/**
 * Called in the transaction of a scheduled run, before its resources are chosen. Does nothing for a vault that
 * does not bind. What qualifies and fits nowhere is told as an event with the contract's code 6142, once as
 * long as nothing changes. Answers the ids that were taken in.
 */
export async function bindAutomatically(deps: Pick<Deps, 'clock' | 'config'>, tx: Transaction, vault: Row<'vaults'>): Promise<ResourceId[]> {
  if (vault.auto_bind === 0 || vault.protect_type !== 'backup' || vault.status !== 'available') return []
  const candidates = await listCandidates(tx, vault)
  if (candidates.length === 0) return []
  const inside = await listVaultResources(tx, vault.project_id, vault.id)
  const { taken, left } = chooseToBind(candidates.map((each) => ({ ...each, sizeGb: sizeInGb(each.size_bytes) })), {
    freeGb: vault.size_gb - inside.reduce((sum, resource) => sum + resource.size_gb, 0),
    places: VAULT_RESOURCES_MAX - inside.length,
  })
  await associate(deps, tx, vault, 'resources', taken.map(({ id, type, name }) => ({ id, type, name, extraInfo: {} })))
  if (taken.length > 0) {
    const names = taken.map(({ name }) => name).join(', ')
    await recordEvent(tx, {
      kind: 'vault.resources_bound',
      projectId: vault.project_id,
      vault,
      message: `The vault ${vault.name} has taken in by itself: ${names}.`,
      facts: { resources: taken.map(({ id, type, name }) => ({ id, type, name })) },
      createdAt: deps.clock.now(),
    })
  }
  await tellLeft(deps, tx, vault, left)
  return taken.map(({ id }) => id)
}

interface Sized {
  readonly sizeGb: number
}

/** In the given order; each that is taken leaves less for the next. */
export function chooseToBind<Resource extends Sized>(
  candidates: readonly Resource[], vault: { readonly freeGb: number, readonly places: number },
): { taken: Resource[], left: Resource[] } {
  let { freeGb, places } = vault
  const taken: Resource[] = []
  const left: Resource[] = []
  for (const candidate of candidates) {
    if (places > 0 && freeGb > BIND_HEADROOM_GB && freeGb > candidate.sizeGb) {
      taken.push(candidate)
      freeGb -= candidate.sizeGb
      places -= 1
    } else {
      left.push(candidate)
    }
  }
  return { taken, left }
}

/** A rule without a value is content with any. */
export function qualifies(tags: readonly Tag[], rules: BindRules): boolean {
  const wanted = rules.tags ?? []
  return wanted.length === 0 || wanted.some((rule) => tags.some((tag) => tag.key === rule.key && (rule.value === undefined || tag.value === rule.value)))
}

/** Oldest first. */
async function listCandidates(reader: Reader, vault: Row<'vaults'>): Promise<Candidate[]> {
  const types = resourceTypesOf(vault.object_type) as Row<'resources'>['type'][]
  if (types.length === 0) return []
  const { tags: rules = [] } = JSON.parse(vault.bind_rules) as BindRules
  let query = reader.selectFrom('resources').select(['resources.id', 'resources.type', 'resources.name', 'resources.size_bytes'])
    .where('resources.project_id', '=', vault.project_id).where('resources.type', 'in', types)
    .where(({ eb, selectFrom }) => eb('resources.id', 'not in', selectFrom('vault_resources')
      .innerJoin('vaults', 'vaults.id', 'vault_resources.vault_id').select('vault_resources.resource_id')
      .where('vault_resources.project_id', '=', vault.project_id).where('vaults.protect_type', '=', 'backup')))
  if (rules.length > 0) {
    query = query.where(({ exists, selectFrom }) => exists(selectFrom('resource_tags').select('resource_tags.key')
      .whereRef('resource_tags.resource_id', '=', 'resources.id')
      .where(({ eb, and, or }) => or(rules.map((rule) => and([
        eb('resource_tags.key', '=', rule.key.trim()),
        ...(rule.value === undefined ? [] : [eb('resource_tags.value', '=', rule.value.trim())]),
      ]))))))
  }
  return query.orderBy('resources.created_at').orderBy('resources.id').limit(CANDIDATES_MAX).execute()
}

/** Only of those that no other binding vault of the kind has room for: that one takes them at its own next run. */
async function tellLeft(
  { clock }: Pick<Deps, 'clock'>, tx: Transaction, vault: Row<'vaults'>, left: readonly (Candidate & Sized)[],
): Promise<void> {
  if (left.length === 0) return
  const others = await tx.selectFrom('vaults')
    .select(({ selectFrom }) => ['vaults.size_gb', 'vaults.bind_rules', selectFrom('vault_resources')
      .whereRef('vault_resources.vault_id', '=', 'vaults.id').select(({ fn }) => fn.sum<number>('vault_resources.size_gb').as('sum')).as('allocated_gb')])
    .where('vaults.project_id', '=', vault.project_id).where('vaults.auto_bind', '=', 1).where('vaults.object_type', '=', vault.object_type)
    .where('vaults.protect_type', '=', 'backup').where('vaults.status', '=', 'available').where('vaults.id', '!=', vault.id)
    .execute()
  const tags = await tx.selectFrom('resource_tags').selectAll().where('resource_id', 'in', left.map(({ id }) => id)).execute()
  const tagsOf = Map.groupBy(tags, (tag) => tag.resource_id)
  const nowhere = left.filter((resource) => !others.some((other) => {
    const freeGb = other.size_gb - Number(other.allocated_gb ?? 0)
    return freeGb > BIND_HEADROOM_GB && freeGb > resource.sizeGb && qualifies(tagsOf.get(resource.id) ?? [], JSON.parse(other.bind_rules) as BindRules)
  }))
  if (nowhere.length === 0) return
  const facts = { error_code: 'BackupService.6142', resources: nowhere.map(({ id, type, name, sizeGb }) => ({ id, type, name, size: sizeGb })) }
  const latest = await tx.selectFrom('events').select('facts')
    .where('project_id', '=', vault.project_id).where('vault_id', '=', vault.id).where('kind', '=', 'vault.binding_failed')
    .orderBy('created_at', 'desc').limit(1).executeTakeFirst()
  if (latest?.facts === JSON.stringify(facts)) return
  await recordEvent(tx, {
    kind: 'vault.binding_failed',
    projectId: vault.project_id,
    vault,
    message: `No vault that takes in resources by itself has room for ${nowhere.map(({ name, sizeGb }) => `${name} (${sizeGb} GB)`).join(', ')}: `
      + `more than ${BIND_HEADROOM_GB} GB, and more than the resource has, must be free for allocation.`,
    facts,
    createdAt: clock.now(),
  })
}
