/**
 * The reader's process: opens vaults to show what is in backups, so that neither the server nor the
 * agent's jobs are held up by it. The server starts it with an IPC channel, and it ends with that.
 */
import type { FromReader, ToReader } from './reader-protocol.ts'
import { createReader } from './reader/reader.ts'

if (process.send === undefined) {
  process.stderr.write('The reader is started by the server and does nothing by itself.\n')
  process.exit(2)
}

const reader = createReader(
  // An error means that the server is gone, and then the channel's end is on its way here.
  (message: FromReader) => void process.send?.(message, undefined, undefined, () => undefined),
  (text) => process.stderr.write(`reader: ${text}\n`),
)

process.on('message', (message) => reader.receive(message as ToReader))
process.on('disconnect', () => process.exit(0))
// A terminal sends these to every process in it; the server hears them too and decides.
process.on('SIGINT', () => undefined)
process.on('SIGHUP', () => undefined)
