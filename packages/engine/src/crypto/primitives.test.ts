import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createSealer } from './envelope.ts'
import { createPlainHashLanes, hashLanesAreSound } from './hash-lanes.ts'
import { loadNativePrimitives } from './native-primitives.ts'
import { portablePrimitives } from './portable-primitives.ts'
import { frameBytesMax } from './primitives.ts'
import type { Primitives } from './primitives.ts'

const native = loadNativePrimitives()

/** Memory in the middle of other memory, so that writing beside it shows. */
function island(length: number, shared: boolean): { bytes: Uint8Array; assertUntouchedAround: () => void } {
  const memory = new Uint8Array(shared ? new SharedArrayBuffer(length + 128) : new ArrayBuffer(length + 128)).fill(0xa5)
  return {
    bytes: memory.subarray(64, 64 + length),
    assertUntouchedAround: () => {
      assert(memory.subarray(0, 64).every((byte) => byte === 0xa5))
      assert(memory.subarray(64 + length).every((byte) => byte === 0xa5))
    },
  }
}

const data = fc.tuple(fc.oneof(fc.nat(600), fc.integer({ min: 60_000, max: 300_000 })), fc.nat(), fc.boolean()).map(([length, seed, compressible]) =>
  Uint8Array.from({ length }, (_, i) => (compressible ? i >>> 6 : Math.imul(i + 1, seed | 1) >>> 13)),
)
const key = { encrypt: new Uint8Array(32).fill(1), macK: new Uint8Array(16).fill(2), macR: new Uint8Array(16).fill(3) }

const kinds: [string, Primitives][] = [['portable', portablePrimitives]]
if (native !== undefined) kinds.push(['native', native])

test('the runtime of this project lets its libraries be called', () => {
  assert(native !== undefined)
})

for (const [kind, primitives] of kinds) {
  test(`${kind} primitives: hashes are those of SHA-256, and stay in their place`, () => {
    fc.assert(
      fc.property(data, fc.boolean(), (plaintext, shared) => {
        const hash = island(32, shared)
        primitives.writeHash(plaintext, hash.bytes)
        hash.assertUntouchedAround()
        assert.equal(Buffer.from(hash.bytes).toString('hex'), createHash('sha256').update(plaintext).digest('hex'))
      }),
      { numRuns: 60 },
    )
  })

  test(`${kind} primitives: hashes of messages beside each other are those of SHA-256, and each comes once`, () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.oneof(data, fc.nat(300).map((length) => new Uint8Array(length).fill(length))), fc.nat(20_000), fc.boolean()), { maxLength: 12 }), (messages) => {
        const lanes = primitives.createHashLanes()
        const found: string[][] = messages.map(() => [])
        for (const [i, [plaintext, step, shared]] of messages.entries()) {
          const message = island(plaintext.length, shared)
          message.bytes.set(plaintext)
          lanes.add(message.bytes, (hash) => found[i]?.push(Buffer.from(hash).toString('hex')))
          // Others may come in at any place of a message.
          if (step % 2 === 0) lanes.goOn(step)
        }
        lanes.finish()
        assert(!lanes.goOn(1))
        assert.deepEqual(found, messages.map(([plaintext]) => [createHash('sha256').update(plaintext).digest('hex')]))
      }),
      { numRuns: 60 },
    )
  })

  test(`${kind} primitives: messages go on although one that was told has thrown`, () => {
    const lanes = primitives.createHashLanes()
    const told: number[] = []
    const tell = (number: number) => () => {
      told.push(number)
      if (number === 1) throw new Error('told')
    }
    lanes.add(new Uint8Array(64), tell(0))
    assert.throws(() => {
      lanes.add(new Uint8Array(64), tell(1))
      lanes.finish()
    }, /told/)
    lanes.add(new Uint8Array(64), tell(2))
    lanes.finish()
    assert.deepEqual(told, [0, 1, 2])
  })

  test(`${kind} primitives: what was compressed decompresses to the same, at its exact length only`, () => {
    fc.assert(
      fc.property(data, fc.constantFrom(1, 3, 6), fc.boolean(), (plaintext, level, shared) => {
        const frame = island(frameBytesMax(plaintext.length), shared)
        const length = primitives.compress(plaintext, level, frame.bytes)
        frame.assertUntouchedAround()
        const stored = frame.bytes.slice(0, length)
        const target = island(plaintext.length, shared)
        assert(primitives.decompress(stored, target.bytes))
        target.assertUntouchedAround()
        assert.equal(Buffer.compare(target.bytes, plaintext), 0)
        assert(!primitives.decompress(stored, new Uint8Array(plaintext.length + 1)))
        if (plaintext.length > 0) {
          const short = island(plaintext.length - 1, shared)
          assert(!primitives.decompress(stored, short.bytes))
          short.assertUntouchedAround()
        }
        assert(!primitives.decompress(stored.subarray(0, -1), target.bytes))
        assert(!primitives.decompress(Buffer.from('not a frame'), target.bytes))
      }),
      { numRuns: 60 },
    )
  })

  test(`${kind} primitives: sealing in place stays in its place`, () => {
    fc.assert(
      fc.property(data, fc.boolean(), (plaintext, shared) => {
        const envelope = island(plaintext.length + 32, shared)
        envelope.bytes.set(plaintext, 16)
        createSealer(key, primitives).sealInPlace(envelope.bytes)
        envelope.assertUntouchedAround()
        for (const [, others] of kinds) {
          const opened = createSealer(key, others).open(envelope.bytes)
          assert(opened !== undefined && Buffer.compare(opened, plaintext) === 0)
        }
      }),
      { numRuns: 60 },
    )
  })
}

test('lanes that hash wrongly are noticed', () => {
  assert(hashLanesAreSound(portablePrimitives.createHashLanes()))
  const wrong = createPlainHashLanes((message, hash) => {
    portablePrimitives.writeHash(message, hash)
    if (message.length === 64) hash.reverse()
  })
  assert(!hashLanesAreSound(wrong))
})

test('frames of both kinds of primitives are the same to each other', () => {
  const plaintext = Buffer.from('a frame '.repeat(10_000))
  for (const [, writer] of kinds) {
    const frame = new Uint8Array(frameBytesMax(plaintext.length))
    const length = writer.compress(plaintext, 3, frame)
    for (const [, reader] of kinds) {
      const target = new Uint8Array(plaintext.length)
      assert(reader.decompress(frame.subarray(0, length), target))
      assert.equal(Buffer.compare(target, plaintext), 0)
    }
  }
})
