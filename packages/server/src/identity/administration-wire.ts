import type {
  AdministeredDomain, AdministeredProject, AdministeredUser, RoleAssignment, ShownAccessKey, ShownRole as WireRole, UserGroup,
} from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import type { ShownAssignment, ShownRole } from './administer-roles.ts'

export function domainToWire(row: Row<'domains'>): AdministeredDomain {
  return { id: row.id, name: row.name, description: row.description, enabled: row.enabled === 1, created_at: formatTime(row.created_at) }
}

export function projectToWire(row: Row<'projects'>): AdministeredProject {
  return { ...domainToWire({ ...row, id: row.domain_id }), id: row.id, domain_id: row.domain_id }
}

/** Without what it is proven with. */
export function userToWire(row: Row<'users'>): AdministeredUser {
  return { ...domainToWire({ ...row, id: row.domain_id }), id: row.id, domain_id: row.domain_id }
}

export function groupToWire(row: Row<'user_groups'>): UserGroup {
  return { id: row.id, name: row.name, description: row.description, domain_id: row.domain_id, created_at: formatTime(row.created_at) }
}

export function roleToWire(role: ShownRole): WireRole {
  return {
    id: role.id, name: role.name, description: role.description, domain_id: role.domainId, actions: [...role.actions], except: [...role.except],
  }
}

export function assignmentToWire(row: ShownAssignment): RoleAssignment {
  const [subjectKind, subjectId = ''] = row.subject.split(':')
  const [scopeKind, scopeId = ''] = row.scope.split(':')
  return {
    id: row.id,
    role: row.role,
    role_name: row.roleName,
    user_id: subjectKind === 'user' ? subjectId : null,
    group_id: subjectKind === 'group' ? subjectId : null,
    project_id: scopeKind === 'project' ? scopeId : null,
    domain_id: scopeKind === 'domain' ? scopeId : null,
    system: scopeKind === 'system',
    enterprise_project_ids: row.enterprise_project_ids === null ? null : JSON.parse(row.enterprise_project_ids) as string[],
    created_at: formatTime(row.created_at),
  }
}

export function accessKeyToWire(row: Row<'access_keys'>): ShownAccessKey {
  return {
    access_key: row.access_key, user_id: row.user_id, description: row.description, enabled: row.enabled === 1, created_at: formatTime(row.created_at),
  }
}
