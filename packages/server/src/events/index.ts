export type { EventKind, NewEvent } from './event.ts'
export { deleteEvents, recordEvent } from './event-store.ts'
export { eventToWire, listEvents } from './list-events.ts'
