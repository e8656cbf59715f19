/** Shares of backups: members, in the words of the contract. */
import { Type, type Static } from 'typebox'
import { MemberStatus } from './backups.ts'

const TextOrNull = Type.Union([Type.String(), Type.Null()])
const SORT_KEY = '(created_at|updated_at|status|dest_project_id|id)(:(asc|desc))?'

export const MembersParams = Type.Object({ project_id: Type.String(), backup_id: Type.String({ description: 'Backup id.' }) })
export const MemberParams = Type.Object({
  project_id: Type.String(),
  backup_id: Type.String({ description: 'Backup id.' }),
  member_id: Type.String({ description: 'Receiving project id (dest_project_id).' }),
})

export const ListMembersQuery = Type.Object({
  dest_project_id: Type.Optional(Type.String({ description: 'Receiving project.' })),
  image_id: Type.Optional(Type.String({ description: 'Image registered from the share.' })),
  status: Type.Optional(MemberStatus),
  vault_id: Type.Optional(Type.String({ description: 'Accepting vault (UUID).' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
  sort: Type.Optional(Type.String({
    maxLength: 255, pattern: `^${SORT_KEY}(,${SORT_KEY})*$`,
    description: 'Comma-separated key[:direction]; desc when no direction. Keys: created_at, updated_at, status, dest_project_id, id.',
  })),
})
export type ListMembersQuery = Static<typeof ListMembersQuery>

export const AddMembersBody = Type.Object({
  members: Type.Optional(Type.Array(Type.String({ description: 'Project id.' }), { minItems: 1, maxItems: 10, description: 'Receiving projects.' })),
  domains: Type.Optional(Type.Array(Type.String(), { description: 'Receiving accounts: a trial of the SDK, not supported here.' })),
})
export type AddMembersBody = Static<typeof AddMembersBody>

export const UpdateMemberBody = Type.Object({
  status: MemberStatus,
  vault_id: Type.Optional(Type.String({ description: 'Vault that takes the backup; needed with accepted, unused with rejected.' })),
})
export type UpdateMemberBody = Static<typeof UpdateMemberBody>

export const Member = Type.Object({
  id: Type.String({ description: 'Share record id (not the member id used in paths).' }),
  backup_id: Type.String(),
  dest_project_id: Type.String({ description: 'Receiving project; this is the member_id in paths.' }),
  status: MemberStatus,
  vault_id: TextOrNull,
  image_id: TextOrNull,
  created_at: Type.String(),
  updated_at: TextOrNull,
})
export type Member = Static<typeof Member>

export const MemberAnswer = Type.Object({ member: Member })
export const MembersAnswer = Type.Object({
  members: Type.Array(Member),
  count: Type.Integer({ minimum: 0, description: 'Number of members that match the filters, regardless of paging.' }),
})
export type MembersAnswer = Static<typeof MembersAnswer>

/** The account behind a project. */
export const SourceDomainAnswer = Type.Object({
  domain_id: Type.String(), domain_name: Type.String(), project_id: Type.String(), project_name: Type.String(),
})
