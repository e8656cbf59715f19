export { createCheckpoint, dueTimeToWire, startCheckpoint, type DueTime } from './create-checkpoint.ts'
export { moveCheckpoints, deleteEmptyCheckpoints, settleCheckpoint } from './checkpoint-store.ts'
export { checkpointToWire } from './checkpoint-wire.ts'
export { showCheckpoint } from './show-checkpoint.ts'
