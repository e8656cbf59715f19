export * from './backups.ts'
export * from './identity.ts'
export * from './operation-logs.ts'
