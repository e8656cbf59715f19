export { listOperationLogs } from './list-operation-logs.ts'
export {
  operationRequestId, type FinalOperationStatus, type NewOperationLog, type OperationError, type OperationParts,
  type OperationPartsChange, type OperationVault,
} from './operation-log.ts'
export {
  advanceOperation, deleteOperationLogs, describeOperation, findOperationLog, finishOperation, getOperationOfRequest, insertOperationLog,
  parseOperationParts, startOperation,
} from './operation-log-store.ts'
export { operationLogToWire } from './operation-log-wire.ts'
export { showOperationLog } from './show-operation-log.ts'
