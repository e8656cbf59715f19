/**
 * SHA-256 of two messages at a time in one thread. The processor's instructions for it wait for each
 * other within a message; OpenSSL's function for many messages does those of a second one meanwhile,
 * and two together take a third less than one after the other.
 *
 * That function knows neither padding nor lengths: it takes whole blocks into the states of its lanes.
 */
import { hash as hashOf } from 'node:crypto'
import type { HashLanes, TakeHash } from './primitives.ts'

const BLOCK_BYTES = 64
const LENGTH_BYTES = 8
const STATE_WORDS = 8
/** Words of all lanes stand side by side, eight lanes wide. */
const LANES_WIDE = 8
/** The function takes lanes four by four, and passes over those without blocks. */
const LANES_DESCRIBED = 4
const DESCRIPTOR_BYTES = 16
const INITIAL_STATE = Uint32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19)

/** The functions of OpenSSL, which take addresses of memory. */
export interface BlockFunctions {
  /** Takes blocks of several messages into their states. */
  readonly takeMany: (states: bigint, descriptors: bigint, groups: number) => void
  /** Takes blocks of one message into its state. */
  readonly takeOne: (state: bigint, blocks: bigint, count: bigint) => void
  readonly addressOf: (memory: Uint8Array | Uint32Array) => bigint
}

interface Lane {
  readonly at: number
  readonly padding: Uint8Array
  readonly paddingAddress: bigint
  /** Keeps the memory while its address is in use; undefined for a lane that is free. */
  message: Uint8Array | undefined
  takeHash: TakeHash | undefined
  address: bigint
  /** Blocks at the address that are still to be taken; more than none in a lane that is not free. */
  blocks: number
  /** Blocks that follow from the padding. */
  paddingBlocks: number
}

function move(lane: Lane, blocks: number): void {
  lane.blocks -= blocks
  if (lane.blocks > 0) lane.address += BigInt(blocks * BLOCK_BYTES)
  else if (lane.paddingBlocks > 0) {
    lane.address = lane.paddingAddress
    lane.blocks = lane.paddingBlocks
    lane.paddingBlocks = 0
  }
}

export function createNativeHashLanes({ takeMany, takeOne, addressOf }: BlockFunctions): HashLanes {
  // Memory of their own, which stays where it is.
  const states = new Uint32Array(new ArrayBuffer(STATE_WORDS * LANES_WIDE * 4))
  const descriptors = new DataView(new ArrayBuffer(LANES_DESCRIBED * DESCRIPTOR_BYTES))
  const state = new Uint32Array(new ArrayBuffer(STATE_WORDS * 4))
  const hash = new Uint8Array(new ArrayBuffer(STATE_WORDS * 4))
  const hashView = new DataView(hash.buffer)
  const statesAddress = addressOf(states)
  const stateAddress = addressOf(state)
  const descriptorsAddress = addressOf(new Uint8Array(descriptors.buffer))

  function createLane(at: number): Lane {
    const padding = new Uint8Array(new ArrayBuffer(2 * BLOCK_BYTES))
    return {
      at, padding, paddingAddress: addressOf(padding), message: undefined, takeHash: undefined, address: 0n, blocks: 0, paddingBlocks: 0,
    }
  }
  const first = createLane(0)
  const second = createLane(1)

  function begin(lane: Lane, message: Uint8Array, takeHash: TakeHash): void {
    const blocks = Math.floor(message.length / BLOCK_BYTES)
    const rest = message.length - blocks * BLOCK_BYTES
    const paddingBlocks = rest + 1 + LENGTH_BYTES > BLOCK_BYTES ? 2 : 1
    const { padding } = lane
    padding.fill(0, rest)
    for (let i = 0; i < rest; i += 1) padding[i] = message[blocks * BLOCK_BYTES + i] ?? 0
    padding[rest] = 0x80
    // The length in bits, of which no message here has more than 53.
    let bits = message.length * 8
    for (let at = paddingBlocks * BLOCK_BYTES - 1; bits > 0; at -= 1) {
      padding[at] = bits % 256
      bits = Math.floor(bits / 256)
    }
    for (let i = 0; i < STATE_WORDS; i += 1) states[i * LANES_WIDE + lane.at] = INITIAL_STATE[i] ?? 0
    lane.message = message
    lane.takeHash = takeHash
    if (blocks > 0) {
      lane.address = addressOf(message)
      lane.blocks = blocks
      lane.paddingBlocks = paddingBlocks
    } else {
      lane.address = lane.paddingAddress
      lane.blocks = paddingBlocks
      lane.paddingBlocks = 0
    }
  }

  function describe(lane: Lane, blocks: number): void {
    descriptors.setBigUint64(lane.at * DESCRIPTOR_BYTES, lane.address, true)
    descriptors.setInt32(lane.at * DESCRIPTOR_BYTES + 8, blocks, true)
  }

  function endWhenTaken(lane: Lane): void {
    if (lane.blocks > 0) return
    const { takeHash } = lane
    for (let i = 0; i < STATE_WORDS; i += 1) hashView.setUint32(i * 4, states[i * LANES_WIDE + lane.at] ?? 0)
    lane.message = undefined
    lane.takeHash = undefined
    takeHash?.(hash)
  }

  function takeTogether(blocksMax: number): void {
    const blocks = Math.min(first.blocks, second.blocks, blocksMax)
    describe(first, blocks)
    describe(second, blocks)
    takeMany(statesAddress, descriptorsAddress, 1)
    move(first, blocks)
    move(second, blocks)
    try {
      endWhenTaken(first)
    } finally {
      endWhenTaken(second)
    }
  }

  function takeAlone(lane: Lane, blocksMax: number): void {
    const blocks = Math.min(lane.blocks, blocksMax)
    for (let i = 0; i < STATE_WORDS; i += 1) state[i] = states[i * LANES_WIDE + lane.at] ?? 0
    takeOne(stateAddress, lane.address, BigInt(blocks))
    for (let i = 0; i < STATE_WORDS; i += 1) states[i * LANES_WIDE + lane.at] = state[i] ?? 0
    move(lane, blocks)
    endWhenTaken(lane)
  }

  function goOn(bytes: number): boolean {
    // OpenSSL's function for one message must not be asked for no blocks.
    const blocks = Math.max(1, Math.ceil(bytes / BLOCK_BYTES))
    if (first.message !== undefined && second.message !== undefined) takeTogether(blocks)
    else if (first.message !== undefined) takeAlone(first, blocks)
    else if (second.message !== undefined) takeAlone(second, blocks)
    return first.message !== undefined || second.message !== undefined
  }

  return {
    add(message, takeHash) {
      begin(first.message === undefined ? first : second, message, takeHash)
      while (first.message !== undefined && second.message !== undefined) takeTogether(Infinity)
    },
    goOn,
    finish() {
      while (goOn(Infinity));
    },
  }
}

/** Messages that end at every place of a block that matters, of lengths that differ within the lanes. */
const TESTED_LENGTHS = [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 191, 4096, 129, 3000, 57]

/** Whether two lanes hash as one does. What they are made of is no documented interface of OpenSSL. */
export function hashLanesAreSound(lanes: HashLanes): boolean {
  const text = Uint8Array.from({ length: Math.max(...TESTED_LENGTHS) }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24)
  let good = 0
  for (const length of TESTED_LENGTHS) {
    const message = text.subarray(text.length - length)
    lanes.add(message, (hash) => {
      if (Buffer.from(hash).equals(hashOf('sha256', message, 'buffer'))) good += 1
    })
  }
  lanes.finish()
  return good === TESTED_LENGTHS.length
}

/** One message after the other, by something that hashes a whole one. */
export function createPlainHashLanes(writeHash: (data: Uint8Array, hash: Uint8Array) => void): HashLanes {
  const hash = new Uint8Array(32)
  return {
    add(message, takeHash) {
      writeHash(message, hash)
      takeHash(hash)
    },
    goOn: () => false,
    finish: () => undefined,
  }
}
