/** The table of docs/operating/permissions.md, from what the operations and the built-in roles declare. */
import { builtInRoles, permits, type Route } from '@opencbr/server'

export const ROLE_NAMES: readonly string[] = ['read_only', 'restore_only', 'operator', 'full', 'administrator']

/** Whether it takes the action in the domain, besides a role in the project. */
function inDomain(access: Route['access']): boolean {
  return access.kind === 'project' && access.inDomain === true
}

/** Whether somebody with one built-in role in a project may call an operation of it. */
export function mayCall(role: string, { access }: Pick<Route, 'access'>): boolean {
  if (access.kind === 'public' || access.kind === 'authenticated') return true
  // Administering takes the role in the domain or in the system.
  if (access.kind === 'administration' || inDomain(access)) return false
  return permits(builtInRoles.filter((each) => each.name === role), access.action)
}

function describeAccess({ access }: Route): string {
  switch (access.kind) {
    case 'public': return 'none: anybody'
    case 'authenticated': return 'none: any user'
    default: return `\`${access.action}\``
  }
}

function row(route: Route): string {
  const { access } = route
  const cells = 'action' in access && (access.kind === 'administration' || inDomain(access))
    ? ROLE_NAMES.map((role) => (permits(builtInRoles.filter((each) => each.name === role), access.action) ? 'in the domain' : '-'))
    : ROLE_NAMES.map((role) => (mayCall(role, route) ? 'yes' : '-'))
  return `| \`${route.operationId}\` | ${describeAccess(route)} | ${cells.join(' | ')} |`
}

/** What anybody may call first, then what is done in a project, then what administers. */
function orderOf({ access, operationId }: Route): string {
  const part = access.kind === 'project' ? 1 : access.kind === 'administration' ? 2 : 0
  return `${part} ${'action' in access ? access.action : ''} ${operationId}`
}

export function renderPermissions(routes: readonly Route[]): string {
  const rows = routes.toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1)).map(row)
  return `# Permissions

Which operation takes which action, and which built-in role has it. \`node scripts/write-permissions.ts\` writes this page; a test
calls every operation in every role, and compares.

- Without credentials, with an expired or revoked token, or with a disabled or deleted access key: 401, except where anybody may call.
- With credentials for another project: 403, whatever the role there. An unknown project answers the same.
- With a role that lacks the action: 403.
- \`in the domain\`: the role has to be given in the domain or in the system; in a project it administers nothing.

| operation | action | ${ROLE_NAMES.map((name) => `\`${name}\``).join(' | ')} |
|---|---|${ROLE_NAMES.map(() => '---').join('|')}|
${rows.join('\n')}
`
}
