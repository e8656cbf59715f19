export { downloadFiles } from './download-files.ts'
export { listFiles } from './list-files.ts'
export { ReadFailure } from './read-failure.ts'
