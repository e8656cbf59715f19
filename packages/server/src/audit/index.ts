export { boundAuditText, outcomeOf, type AuditEntry, type EndedAuditEntry } from './audit.ts'
export { listAllAudit, listAudit } from './list-audit.ts'
export { openAudit, type Audit } from './open-audit.ts'
