/** Further projects on a test's service, each with a user of its own that acts in nothing else. */
import { formatSdkDate, signRequest } from '@opencbr/contract'
import type { CallOptions, TestAnswer, TestService } from '@opencbr/testkit'

export const PASSWORD = 'correct horse battery'

export interface Tenant {
  readonly projectId: string
  readonly projectName: string
  readonly domainId: string
  readonly userId: string
  readonly token: string
  /** As the service's own `call`, with this tenant's project and token. */
  readonly call: <Body = Record<string, unknown>>(method: string, path: string, body?: unknown, options?: CallOptions) => Promise<TestAnswer<Body>>
}

interface Made { readonly id: string }

/** Creates with the service's administrator, and fails the test when that fails. */
export async function create(service: TestService, path: string, member: string, fields: object): Promise<Made> {
  const answer = await service.call<Record<string, Made>>('POST', path, { [member]: fields })
  const made = answer.body[member]
  if (answer.status !== 201 || made === undefined) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return made
}

export async function logIn(service: TestService, userId: string, projectId?: string, password = PASSWORD): Promise<string> {
  const answer = await service.call('POST', '/v3/auth/tokens', {
    auth: {
      identity: { methods: ['password'], password: { user: { id: userId, password } } },
      ...(projectId === undefined ? {} : { scope: { project: { id: projectId } } }),
    },
  }, { headers: { 'x-auth-token': '' } })
  const token = answer.headers.get('x-subject-token')
  if (token === null) throw new Error(`${userId} cannot log in: ${answer.status} ${JSON.stringify(answer.body)}`)
  return token
}

/** A user with one role in one project, logged in there. */
export async function addUser(
  service: TestService, { name, project, role, domainId, enterpriseProjectIds }: {
    name: string, project: Made, role: string, domainId?: string | undefined, enterpriseProjectIds?: readonly string[]
  },
): Promise<{ userId: string, token: string }> {
  const inDomain = domainId === undefined ? {} : { domain_id: domainId }
  const user = await create(service, '/x/v1/users', 'user', { name, password: PASSWORD, ...inDomain })
  await create(service, '/x/v1/role-assignments', 'role_assignment', {
    role, user_id: user.id, project_id: project.id,
    ...(enterpriseProjectIds === undefined ? {} : { enterprise_project_ids: enterpriseProjectIds }),
  })
  return { userId: user.id, token: await logIn(service, user.id, project.id) }
}

/** A project with one user; in the first domain, or in one of its own. */
export async function addTenant(service: TestService, name: string, { role = 'full', ownDomain = false } = {}): Promise<Tenant> {
  const domainId = ownDomain ? (await create(service, '/x/v1/domains', 'domain', { name: `${name}-domain` })).id : service.bootstrap.domain_id
  const project = await create(service, '/x/v1/projects', 'project', { name, domain_id: domainId })
  const { userId, token } = await addUser(service, { name: `${name}-user`, project, role, domainId })
  return {
    projectId: project.id,
    projectName: name,
    domainId,
    userId,
    token,
    call: (method, path, body, { headers = {} } = {}) =>
      service.call(method, path.replaceAll('{project_id}', project.id), body, { headers: { 'x-auth-token': token, ...headers } }),
  }
}

/** Headers that sign a call as an access key does; no token is sent. */
export function signedHeaders(
  service: TestService, method: string, target: string, key: { accessKey: string, secretKey: string, securityToken?: string }, body?: unknown,
): Record<string, string> {
  const headers = { host: new URL(service.url).host, 'x-sdk-date': formatSdkDate(service.clock.now() / 1000) }
  const authorization = signRequest({ method, target, headers, body: Buffer.from(body === undefined ? '' : JSON.stringify(body)) }, key)
  return {
    'x-auth-token': '', 'x-sdk-date': headers['x-sdk-date'], authorization,
    ...(key.securityToken === undefined ? {} : { 'x-security-token': key.securityToken }),
  }
}
