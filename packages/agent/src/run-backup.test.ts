import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Failure } from '@opencbr/engine'
import { boundSource } from './bound-source.ts'
import type { RoomRequest } from './protocol.ts'
import { runBackup } from './run-backup.ts'
import type { AskForRoom } from './secure-room.ts'
import { withBench } from './test-bench.ts'
import { measureVault } from './vault-repository.ts'

const MB = 1024 ** 2

function isOverCapacity(error: unknown): boolean {
  return error instanceof Failure && error.code === 'storage.over_capacity'
}

/** Grants what is asked for, and asks for a dry pass before. */
function grantingMeasured(asked: RoomRequest[]): AskForRoom {
  return async (request) => {
    asked.push(request)
    return request.measured ? { kind: 'granted', bytes: request.neededBytes } : { kind: 'measure', freeBytes: undefined }
  }
}

const refuse: AskForRoom = async ({ measured }) => (measured ? { kind: 'refused', freeBytes: 1 } : { kind: 'measure', freeBytes: undefined })

test('a dry pass counts what the run then adds, for first runs and later ones', () => withBench(async ({ source, job, context }) => {
  for (let n = 0; n < 40; n += 1) await fs.writeFile(join(source, `f${n}`), n % 2 === 0 ? randomBytes(MB) : 'a line of text\n'.repeat(50_000 + n))
  const asked: RoomRequest[] = []
  const percents: number[] = []
  assert.equal((await runBackup(job, context, grantingMeasured(asked), (percent) => percents.push(percent))).whole, true)
  assert.deepEqual(percents, percents.toSorted((a, b) => a - b))
  const used = await measureVault(job.vault)
  const [bound, counted] = asked.map(({ neededBytes }) => neededBytes)
  assert.ok(bound !== undefined && counted !== undefined)
  assert.ok(used <= counted && counted - used < 16 * 1024, `${counted} were counted, ${used} are stored`)
  assert.ok(bound > 34 * MB && bound > counted)

  await fs.rename(join(source, 'f0'), join(source, 'g0'))
  await fs.writeFile(join(source, 'f2'), randomBytes(MB))
  const later = { ...job, backupId: randomUUID(), checkpointId: randomUUID(), vault: { ...job.vault, repositoryExpected: true } }
  await runBackup(later, context, grantingMeasured(asked), () => undefined)
  const added = await measureVault(job.vault) - used
  const { neededBytes } = asked.at(-1) ?? { neededBytes: 0 }
  assert.ok(added <= neededBytes && neededBytes - added < 16 * 1024, `${neededBytes} were counted, ${added} are stored`)

  // Done already: nothing is asked for.
  const before = asked.length
  await runBackup(later, context, grantingMeasured(asked), () => undefined)
  assert.equal(asked.length, before)
}))

test('what has grown since it was measured is stopped at the pack that would not fit', () => withBench(async ({ source, job, context }) => {
  await fs.writeFile(join(source, 'log'), randomBytes(4 * MB))
  let granted = 0
  const ask: AskForRoom = async ({ neededBytes }) => {
    await fs.appendFile(join(source, 'log'), randomBytes(40 * MB))
    granted = neededBytes
    return { kind: 'granted', bytes: granted }
  }
  await assert.rejects(runBackup(job, context, ask, () => undefined), isOverCapacity)
  assert.ok(await measureVault(job.vault) <= granted)
}))

test('a run that is refused has read all there is, and has written nothing', () => withBench(async ({ source, job, context }) => {
  await fs.writeFile(join(source, 'noise'), randomBytes(4 * MB))
  await assert.rejects(runBackup(job, context, refuse, () => undefined), isOverCapacity)
  await assert.rejects(fs.stat(job.vault.address), { code: 'ENOENT' })
}))

test('no source takes up more than its bound', () => withBench(async ({ source, job, context }) => {
  // What costs most beside its content: names that are written as escapes, tiny files, and chunks of noise.
  const worst = Buffer.alloc(251, 0xff)
  for (let n = 0; n < 300; n += 1) await fs.writeFile(Buffer.concat([Buffer.from(`${source}/`), worst, Buffer.from(String(n).padStart(4, '0'))]), randomBytes(1 + n % 3))
  await fs.writeFile(join(source, 'noise'), randomBytes(9 * MB + 1))
  await fs.mkdir(join(source, 'deep/er'), { recursive: true })
  const bound = await boundSource(job.source, context.signal)
  await runBackup(job, context, async () => ({ kind: 'granted', bytes: bound }), () => undefined)
  assert.ok(await measureVault(job.vault) <= bound)
  assert.ok(bound < 14 * MB)
  const image = join(source, 'noise')
  assert.ok(await boundSource({ kind: 'disk', path: image }, context.signal) > 9 * MB)
}))
