/**
 * What roles allow. An operation declares one action, such as `cbr:backups:list`; a role is a list of
 * actions in which `*` stands for any characters, less the exceptions of built-in roles.
 *
 * The built-in ones follow the ready-made roles of the cloud (full access, backups and vaults without
 * policies, read only), with an administrator above and a role for whoever only brings data back.
 */
export interface Role {
  readonly name: string
  readonly description: string
  readonly actions: readonly string[]
  readonly except: readonly string[]
}

const READS = ['cbr:*:get*', 'cbr:*:list*', 'cbr:*:query*', 'cbr:*:show*', 'cbr:*:check*', 'cbr:*:preview*'] as const
/** With it, everything in a vault can be read and lost with nobody asked. */
const RECOVERY_KIT = 'cbr:vaults:getRecoveryKit'

export const builtInRoles: readonly Role[] = [
  {
    name: 'administrator', actions: ['*'], except: [],
    description: 'Everything, and for a domain or the system also its projects, users and roles.',
  },
  { name: 'full', actions: ['cbr:*'], except: [], description: 'Everything in the project.' },
  {
    name: 'operator',
    actions: ['cbr:*'],
    except: [
      'cbr:policies:create', 'cbr:policies:update', 'cbr:policies:delete', 'cbr:organizationPolicies:create', 'cbr:organizationPolicies:update',
      'cbr:organizationPolicies:delete', RECOVERY_KIT,
    ],
    description: 'Vaults and backups, but no change of a policy and no recovery kit.',
  },
  { name: 'read_only', actions: READS, except: [RECOVERY_KIT], description: 'Lists and shows; reads no content of backups.' },
  {
    name: 'restore_only', actions: [...READS, 'cbr:backups:restore', 'cbr:backups:download'], except: [RECOVERY_KIT],
    description: 'Lists and shows, reads content of backups, and restores.',
  },
]

export function findBuiltInRole(name: string): Role | undefined {
  return builtInRoles.find((role) => role.name === name)
}

/** What an action or a pattern of actions looks like: `*`, or parts between colons. */
export const ACTION_PATTERN = String.raw`^(\*|[a-zA-Z][a-zA-Z-]*(:[a-zA-Z*-]+)+)$`

export function permits(roles: readonly Pick<Role, 'actions' | 'except'>[], action: string): boolean {
  return roles.some((role) => role.actions.some((pattern) => covers(pattern, action)) && !role.except.some((pattern) => covers(pattern, action)))
}

function covers(pattern: string, action: string): boolean {
  if (pattern === '*' || pattern === action) return true
  if (!pattern.includes('*')) return false
  // Pieces between stars, in order; the first at the beginning, the last at the end.
  const pieces = pattern.split('*')
  const [first = '', last = ''] = [pieces[0], pieces.at(-1)]
  if (!action.startsWith(first) || !action.endsWith(last) || action.length < first.length + last.length) return false
  let at = first.length
  const end = action.length - last.length
  for (const piece of pieces.slice(1, -1)) {
    const found = action.indexOf(piece, at)
    if (found === -1 || found + piece.length > end) return false
    at = found + piece.length
  }
  return at <= end
}
