export { listProtectables, showProtectable } from './list-protectables.ts'
export { protectableToWire } from './protectable-wire.ts'
