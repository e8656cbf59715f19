import {
  AddMembersBody, ListMembersQuery, MemberAnswer, MemberParams, MembersAnswer, MembersParams, SourceDomainAnswer, UpdateMemberBody,
} from '@opencbr/contract'
import { Type } from 'typebox'
import type { Deps } from '../../deps.ts'
import { listProjects } from '../../identity/index.ts'
import { addMembers, deleteMember, listMembers, memberToWire, showMember, showSourceDomain, updateMember } from '../../members/index.ts'
import { identityOf, noContent, ok, projectOf, route, type Route } from '../route.ts'

const LIST = '/v3/:project_id/backups/:backup_id/members'
const ONE = `${LIST}/:member_id`

export function memberRoutes(deps: Pick<Deps, 'db' | 'clock' | 'config'>): Route[] {
  return [
    route({
      operationId: 'showMembersDetail',
      method: 'GET',
      path: LIST,
      access: { kind: 'project', action: 'cbr:member:list' },
      summary: 'List shares of a backup',
      schemas: { params: MembersParams, query: ListMembersQuery, response: { 200: MembersAnswer } },
      async handle(call) {
        const { rows, count } = await listMembers(deps, projectOf(call).id, call.params.backup_id, call.query)
        return ok({ members: rows.map(memberToWire), count })
      },
    }),
    route({
      operationId: 'addMember',
      method: 'POST',
      path: LIST,
      access: { kind: 'project', action: 'cbr:member:create' },
      summary: 'Share a backup',
      schemas: { params: MembersParams, body: AddMembersBody, response: { 200: MembersAnswer } },
      async handle(call) {
        const rows = await addMembers(deps, projectOf(call).id, call.params.backup_id, call.body)
        return ok({ members: rows.map(memberToWire), count: rows.length })
      },
    }),
    route({
      operationId: 'showMemberDetail',
      method: 'GET',
      path: ONE,
      access: { kind: 'project', action: 'cbr:member:get' },
      summary: 'Show a share',
      schemas: { params: MemberParams, response: { 200: MemberAnswer } },
      handle: async (call) => ok({
        member: memberToWire(await showMember(deps, projectOf(call).id, call.params.backup_id, call.params.member_id)),
      }),
    }),
    route({
      operationId: 'updateMemberStatus',
      method: 'PUT',
      path: ONE,
      access: { kind: 'project', action: 'cbr:member:update' },
      summary: 'Accept or reject a share',
      schemas: { params: MemberParams, body: UpdateMemberBody, response: { 200: MemberAnswer } },
      handle: async (call) => ok({
        member: memberToWire(await updateMember(deps, projectOf(call).id, call.params.backup_id, call.params.member_id, call.body)),
      }),
    }),
    route({
      operationId: 'deleteMember',
      method: 'DELETE',
      path: ONE,
      access: { kind: 'project', action: 'cbr:member:delete' },
      summary: 'Withdraw a share',
      schemas: { params: MemberParams },
      async handle(call) {
        await deleteMember(deps, projectOf(call).id, call.params.backup_id, call.params.member_id)
        return noContent
      },
    }),
    route({
      operationId: 'showDomain',
      method: 'GET',
      path: '/v3/domain/:source_project_id',
      access: { kind: 'authenticated' },
      summary: 'Show the account of a project that shares with the caller',
      schemas: { params: Type.Object({ source_project_id: Type.String() }), response: { 200: SourceDomainAnswer } },
      async handle(call) {
        const identity = identityOf(call)
        const projects = identity.isTemporary ? [identity.project].filter((each) => each !== undefined) : await listProjects(deps, identity, {})
        const source = await showSourceDomain(deps, projects.map((project) => project.id), call.params.source_project_id)
        return ok({
          domain_id: source.domainId, domain_name: source.domainName, project_id: source.projectId, project_name: source.projectName,
        })
      },
    }),
  ]
}
