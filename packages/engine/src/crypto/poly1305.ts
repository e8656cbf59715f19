import {
  DATA_AT, DATA_BYTES, instantiatePoly1305, LAST_POWERS_AT, POWER_AT, R_AT, S_AT, TAG_AT,
} from './poly1305-module.ts'

const PRIME = (1n << 130n) - 5n
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn
const LIMB_MASK = (1n << 26n) - 1n
const GROUP_BYTES = 64
/** Groups of 64 bytes at a time, with room for the padding behind the last piece. */
const PIECE_BYTES = DATA_BYTES - (DATA_BYTES % GROUP_BYTES) - GROUP_BYTES

/** Limbs 0 to 4 of a number, then five times limbs 1 to 4. */
function factors(number: bigint): bigint[] {
  const limbs = [0n, 1n, 2n, 3n, 4n].map((limb) => (number >> (26n * limb)) & LIMB_MASK)
  return [...limbs, ...limbs.slice(1).map((limb) => limb * 5n)]
}

/** A Poly1305 with one multiplier for many messages, as Poly1305-AES has it. */
export interface Poly1305 {
  /** Writes the tag of a message under `r ‖ s` into 16 bytes; `s` is 16 bytes. */
  writeTag(s: Uint8Array, message: Uint8Array, tag: Uint8Array): void
}

/** @param r 16 bytes, clamped here. */
export function createPoly1305(r: Uint8Array): Poly1305 {
  const module = instantiatePoly1305()
  const bytes = new Uint8Array(module.memory.buffer)
  const words = new Uint32Array(module.memory.buffer)
  const longs = new BigUint64Array(module.memory.buffer)

  const multiplier = BigInt(`0x${Buffer.from(r.toReversed()).toString('hex')}`) & CLAMP
  const powers = [multiplier]
  while (powers.length < 4) powers.push(((powers.at(-1) ?? 0n) * multiplier) % PRIME)
  const lanes = powers.toReversed().map(factors)
  for (let factor = 0; factor < 9; factor += 1) {
    longs[R_AT / 8 + factor] = factors(multiplier)[factor] ?? 0n
    for (let lane = 0; lane < 4; lane += 1) {
      words[POWER_AT / 4 + factor * 4 + lane] = Number(lanes[0]?.[factor])
      words[LAST_POWERS_AT / 4 + factor * 4 + lane] = Number(lanes[lane]?.[factor])
    }
  }

  return {
    writeTag(s, message, tag) {
      bytes.set(s, S_AT)
      module.start()
      let done = 0
      while (message.length - done >= GROUP_BYTES) {
        const rest = message.length - done
        const taken = rest >= PIECE_BYTES ? PIECE_BYTES : rest - (rest % GROUP_BYTES)
        bytes.set(message.subarray(done, done + taken), DATA_AT)
        module.absorb(DATA_AT, taken)
        done += taken
      }
      const rest = message.length - done
      bytes.set(message.subarray(done), DATA_AT)
      // A last block that is not whole ends with the bit that stands behind the message.
      bytes[DATA_AT + rest] = 1
      bytes.fill(0, DATA_AT + rest + 1, DATA_AT + rest + 16)
      module.tail(DATA_AT, rest)
      module.finish()
      tag.set(bytes.subarray(TAG_AT, TAG_AT + 16))
    },
  }
}
