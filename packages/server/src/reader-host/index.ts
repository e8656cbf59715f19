export { openReaderHost } from './reader-host.ts'
