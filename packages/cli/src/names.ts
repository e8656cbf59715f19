/** Names are accepted wherever the API wants ids, as long as only one thing has the name. */
import type { DeclaredResource } from '@opencbr/contract'
import type { Api } from './api.ts'
import { CommandFailure } from './exit-codes.ts'

interface Named {
  readonly id: string
  readonly name?: string | null
}

const ID = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i

export function isId(text: string): boolean {
  return ID.test(text)
}

export async function findVaultId(api: Api, text: string): Promise<string> {
  if (isId(text)) return text
  const { vaults } = await api.call<{ vaults: readonly Named[] }>('GET', '/v3/{project_id}/vaults', { query: { name: text } })
  return pickOne('vault', text, vaults).id
}

/** All policies are in one page. */
export async function findPolicyId(api: Api, text: string): Promise<string> {
  if (isId(text)) return text
  const { policies } = await api.call<{ policies: readonly Named[] }>('GET', '/v3/{project_id}/policies')
  return pickOne('policy', text, policies).id
}

/** There are at most 64 in a domain. */
export async function findOrganizationPolicyId(api: Api, text: string): Promise<string> {
  if (isId(text)) return text
  const { policies } = await api.call<{ policies: readonly Named[] }>('GET', '/v3/{project_id}/organization-policies')
  return pickOne('policy', text, policies).id
}

export async function findBackupId(api: Api, text: string): Promise<string> {
  if (isId(text)) return text
  const query = { name: text, own_type: 'all_granted' }
  const { backups } = await api.call<{ backups: readonly Named[] }>('GET', '/v3/{project_id}/backups', { query })
  return pickOne('backup', text, backups).id
}

/** An id is not looked up: resources that nobody declared may be named by it. */
export async function findResourceId(api: Api, text: string): Promise<string> {
  return isId(text) ? text : (await findResource(api, text)).id
}

/** A declared resource by id or name. */
export async function findResource(api: Api, text: string): Promise<DeclaredResource> {
  if (isId(text)) {
    return (await api.call<{ resource: DeclaredResource }>('GET', `/x/v1/{project_id}/resources/${text}`)).resource
  }
  const query = { name: text }
  const { resources } = await api.call<{ resources: readonly DeclaredResource[] }>('GET', '/x/v1/{project_id}/resources', { query })
  return pickOne('resource', text, resources)
}

/** The one of the candidates that has the name. */
export function pickOne<Found extends Named>(noun: string, text: string, candidates: readonly Found[]): Found {
  const [found, ...more] = candidates.filter((candidate) => candidate.name === text)
  if (found === undefined) throw new CommandFailure('notFound', `There is no ${noun} with the name or id ${text}.`)
  if (more.length > 0) {
    const ids = [found, ...more].map(({ id }) => id).join(', ')
    throw new CommandFailure('usage', `There are ${more.length + 1} ${noun === 'policy' ? 'policies' : `${noun}s`} with the name ${text}; use the id of one of them: ${ids}`)
  }
  return found
}
