export * from './storage.ts'
export * from './memory-storage.ts'
export * from './local-storage.ts'
export * from './with-faults.ts'
