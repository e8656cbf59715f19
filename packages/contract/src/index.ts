export * from './backups.ts'
export * from './operation-logs.ts'
