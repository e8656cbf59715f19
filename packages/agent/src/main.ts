/**
 * The agent's process. The server starts it with an IPC channel and ends it through that channel;
 * when the channel breaks the server is dead, and going on could only collide with its successor.
 */
import { createAgent } from './agent.ts'
import type { FromAgent, ToAgent } from './protocol.ts'

if (process.send === undefined) {
  process.stderr.write('The agent is started by the server and does nothing by itself.\n')
  process.exit(2)
}

/** Resolves when everything sent so far is with the operating system. */
let sent: Promise<void> = Promise.resolve()

function send(message: FromAgent): void {
  const written = new Promise<void>((resolve) => {
    // An error means that the server is gone, and then the channel's end is on its way here.
    process.send?.(message, undefined, undefined, () => resolve())
  })
  sent = sent.then(() => written)
}

const agent = createAgent(send, (text) => process.stderr.write(`agent: ${text}\n`))

async function stop(): Promise<void> {
  await agent.stop()
  await sent
  process.exit(0)
}

process.on('message', (message) => {
  const known = message as ToAgent
  if (known.type === 'settings') setInterval(() => send({ type: 'alive', jobs: agent.listActivity() }), known.settings.aliveEveryMs)
  if (known.type === 'stop') void stop()
  else agent.receive(known)
})
process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => void stop())
// A terminal sends these to every process in it; the server hears them too and decides.
process.on('SIGINT', () => undefined)
process.on('SIGHUP', () => undefined)
