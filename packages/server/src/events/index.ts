export type { EventKind, NewEvent } from './event.ts'
export { deleteEvents, hasUndispatched, listUndispatched, markDispatched, recordEvent } from './event-store.ts'
export { eventToWire, listEvents } from './list-events.ts'
