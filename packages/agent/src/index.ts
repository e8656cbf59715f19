import { fileURLToPath } from 'node:url'

/** The program that the server runs in a process of its own, with an IPC channel and advanced serialisation. */
export const agentProgramPath = fileURLToPath(new URL('./main.ts', import.meta.url))

/** The program that reads backups for the server, likewise. */
export const readerProgramPath = fileURLToPath(new URL('./reader-main.ts', import.meta.url))

export * from './reader-protocol.ts'
export { isAllowedDestination, resolveAllowedPath, type PathRules } from './allowed-path.ts'
export * from './protocol.ts'
export { inspectPath, type InspectedPath, type InspectedType, type InspectOptions, type PathRefusal } from './inspect-path.ts'
