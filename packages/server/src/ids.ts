import { randomBytes, randomUUID } from 'node:crypto'

declare const idOf: unique symbol
type Id<Noun extends string> = string & { readonly [idOf]: Noun }

export type DomainId = Id<'domain'>
export type ProjectId = Id<'project'>
export type UserId = Id<'user'>
export type UserGroupId = Id<'user group'>
export type VaultId = Id<'vault'>
export type CheckpointId = Id<'checkpoint'>
export type BackupId = Id<'backup'>
export type ResourceId = Id<'resource'>
export type OperationLogId = Id<'operation log'>
export type JobId = Id<'job'>
export type EventId = Id<'event'>
export type VerificationId = Id<'verification'>
export type AgentId = Id<'agent'>
export type AgentPathId = Id<'agent path'>
export type PolicyId = Id<'policy'>
export type OrganizationPolicyId = Id<'organization policy'>
export type ServerId = Id<'server'>

/** Projects, users, groups and domains carry 32 hexadecimal digits, as Keystone and IAM write them. */
export type HexIdNoun = DomainId | ProjectId | UserId | UserGroupId | ServerId
export type UuidNoun = VerificationId | VaultId | CheckpointId | BackupId | ResourceId | OperationLogId | JobId | EventId | AgentId | AgentPathId | PolicyId | OrganizationPolicyId

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function newUuid<Noun extends UuidNoun>(): Noun {
  return randomUUID() as string as Noun
}

export function newHexId<Noun extends HexIdNoun>(): Noun {
  return randomBytes(16).toString('hex') as Noun
}

export function isUuid(text: string): boolean {
  return UUID.test(text)
}

/** Lower-case hexadecimal digits for made-up names such as `manualbk_7c1d`. */
export function randomHex(digits: number): string {
  return randomBytes(Math.ceil(digits / 2)).toString('hex').slice(0, digits)
}
