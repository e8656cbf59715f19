export { ManualClock } from './manual-clock.ts'
export { startTestService, type CallOptions, type TestAnswer, type TestService, type TestServiceOptions } from './test-service.ts'
export { startPostgresServer, type PostgresServer } from './postgres-server.ts'
export { chooseTestDatabase, makePostgresDatabase, runsOnPostgres, type PostgresDatabase, type TestDatabase } from './test-database.ts'
