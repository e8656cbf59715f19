export { exitCodes } from './exit-codes.ts'
export { buildProgram, runCommandLine } from './program.ts'
