export { ManualClock } from './manual-clock.ts'
export { startTestService, type CallOptions, type TestAnswer, type TestService, type TestServiceOptions } from './test-service.ts'
