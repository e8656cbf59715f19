import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isDeadPredecessor, lockHostname } from './lock-owner.ts'

const installation = 'ab12'

/** Our own lock name with other numbers in it. */
function nameOf(change: { pid?: number, startedAt?: string, boot?: string, namespace?: string }): string {
  const [, , boot, namespace, pid, startedAt] = lockHostname(installation).split('-')
  return `cbr-${installation}-${change.boot ?? boot}-${change.namespace ?? namespace}-${change.pid ?? pid}-${change.startedAt ?? startedAt}-opencbr-0011`
}

test('a running process is never taken for dead', () => {
  assert.equal(isDeadPredecessor(installation, lockHostname(installation)), false)
  assert.equal(isDeadPredecessor(installation, nameOf({})), false)
})

test('a process that has ended is dead, and so is one whose id another process has now', async () => {
  const child = spawn('sleep', ['60'])
  assert.ok(child.pid !== undefined)
  const started = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(' ')[21]
  assert.ok(started !== undefined)
  const name = nameOf({ pid: child.pid, startedAt: started })
  assert.equal(isDeadPredecessor(installation, name), false)
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
  assert.equal(isDeadPredecessor(installation, name), true)
  assert.equal(isDeadPredecessor(installation, nameOf({ startedAt: '1' })), true)
})

test('an agent of an earlier boot or another container of this deployment is dead', () => {
  assert.equal(isDeadPredecessor(installation, nameOf({ boot: 'ff' })), true)
  assert.equal(isDeadPredecessor(installation, nameOf({ namespace: '1' })), true)
})

test('where servers share a catalogue, an agent of another boot may be a living fellow, and one of this boot may not', () => {
  assert.equal(isDeadPredecessor(installation, nameOf({ boot: 'ff' }), { hasFellows: true }), false)
  assert.equal(isDeadPredecessor(installation, nameOf({ namespace: '1' }), { hasFellows: true }), false)
  assert.equal(isDeadPredecessor(installation, nameOf({ startedAt: '1' }), { hasFellows: true }), true)
})

test('nothing is known of anybody else', () => {
  assert.equal(isDeadPredecessor('cd34', nameOf({ startedAt: '1' })), false)
  for (const name of ['backup-host', '', 'cbr-', `x${nameOf({ startedAt: '1' })}`]) assert.equal(isDeadPredecessor(installation, name), false, name)
})
