export { createAccessKey, createTemporaryKey, deleteAccessKey, listAccessKeys, updateAccessKey } from './access-keys.ts'
export {
  createDomain, createProject, deleteDomain, deleteProject, listAdministeredDomains, listAdministeredProjects, showDomainRow, showProjectRow,
  updateDomain, updateProject,
} from './administer-domains.ts'
export {
  assignRole, createRole, deleteRole, listAssignments, listBuiltInRoles, listRoles, showRole, unassignRole, updateRole,
} from './administer-roles.ts'
export {
  addGroupUser, changePassword, createGroup, createUser, deleteGroup, deleteUser, listAdministeredGroups, listAdministeredUsers, removeGroupUser,
  showGroup, showUserRow, updateUser, type GroupView,
} from './administer-users.ts'
export {
  accessKeyToWire, assignmentToWire, domainToWire, groupToWire, projectToWire, roleToWire, userToWire,
} from './administration-wire.ts'
export { authenticate, type Refused, type SignedRequest } from './authenticate.ts'
export { openKeystoneAuthenticator, type OutsideIdentity } from './authenticate-keystone.ts'
export { bootstrapPath, makeBootstrapUser, updateBootstrapEndpoint, type Bootstrap } from './bootstrap.ts'
export { confine, type ConfinedCall } from './confine.ts'
export { createToken } from './create-token.ts'
export { describeToken, revokeToken } from './describe-token.ts'
export { administrationOf, enterpriseProjectsFor, mayInProject, type Identity } from './identity.ts'
export { IdentityFailure, type NamedUser } from './identity-failure.ts'
export { catalogListToWire, domainsToWire, projectsToWire, tokenToWire, usersToWire, type CatalogContext } from './identity-wire.ts'
export { listDomainProjects, listDomains, listProjects, listUsers } from './list-identity.ts'
export { openLoginThrottle, type LoginThrottle } from './login-throttle.ts'
export type { Page } from './named-store.ts'
export { builtInRoles, permits } from './role.ts'
export { recallTokenText } from './token-memory.ts'
