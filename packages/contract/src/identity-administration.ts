/** What administers domains, projects, users, groups, roles and access keys, below `/x/v1`. The cloud has other interfaces for it. */
import { Type, type Static } from 'typebox'

const Id = Type.String({ pattern: '^[0-9A-Za-z-]{1,64}$' })
const Name = Type.String({ minLength: 1, maxLength: 64, pattern: String.raw`^[^\u0000-\u0020<>/](?:[^\u0000-\u001f<>/]*[^\u0000-\u0020<>/])?$`, description: 'Without blanks around, and without < > and /.' })
const Description = Type.String({ maxLength: 255, pattern: '^[^<>]*$' })
const Password = Type.String({ minLength: 10, maxLength: 1024, description: 'At least 10 characters.' })
const Action = Type.String({
  maxLength: 128, pattern: String.raw`^(\*|[a-zA-Z][a-zA-Z-]*(:[a-zA-Z*-]+)+)$`,
  description: 'An action such as cbr:backups:list; * stands for any characters.',
})
const Actions = Type.Array(Action, { minItems: 1, maxItems: 200 })
const CreatedAt = Type.String({ description: 'UTC, with microseconds and without a zone.' })
const Count = Type.Integer({ minimum: 0 })

const pageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
}
const byName = { name: Type.Optional(Type.String()) }
const byDomain = { domain_id: Type.Optional(Type.String({ description: 'Of this domain.' })) }
const inDomain = { domain_id: Type.Optional(Id) }
const described = { name: Name, description: Type.Optional(Description) }
const switched = { description: Type.Optional(Description), enabled: Type.Optional(Type.Boolean()) }

export const PageByNameQuery = Type.Object({ ...byName, ...pageQuery })
export const PageInDomainQuery = Type.Object({ ...byName, ...byDomain, ...pageQuery })
export const AccessKeyQuery = Type.Object({ user_id: Type.Optional(Type.String({ description: 'Default: the caller.' })), ...pageQuery })
export const RoleAssignmentQuery = Type.Object({
  user_id: Type.Optional(Type.String()),
  group_id: Type.Optional(Type.String()),
  project_id: Type.Optional(Type.String()),
  domain_id: Type.Optional(Type.String()),
  role: Type.Optional(Type.String()),
  ...pageQuery,
})

const shown = { id: Type.String(), name: Type.String(), description: Type.String(), created_at: CreatedAt }

export const AdministeredDomain = Type.Object({ ...shown, enabled: Type.Boolean() })
export type AdministeredDomain = Static<typeof AdministeredDomain>
export const AdministeredProject = Type.Object({ ...shown, domain_id: Type.String(), enabled: Type.Boolean() })
export type AdministeredProject = Static<typeof AdministeredProject>
export const AdministeredUser = Type.Object({ ...shown, domain_id: Type.String(), enabled: Type.Boolean() })
export type AdministeredUser = Static<typeof AdministeredUser>
export const UserGroup = Type.Object({ ...shown, domain_id: Type.String() })
export type UserGroup = Static<typeof UserGroup>
export const UserGroupWithUsers = Type.Object({ ...shown, domain_id: Type.String(), user_ids: Type.Array(Type.String()) })
export const ShownRole = Type.Object({
  id: Type.String(),
  name: Type.String(),
  description: Type.String(),
  domain_id: Type.Union([Type.String(), Type.Null()], { description: 'Null: built in.' }),
  actions: Type.Array(Type.String()),
  except: Type.Array(Type.String(), { description: 'Of built-in roles: what they leave out of their actions.' }),
})
export type ShownRole = Static<typeof ShownRole>
export const RoleAssignment = Type.Object({
  id: Type.String(),
  role: Type.String({ description: 'Id of the role; a built-in one is known by its name.' }),
  role_name: Type.String(),
  user_id: Type.Union([Type.String(), Type.Null()]),
  group_id: Type.Union([Type.String(), Type.Null()]),
  project_id: Type.Union([Type.String(), Type.Null()]),
  domain_id: Type.Union([Type.String(), Type.Null()]),
  system: Type.Boolean(),
  enterprise_project_ids: Type.Union([Type.Array(Type.String()), Type.Null()], { description: 'Null: for all of the project.' }),
  created_at: CreatedAt,
})
export type RoleAssignment = Static<typeof RoleAssignment>
const accessKeyMembers = {
  access_key: Type.String(), user_id: Type.String(), description: Type.String(), enabled: Type.Boolean(), created_at: CreatedAt,
}
export const ShownAccessKey = Type.Object(accessKeyMembers)
export type ShownAccessKey = Static<typeof ShownAccessKey>

export const DomainBody = Type.Object({ domain: Type.Object({ ...described, enabled: Type.Optional(Type.Boolean()) }) })
export const DomainChangeBody = Type.Object({ domain: Type.Object(switched) })
export const ProjectBody = Type.Object({ project: Type.Object({ ...described, ...inDomain, enabled: Type.Optional(Type.Boolean()) }) })
export const ProjectChangeBody = Type.Object({ project: Type.Object(switched) })
export const UserBody = Type.Object({ user: Type.Object({ ...described, ...inDomain, password: Password, enabled: Type.Optional(Type.Boolean()) }) })
export const UserChangeBody = Type.Object({ user: Type.Object({ ...switched, password: Type.Optional(Password) }) })
export const PasswordChangeBody = Type.Object({ user: Type.Object({ password: Password, original_password: Type.String({ maxLength: 1024 }) }) })
export const GroupBody = Type.Object({ group: Type.Object({ ...described, ...inDomain }) })
export const RoleBody = Type.Object({ role: Type.Object({ ...described, ...inDomain, actions: Actions }) })
export const RoleChangeBody = Type.Object({ role: Type.Object({ description: Type.Optional(Description), actions: Type.Optional(Actions) }) })
export const RoleAssignmentBody = Type.Object({
  role_assignment: Type.Object({
    role: Type.String({ minLength: 1, maxLength: 64, description: 'Name of a built-in role, or name or id of another.' }),
    user_id: Type.Optional(Id),
    group_id: Type.Optional(Id),
    project_id: Type.Optional(Id),
    domain_id: Type.Optional(Id),
    system: Type.Optional(Type.Boolean()),
    enterprise_project_ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: 100 })),
  }),
})
export const AccessKeyBody = Type.Object({ access_key: Type.Object({ user_id: Type.Optional(Id), description: Type.Optional(Description) }) })
export const AccessKeyChangeBody = Type.Object({ access_key: Type.Object(switched) })

const pageOf = <Members extends Record<string, ReturnType<typeof Type.Array>>>(members: Members) =>
  Type.Object({ ...members, count: Count, limit: Type.Integer(), offset: Count })

export const DomainAnswer = Type.Object({ domain: AdministeredDomain })
export const DomainsAnswer = pageOf({ domains: Type.Array(AdministeredDomain) })
export const ProjectAnswer = Type.Object({ project: AdministeredProject })
export const ProjectsAnswer = pageOf({ projects: Type.Array(AdministeredProject) })
export const UserAnswer = Type.Object({ user: AdministeredUser })
export const UsersAnswer = pageOf({ users: Type.Array(AdministeredUser) })
export const GroupAnswer = Type.Object({ group: UserGroupWithUsers })
export const GroupsAnswer = pageOf({ groups: Type.Array(UserGroup) })
export const RoleAnswer = Type.Object({ role: ShownRole })
export const RolesAnswer = Type.Object({
  built_in: Type.Array(ShownRole, { description: 'The same on every page; not counted.' }),
  roles: Type.Array(ShownRole), count: Count, limit: Type.Integer(), offset: Count,
})
export const RoleAssignmentAnswer = Type.Object({ role_assignment: RoleAssignment })
export const RoleAssignmentsAnswer = pageOf({ role_assignments: Type.Array(RoleAssignment) })
export const AccessKeyAnswer = Type.Object({ access_key: ShownAccessKey })
export const NewAccessKeyAnswer = Type.Object({
  access_key: Type.Object({ ...accessKeyMembers, secret_key: Type.String({ description: 'Shown once, here.' }) }),
})
export const AccessKeysAnswer = pageOf({ access_keys: Type.Array(ShownAccessKey) })


export const SecurityTokenBody = Type.Object({
  auth: Type.Object({
    identity: Type.Object({
      methods: Type.Array(Type.String(), { minItems: 1, maxItems: 8 }),
      policy: Type.Optional(Type.Unknown()),
      token: Type.Optional(Type.Object({ id: Type.Optional(Type.String()), duration_seconds: Type.Optional(Type.Integer()) })),
    }),
  }),
})
export const SecurityTokenAnswer = Type.Object({
  credential: Type.Object({ access: Type.String(), secret: Type.String(), securitytoken: Type.String(), expires_at: Type.String() }),
})
