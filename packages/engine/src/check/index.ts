export { checkRepository, verifySnapshot } from './check-repository.ts'
export type { CheckLevel, CheckOptions, CheckProgress, CheckResult, VerifyOptions, VerifyResult } from './check-repository.ts'
export { checkFindings } from './findings.ts'
export type { CheckFinding, CheckFindingCode } from './findings.ts'
