/** Administration of domains, projects, users, groups, roles and access keys. Errors have Keystone's form. */
import {
  AccessKeyAnswer, AccessKeyBody, AccessKeyChangeBody, AccessKeyQuery, AccessKeysAnswer, DomainAnswer, DomainBody, DomainChangeBody,
  DomainsAnswer, GroupAnswer, GroupBody, GroupsAnswer, NewAccessKeyAnswer, PageByNameQuery, PageInDomainQuery, ProjectAnswer, ProjectBody,
  ProjectChangeBody, ProjectsAnswer, RoleAnswer, RoleAssignmentAnswer, RoleAssignmentBody, RoleAssignmentQuery, RoleAssignmentsAnswer,
  RoleBody, RoleChangeBody, RolesAnswer, UserAnswer, UserBody, UserChangeBody, UsersAnswer,
} from '@opencbr/contract'
import { Type } from 'typebox'
import type { Deps } from '../../deps.ts'
import * as identity from '../../identity/index.ts'
import type { GroupView, Page } from '../../identity/index.ts'
import { identityOf, noContent, ok, route, type Answer, type Route } from '../route.ts'

type AdministrationDeps = Pick<Deps, 'db' | 'clock' | 'config' | 'secrets'>

const created = (body: unknown): Answer => ({ status: 201, body })
const administered = (action: string) => ({ access: { kind: 'administration', action: `identity:${action}` }, errors: 'identity' } as const)
const authenticated = { access: { kind: 'authenticated' }, errors: 'identity' } as const
const paramOf = <Name extends string>(name: Name) => Type.Object({ [name]: Type.String() } as Record<Name, ReturnType<typeof Type.String>>)

function pageToWire<Row>(member: string, { rows, count, limit, offset }: Page<Row>, toWire: (row: Row) => unknown): Answer {
  return ok({ [member]: rows.map(toWire), count, limit, offset })
}

export function administrationRoutes(deps: AdministrationDeps): Route[] {
  return [
    ...domainRoutes(deps), ...projectRoutes(deps), ...userRoutes(deps), ...groupRoutes(deps), ...roleRoutes(deps), ...assignmentRoutes(deps),
    ...accessKeyRoutes(deps),
  ]
}

function domainRoutes(deps: AdministrationDeps): Route[] {
  const [path, one] = ['/x/v1/domains', '/x/v1/domains/:domain_id']
  const params = paramOf('domain_id')
  const { domainToWire } = identity
  return [
    route({
      operationId: 'createDomain', method: 'POST', path, ...administered('domains:create'),
      summary: 'Create a domain: an account of its own, with projects and users',
      schemas: { body: DomainBody, response: { 201: DomainAnswer } },
      handle: async (call) => created({ domain: domainToWire(await identity.createDomain(deps, identityOf(call), call.body.domain)) }),
    }),
    route({
      operationId: 'listDomains', method: 'GET', path, ...administered('domains:list'), summary: 'List domains',
      schemas: { query: PageByNameQuery, response: { 200: DomainsAnswer } },
      handle: async (call) => pageToWire('domains', await identity.listAdministeredDomains(deps, identityOf(call), call.query), domainToWire),
    }),
    route({
      operationId: 'showDomainById', method: 'GET', path: one, ...administered('domains:get'), summary: 'Show a domain',
      schemas: { params, response: { 200: DomainAnswer } },
      handle: async (call) => ok({ domain: domainToWire(await identity.showDomainRow(deps, identityOf(call), call.params.domain_id)) }),
    }),
    route({
      operationId: 'updateDomain', method: 'PUT', path: one, ...administered('domains:update'), summary: 'Describe, disable or enable a domain',
      schemas: { params, body: DomainChangeBody, response: { 200: DomainAnswer } },
      handle: async (call) => ok({ domain: domainToWire(await identity.updateDomain(deps, identityOf(call), call.params.domain_id, call.body.domain)) }),
    }),
    route({
      operationId: 'deleteDomain', method: 'DELETE', path: one, ...administered('domains:delete'), summary: 'Delete an empty domain',
      schemas: { params },
      async handle(call) {
        await identity.deleteDomain(deps, identityOf(call), call.params.domain_id)
        return noContent
      },
    }),
  ]
}

function projectRoutes(deps: AdministrationDeps): Route[] {
  const [path, one] = ['/x/v1/projects', '/x/v1/projects/:project']
  // Not `project_id`: that names the project in which a call acts.
  const params = paramOf('project')
  const { projectToWire } = identity
  return [
    route({
      operationId: 'createProject', method: 'POST', path, ...administered('projects:create'), summary: 'Create a project',
      schemas: { body: ProjectBody, response: { 201: ProjectAnswer } },
      handle: async (call) => created({ project: projectToWire(await identity.createProject(deps, identityOf(call), call.body.project)) }),
    }),
    route({
      operationId: 'listAdministeredProjects', method: 'GET', path, ...administered('projects:list'), summary: 'List projects that one administers',
      schemas: { query: PageInDomainQuery, response: { 200: ProjectsAnswer } },
      handle: async (call) => pageToWire('projects', await identity.listAdministeredProjects(deps, identityOf(call), call.query), projectToWire),
    }),
    route({
      operationId: 'showProject', method: 'GET', path: one, ...administered('projects:get'), summary: 'Show a project',
      schemas: { params, response: { 200: ProjectAnswer } },
      handle: async (call) => ok({ project: projectToWire(await identity.showProjectRow(deps, identityOf(call), call.params.project)) }),
    }),
    route({
      operationId: 'updateProject', method: 'PUT', path: one, ...administered('projects:update'), summary: 'Describe, disable or enable a project',
      schemas: { params, body: ProjectChangeBody, response: { 200: ProjectAnswer } },
      handle: async (call) => ok({ project: projectToWire(await identity.updateProject(deps, identityOf(call), call.params.project, call.body.project)) }),
    }),
    route({
      operationId: 'deleteProject', method: 'DELETE', path: one, ...administered('projects:delete'),
      summary: 'Delete a project without vaults and resources',
      schemas: { params },
      async handle(call) {
        await identity.deleteProject(deps, identityOf(call), call.params.project)
        return noContent
      },
    }),
  ]
}

function userRoutes(deps: AdministrationDeps): Route[] {
  const [path, one] = ['/x/v1/users', '/x/v1/users/:user_id']
  const params = paramOf('user_id')
  const { userToWire } = identity
  return [
    route({
      operationId: 'createUser', method: 'POST', path, ...administered('users:create'), summary: 'Create a user; it has no role yet',
      schemas: { body: UserBody, response: { 201: UserAnswer } },
      handle: async (call) => created({ user: userToWire(await identity.createUser(deps, identityOf(call), call.body.user)) }),
    }),
    route({
      operationId: 'listAdministeredUsers', method: 'GET', path, ...administered('users:list'), summary: 'List users that one administers',
      schemas: { query: PageInDomainQuery, response: { 200: UsersAnswer } },
      handle: async (call) => pageToWire('users', await identity.listAdministeredUsers(deps, identityOf(call), call.query), userToWire),
    }),
    route({
      operationId: 'showUser', method: 'GET', path: one, ...administered('users:get'), summary: 'Show a user',
      schemas: { params, response: { 200: UserAnswer } },
      handle: async (call) => ok({ user: userToWire(await identity.showUserRow(deps, identityOf(call), call.params.user_id)) }),
    }),
    route({
      operationId: 'updateUser', method: 'PUT', path: one, ...administered('users:update'),
      summary: 'Describe, disable or enable a user, or give it another password',
      schemas: { params, body: UserChangeBody, response: { 200: UserAnswer } },
      handle: async (call) => ok({ user: userToWire(await identity.updateUser(deps, identityOf(call), call.params.user_id, call.body.user)) }),
    }),
    route({
      operationId: 'deleteUser', method: 'DELETE', path: one, ...administered('users:delete'), summary: 'Delete a user with its access keys',
      schemas: { params },
      async handle(call) {
        await identity.deleteUser(deps, identityOf(call), call.params.user_id)
        return noContent
      },
    }),
  ]
}

function groupRoutes(deps: AdministrationDeps): Route[] {
  const [path, one, member] = ['/x/v1/groups', '/x/v1/groups/:group_id', '/x/v1/groups/:group_id/users/:user_id']
  const params = paramOf('group_id')
  const memberParams = Type.Object({ group_id: Type.String(), user_id: Type.String() })
  const { groupToWire } = identity
  const viewToWire = ({ group, userIds }: GroupView) => ({ ...groupToWire(group), user_ids: userIds })
  return [
    route({
      operationId: 'createGroup', method: 'POST', path, ...administered('groups:create'), summary: 'Create a group of users',
      schemas: { body: GroupBody, response: { 201: GroupAnswer } },
      async handle(call) {
        const group = await identity.createGroup(deps, identityOf(call), call.body.group)
        return created({ group: viewToWire({ group, userIds: [] }) })
      },
    }),
    route({
      operationId: 'listGroups', method: 'GET', path, ...administered('groups:list'), summary: 'List groups',
      schemas: { query: PageInDomainQuery, response: { 200: GroupsAnswer } },
      handle: async (call) => pageToWire('groups', await identity.listAdministeredGroups(deps, identityOf(call), call.query), groupToWire),
    }),
    route({
      operationId: 'showGroup', method: 'GET', path: one, ...administered('groups:get'), summary: 'Show a group and who is in it',
      schemas: { params, response: { 200: GroupAnswer } },
      handle: async (call) => ok({ group: viewToWire(await identity.showGroup(deps, identityOf(call), call.params.group_id)) }),
    }),
    route({
      operationId: 'deleteGroup', method: 'DELETE', path: one, ...administered('groups:delete'), summary: 'Delete a group; its users stay',
      schemas: { params },
      async handle(call) {
        await identity.deleteGroup(deps, identityOf(call), call.params.group_id)
        return noContent
      },
    }),
    route({
      operationId: 'addGroupUser', method: 'PUT', path: member, ...administered('groups:update'), summary: 'Put a user into a group',
      schemas: { params: memberParams },
      async handle(call) {
        await identity.addGroupUser(deps, identityOf(call), call.params.group_id, call.params.user_id)
        return noContent
      },
    }),
    route({
      operationId: 'removeGroupUser', method: 'DELETE', path: member, ...administered('groups:update'), summary: 'Take a user out of a group',
      schemas: { params: memberParams },
      async handle(call) {
        await identity.removeGroupUser(deps, identityOf(call), call.params.group_id, call.params.user_id)
        return noContent
      },
    }),
  ]
}

function roleRoutes(deps: AdministrationDeps): Route[] {
  const [path, one] = ['/x/v1/roles', '/x/v1/roles/:role_id']
  const params = paramOf('role_id')
  const { roleToWire } = identity
  return [
    route({
      operationId: 'createRole', method: 'POST', path, ...administered('roles:create'), summary: 'Create a role: a list of actions',
      schemas: { body: RoleBody, response: { 201: RoleAnswer } },
      handle: async (call) => created({ role: roleToWire(await identity.createRole(deps, identityOf(call), call.body.role)) }),
    }),
    route({
      operationId: 'listRoles', method: 'GET', path, ...administered('roles:list'), summary: 'List roles, the built-in ones apart',
      schemas: { query: PageInDomainQuery, response: { 200: RolesAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await identity.listRoles(deps, identityOf(call), call.query)
        return ok({ built_in: identity.listBuiltInRoles().map(roleToWire), roles: rows.map(roleToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'showRole', method: 'GET', path: one, ...administered('roles:get'), summary: 'Show a role',
      schemas: { params, response: { 200: RoleAnswer } },
      handle: async (call) => ok({ role: roleToWire(await identity.showRole(deps, identityOf(call), call.params.role_id)) }),
    }),
    route({
      operationId: 'updateRole', method: 'PUT', path: one, ...administered('roles:update'), summary: 'Change what a role allows',
      schemas: { params, body: RoleChangeBody, response: { 200: RoleAnswer } },
      handle: async (call) => ok({ role: roleToWire(await identity.updateRole(deps, identityOf(call), call.params.role_id, call.body.role)) }),
    }),
    route({
      operationId: 'deleteRole', method: 'DELETE', path: one, ...administered('roles:delete'), summary: 'Delete a role that nobody has',
      schemas: { params },
      async handle(call) {
        await identity.deleteRole(deps, identityOf(call), call.params.role_id)
        return noContent
      },
    }),
  ]
}

function assignmentRoutes(deps: AdministrationDeps): Route[] {
  const path = '/x/v1/role-assignments'
  const { assignmentToWire } = identity
  return [
    route({
      operationId: 'assignRole', method: 'POST', path, ...administered('roleAssignments:create'),
      summary: 'Give a user or a group a role in a project, a domain or the system',
      schemas: { body: RoleAssignmentBody, response: { 201: RoleAssignmentAnswer } },
      handle: async (call) => created({
        role_assignment: assignmentToWire(await identity.assignRole(deps, identityOf(call), call.body.role_assignment)),
      }),
    }),
    route({
      operationId: 'listRoleAssignments', method: 'GET', path, ...administered('roleAssignments:list'), summary: 'List who has which role where',
      schemas: { query: RoleAssignmentQuery, response: { 200: RoleAssignmentsAnswer } },
      handle: async (call) => pageToWire('role_assignments', await identity.listAssignments(deps, identityOf(call), call.query), assignmentToWire),
    }),
    route({
      operationId: 'unassignRole', method: 'DELETE', path: `${path}/:role_assignment_id`, ...administered('roleAssignments:delete'),
      summary: 'Take a role away; it ends with the next call',
      schemas: { params: paramOf('role_assignment_id') },
      async handle(call) {
        await identity.unassignRole(deps, identityOf(call), call.params.role_assignment_id)
        return noContent
      },
    }),
  ]
}

/** Everybody manages the own keys; those of others take the action `identity:keys:…`. */
function accessKeyRoutes(deps: AdministrationDeps): Route[] {
  const [path, one] = ['/x/v1/access-keys', '/x/v1/access-keys/:access_key']
  const params = paramOf('access_key')
  const { accessKeyToWire } = identity
  return [
    route({
      operationId: 'createAccessKey', method: 'POST', path, ...authenticated, summary: 'Create an access key; its secret is shown once',
      schemas: { body: AccessKeyBody, response: { 201: NewAccessKeyAnswer } },
      async handle(call) {
        const { key, secretKey } = await identity.createAccessKey(deps, identityOf(call), call.body.access_key)
        return created({ access_key: { ...accessKeyToWire(key), secret_key: secretKey } })
      },
    }),
    route({
      operationId: 'listAccessKeys', method: 'GET', path, ...authenticated, summary: 'List access keys of the caller or of another user',
      schemas: { query: AccessKeyQuery, response: { 200: AccessKeysAnswer } },
      handle: async (call) => pageToWire('access_keys', await identity.listAccessKeys(deps, identityOf(call), call.query), accessKeyToWire),
    }),
    route({
      operationId: 'updateAccessKey', method: 'PUT', path: one, ...authenticated, summary: 'Describe, disable or enable an access key',
      schemas: { params, body: AccessKeyChangeBody, response: { 200: AccessKeyAnswer } },
      handle: async (call) => ok({
        access_key: accessKeyToWire(await identity.updateAccessKey(deps, identityOf(call), call.params.access_key, call.body.access_key)),
      }),
    }),
    route({
      operationId: 'deleteAccessKey', method: 'DELETE', path: one, ...authenticated, summary: 'Delete an access key; it ends with the next call',
      schemas: { params },
      async handle(call) {
        await identity.deleteAccessKey(deps, identityOf(call), call.params.access_key)
        return noContent
      },
    }),
  ]
}
