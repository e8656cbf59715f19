/** Verifying backups and vaults; not a part of the cloud's API (`/x/v1`). */
import { Type, type Static } from 'typebox'

const Level = Type.Enum(['structure', 'sample', 'data', 'drill'], {
  type: 'string',
  description: 'structure: everything is there. sample, data: and a part of the content, or all of it, is read and is what it should be. drill: a backup is restored into a scratch directory, and compared there.',
})

export const VerifyBody = Type.Object({
  verification: Type.Object({
    level: Level,
    sample_percent: Type.Optional(Type.Integer({ minimum: 1, maximum: 99, description: 'At level sample, and mandatory there: the share to read, chosen anew each time.' })),
  }),
})
export type VerifyBody = Static<typeof VerifyBody>

const NullableText = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

export const VerificationFinding = Type.Object({
  severity: Type.Enum(['error', 'warning'], { type: 'string', description: 'A warning costs nothing but space or time.' }),
  code: Type.String(),
  message: Type.String(),
  path: NullableText('What is damaged, as an absolute path in the snapshot.'),
  pack_id: NullableText('The pack that is damaged.'),
  snapshot_id: NullableText('The snapshot that needs it.'),
})

export const Verification = Type.Object({
  id: Type.String(),
  project_id: Type.String(),
  vault_id: Type.String(),
  backup_id: NullableText('The backup that is verified; null when it is the vault.'),
  scope: Type.Enum(['backup', 'vault', 'scrub'], { type: 'string', description: 'scrub: the packs of the vault that were due.' }),
  level: Level,
  sample_percent: Type.Union([Type.Integer(), Type.Null()]),
  status: Type.Enum(['waiting', 'running', 'success', 'failed'], { type: 'string', description: 'failed when something is damaged, or it could not be looked.' }),
  progress: Type.Integer({ minimum: 0, maximum: 100, description: 'Percentage done.' }),
  whole: Type.Union([Type.Boolean(), Type.Null()], { description: 'Whether nothing is damaged, as far as the level looks; null while that is not known.' }),
  snapshots: Type.Integer({ minimum: 0, description: 'Snapshots that were looked at.' }),
  packs: Type.Integer({ minimum: 0, description: 'Packs of the vault; 0 for a backup.' }),
  packs_read: Type.Integer({ minimum: 0, description: 'Packs that were read whole.' }),
  bytes_read: Type.Integer({ minimum: 0, description: 'Of packs, or of the content of a backup.' }),
  findings_count: Type.Integer({ minimum: 0 }),
  findings: Type.Optional(Type.Array(VerificationFinding, { description: 'Errors first; at most 100. Not in lists.' })),
  error_info: Type.Object({ code: Type.String(), message: Type.String() }, { description: 'Both empty unless it failed.' }),
  request_id: Type.String({ description: 'Call that started it.' }),
  created_at: Type.String(),
  started_at: NullableText('Null while waiting.'),
  ended_at: NullableText('Null while not final.'),
})
export type Verification = Static<typeof Verification>

export const VerificationAnswer = Type.Object({ verification: Verification })

export const ListVerificationsQuery = Type.Object({
  vault_id: Type.Optional(Type.String({ description: 'Of this vault and its backups.' })),
  backup_id: Type.Optional(Type.String({ description: 'Of this backup.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row seen; wins over offset.' })),
})
export type ListVerificationsQuery = Static<typeof ListVerificationsQuery>

export const ListVerificationsAnswer = Type.Object({
  verifications: Type.Array(Verification),
  count: Type.Integer({ minimum: 0, description: 'Verifications that match, whatever the page.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})

export const VerificationParams = Type.Object({
  project_id: Type.String(),
  verification_id: Type.String({ description: 'Verification id.' }),
})

export const SetScrubBody = Type.Object({
  scrub: Type.Object({
    every_days: Type.Integer({ minimum: 1, maximum: 3650, description: 'Every byte of the vault is read at least once within so many days.' }),
  }),
})
export type SetScrubBody = Static<typeof SetScrubBody>

export const VaultScrub = Type.Object({
  vault_id: Type.String(),
  enabled: Type.Boolean(),
  every_days: Type.Union([Type.Integer(), Type.Null()]),
  next_run_at: NullableText('When the next share is due; null while none is.'),
  last_verification: Type.Union([Verification, Type.Null()], { description: 'The last run.' }),
})
export type VaultScrub = Static<typeof VaultScrub>

export const VaultScrubAnswer = Type.Object({ scrub: VaultScrub })
