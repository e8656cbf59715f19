/** Events: what happened by itself and a person may want to know of; not a part of the cloud's API (`/x/v1`). */
import { Type, type Static } from 'typebox'

export const EVENT_KINDS = [
  'vault.threshold_reached', 'vault.expanded', 'vault.resources_bound', 'vault.binding_failed', 'vault.damaged', 'task.failed',
] as const

export const ListEventsQuery = Type.Object({
  kind: Type.Optional(Type.String({ description: 'Only events of this kind.' })),
  vault_id: Type.Optional(Type.String({ description: 'Only events about this vault.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  marker: Type.Optional(Type.String({ description: 'Id of the last row of the previous page; takes precedence over offset.' })),
})
export type ListEventsQuery = Static<typeof ListEventsQuery>

const TextOrNull = Type.Union([Type.String(), Type.Null()])

export const Event = Type.Object({
  id: Type.String(),
  kind: Type.String({ description: 'What happened, for programs: vault.expanded.' }),
  project_id: Type.String(),
  vault_id: TextOrNull,
  vault_name: TextOrNull,
  resource_id: TextOrNull,
  message: Type.String({ description: 'What happened, for people.' }),
  facts: Type.Record(Type.String(), Type.Unknown(), { description: 'By kind.' }),
  created_at: Type.String(),
})
export type Event = Static<typeof Event>

export const ListEventsAnswer = Type.Object({
  events: Type.Array(Event),
  count: Type.Integer({ minimum: 0, description: 'Events that match the filters, whatever the page.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})
