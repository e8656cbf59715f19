import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createAgent } from './agent.ts'
import type { FromAgent } from './protocol.ts'
import { withBench } from './test-bench.ts'

/** What an agent says, each kind in its order; `next` waits for one more of a kind. */
function listen() {
  const said: FromAgent[] = []
  const waiting: { type: FromAgent['type'], resolve: (message: FromAgent) => void }[] = []
  return {
    send(message: FromAgent): void {
      said.push(message)
      const place = waiting.findIndex((each) => each.type === message.type)
      if (place !== -1) waiting.splice(place, 1)[0]?.resolve(message)
    },
    next: (type: FromAgent['type']) => new Promise<FromAgent>((resolve) => {
      waiting.push({ type, resolve })
    }),
    leases: () => said.filter((message) => message.type === 'lease').map((message) => message.places),
  }
}

test('an agent asks for as many jobs as it has free places, and for none when all are taken', () => withBench(async ({ source, job, context }) => {
  await fs.writeFile(join(source, 'file'), 'content')
  const { send, next, leases } = listen()
  const agent = createAgent(send, () => undefined)
  agent.receive({ type: 'settings', settings: { ...context.settings, jobsMax: 2 } })
  assert.deepEqual(leases(), [2])
  // A backup waits for room until it is answered, so it stays as long as it is wanted here.
  const [one, two] = ['one', 'two'].map((jobId) => ({ ...job, jobId, backupId: randomUUID(), vault: { ...job.vault, vaultId: randomUUID() } }))
    .map((each) => ({ ...each, vault: { ...each.vault, address: job.vault.address.replace(job.vault.vaultId, each.vault.vaultId) } }))
  assert.ok(one !== undefined && two !== undefined)
  let asked = next('room')
  agent.receive({ type: 'assign', assignments: [one] })
  await asked
  agent.receive({ type: 'wake' })
  assert.deepEqual(leases(), [2, 1])
  asked = next('room')
  agent.receive({ type: 'assign', assignments: [two] })
  await asked
  agent.receive({ type: 'wake' })
  assert.deepEqual(leases(), [2, 1])

  const ended = next('end')
  const leased = next('lease')
  agent.receive({ type: 'room', jobId: 'one', answer: { kind: 'granted', bytes: undefined } })
  const end = await ended
  assert.ok(end.type === 'end' && end.jobId === 'one' && end.end.type === 'done')
  await leased
  assert.deepEqual(leases(), [2, 1, 1])

  // One that waits for an answer hears that it is to stop.
  const stopped = next('end')
  agent.receive({ type: 'cancel', jobId: 'two' })
  const cancelled = await stopped
  assert.ok(cancelled.type === 'end' && cancelled.jobId === 'two' && cancelled.end.type === 'cancelled')
  await agent.stop()
}))
