/** What an outside Keystone says of a token, and what the token is good for here. */
import type { Micros } from '../clock.ts'
import { findBuiltInRole, type Role } from './role.ts'

interface Named {
  readonly id: string
  readonly name: string
}

/** A project's id names a directory of vaults and a place in paths. */
export const PROJECT_ID = /^[0-9a-f]{32}$/

/** One rule of an application credential: it may only make calls that a rule describes. */
export interface AccessRule {
  readonly service: string
  readonly method: string
  readonly path: string
}

/** A token as Keystone describes it. */
export interface KeystoneToken {
  readonly user: Named & { readonly domain: Named }
  /** Undefined: the token is for a domain, for the system, or for nothing. */
  readonly project: Named & { readonly domain: Named } | undefined
  /** Names of Keystone's roles, those that others imply among them. */
  readonly roles: readonly string[]
  readonly expiresAt: Micros
  /** Undefined: the token is not confined. */
  readonly accessRules: readonly AccessRule[] | undefined
}

/**
 * Reads the answer of `GET /v3/auth/tokens`. Undefined when it has another form: whatever answered is no
 * Keystone, or one that cannot be understood, and nobody is let in on its word.
 */
export function parseKeystoneToken(answer: unknown): KeystoneToken | undefined {
  const token = member(answer, 'token')
  const user = parsePlaced(member(token, 'user'))
  const expires = member(token, 'expires_at')
  const expiresAt = typeof expires === 'string' ? Date.parse(expires) * 1000 : Number.NaN
  if (user === undefined || !Number.isFinite(expiresAt)) return undefined
  const wantsProject = member(token, 'project') !== undefined
  const project = wantsProject ? parsePlaced(member(token, 'project')) : undefined
  if (wantsProject && (project === undefined || !PROJECT_ID.test(project.id))) return undefined
  const roles = (member(token, 'roles') ?? []) as unknown
  const rules = member(member(token, 'application_credential'), 'access_rules')
  const accessRules = rules === undefined || rules === null ? undefined : parseRules(rules)
  if (!Array.isArray(roles) || accessRules === 'malformed') return undefined
  const names = roles.map((role) => member(role, 'name')).filter((name) => typeof name === 'string')
  return { user, project, roles: names, expiresAt, accessRules }
}

function parseRules(rules: unknown): AccessRule[] | 'malformed' {
  if (!Array.isArray(rules)) return 'malformed'
  const parsed = rules.map((rule) => ({ service: member(rule, 'service'), method: member(rule, 'method'), path: member(rule, 'path') }))
  return parsed.every((rule): rule is AccessRule => Object.values(rule).every((value) => typeof value === 'string')) ? parsed : 'malformed'
}

function parsePlaced(value: unknown): Named & { domain: Named } | undefined {
  const [named, domain] = [parseNamed(value), parseNamed(member(value, 'domain'))]
  return named === undefined || domain === undefined ? undefined : { ...named, domain }
}

export function parseNamed(value: unknown): Named | undefined {
  const [id, name] = [member(value, 'id'), member(value, 'name')]
  return typeof id === 'string' && /^[\w-]{1,64}$/.test(id) && typeof name === 'string' ? { id, name } : undefined
}

export function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}

/** Which of our roles a role of Keystone gives in the token's project. */
export type RoleMap = Readonly<Record<string, string>>

/** Roles that are not in the map give nothing. Names are compared as Keystone does, without regard to case. */
export function mapRoles(names: readonly string[], map: RoleMap): Role[] {
  const wanted = new Set(names.map((name) => name.toLowerCase()))
  const ours = new Set(Object.entries(map).filter(([name]) => wanted.has(name.toLowerCase())).map(([, role]) => role))
  return [...ours].map((name) => findBuiltInRole(name)).filter((role) => role !== undefined)
}

/** The type under which this service is registered in Keystone. */
const SERVICE_TYPE = 'cbr'

/**
 * Whether an application credential with these rules may make a call. In a rule's path `*` and `{name}` stand for one
 * part, `**` for any number; the method is compared without regard to case. As keystonemiddleware judges it.
 */
export function allowsCall(rules: readonly AccessRule[], method: string, path: string): boolean {
  return rules.some((rule) => rule.service === SERVICE_TYPE && rule.method.toUpperCase() === method.toUpperCase() && patternOf(rule.path).test(path))
}

function patternOf(path: string): RegExp {
  const pieces = path.match(/\*\*|\*|\{[^}]*\}|[^*{]+|\{/g) ?? []
  return new RegExp(`^${pieces.map((piece) => {
    if (piece === '**') return '.*'
    return piece === '*' || /^\{.*\}$/.test(piece) ? '[^/]+' : RegExp.escape(piece)
  }).join('')}$`)
}
