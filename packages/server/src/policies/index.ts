export { bindBackupPolicy, bindPolicy, unbindPolicy, type Bound } from './bind-policy.ts'
export { addPolicy, createPolicy } from './create-policy.ts'
export { judgeVault, type JudgedBackup, type MadeBackup } from './judge-vault.ts'
export { deletePolicy } from './delete-policy.ts'
export { parseDefinition, scheduleOf } from './policy.ts'
export {
  changeBinding, changePolicy, deletePolicyRows, deletePolicyRowsOfVault, findBackupPolicyOf, findBinding, findPolicy, nextRunOf, type PolicyView,
} from './policy-store.ts'
export { policyToWire } from './policy-wire.ts'
export { countRuns, latestRun, nextRun, type Run } from './recurrence.ts'
export { expiryOf, goesByRank, openJudge, retentionOf, type Judge, type Retention } from './retention.ts'
export { listPolicies, showPolicy } from './show-policy.ts'
export { setPolicyTimeZone, updatePolicy } from './update-policy.ts'
