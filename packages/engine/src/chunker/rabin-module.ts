/**
 * The fingerprint loop as WebAssembly: 64-bit integers are what JavaScript lacks. One function,
 * `scan(from, to) -> end`, over memory laid out as below; it slides the window over bytes from..to and
 * returns the position behind the byte at which the masked fingerprint is zero, or 0 when there is
 * none. The fingerprint at `from`, and then at `to`, is kept in an exported global.
 *
 * The window needs no ring: the byte that leaves it lies 64 bytes back in the same memory. One
 * fingerprint waits for the one before it, byte by byte, which leaves most of a processor idle. But a
 * fingerprint is made of the last 64 bytes alone, so four lanes go through four neighbouring stretches
 * at once, each started anew from the 64 bytes before its stretch.
 */
import {
  assemble, get, giveBack, globalGet, globalSet, i32, i64, loopWhile, set, when,
} from '../wasm/assembler.ts'
import type { Code } from '../wasm/assembler.ts'

/** 256 fingerprints of a byte that leaves the window, then 256 reductions of the top byte. */
export const OUT_TABLE_AT = 0
export const MOD_TABLE_AT = 2048
/** Data starts here; the 64 bytes before it stand for the window's start. */
export const DATA_AT = 8192
const PAGE_BYTES = 65_536
const WINDOW_BYTES = 64

const LANES = [0, 1, 2, 3] as const
/** Long against the start of a lane, short against a chunk: what lies behind a cut is gone through in vain. */
const STRETCH_BYTES = 8192

const FROM = 0
const TO = 1
const POSITION = 2
const END = 3
/** Where each lane found its first cut; 0 for nowhere. */
const CUT = 4
const DIGEST = 8

const DIGEST_GLOBAL = 0

/** Appends a byte: `digest = (digest << 8 | byte) ^ mod[digest >> shift]`. */
function append(digest: Code, shift: number, byte: Code): Code {
  const top = i32.shiftLeft(i32.fromI64(i64.shiftRight(digest, shift)), 3)
  return i64.xor(i64.or(i64.shiftLeft(digest, 8), i64.fromI32(byte)), i64.load(top, MOD_TABLE_AT))
}

/** Slides the window of a lane by one byte. Stretches lie at fixed distances from the first lane's position. */
function slide(lane: number, shift: number): Code {
  const windowStart = i32.sub(get(POSITION), i32.const(WINDOW_BYTES))
  const leaving = i32.shiftLeft(i32.load8(windowStart, lane * STRETCH_BYTES), 3)
  const entering = i32.load8(get(POSITION), lane * STRETCH_BYTES)
  return [
    ...set(DIGEST + lane, i64.xor(get(DIGEST + lane), i64.load(leaving, OUT_TABLE_AT))),
    ...set(DIGEST + lane, append(get(DIGEST + lane), shift, entering)),
  ]
}

function scanBody(shift: number, mask: bigint, minimum: number): Code[] {
  const isCut = (lane: number) => i64.isZero(i64.and(get(DIGEST + lane), i64.const(mask)))
  const step = set(POSITION, i32.add(get(POSITION), i32.const(1)))

  const startLane = (lane: number): Code[] => [
    set(DIGEST + lane, i64.const(0n)),
    set(POSITION, i32.sub(get(FROM), i32.const(WINDOW_BYTES))),
    loopWhile(
      i32.lessThan(get(POSITION), get(FROM)),
      set(DIGEST + lane, append(get(DIGEST + lane), shift, i32.load8(get(POSITION), lane * STRETCH_BYTES))),
      step,
    ),
  ]
  const noteCut = (lane: number): Code =>
    when(
      isCut(lane),
      // Only the first one counts, and the position is behind the byte already.
      when(i32.isZero(get(CUT + lane)), set(CUT + lane, i32.add(get(POSITION), i32.const(lane * STRETCH_BYTES)))),
    )
  const fourLanes = loopWhile(
    i32.atLeast(get(TO), i32.add(get(FROM), i32.const(LANES.length * STRETCH_BYTES))),
    ...[1, 2, 3].flatMap(startLane),
    set(POSITION, get(FROM)),
    set(END, i32.add(get(FROM), i32.const(STRETCH_BYTES))),
    loopWhile(
      i32.lessThan(get(POSITION), get(END)),
      ...LANES.map((lane) => slide(lane, shift)),
      step,
      when(i32.or(i32.or(isCut(0), isCut(1)), i32.or(isCut(2), isCut(3))), ...LANES.map(noteCut)),
    ),
    ...LANES.map((lane) => when(get(CUT + lane), giveBack(get(CUT + lane)))),
    set(DIGEST, get(DIGEST + 3)),
    set(FROM, i32.add(get(FROM), i32.const(LANES.length * STRETCH_BYTES))),
  )
  const oneLane = [
    set(POSITION, get(FROM)),
    loopWhile(
      i32.lessThan(get(POSITION), get(TO)),
      slide(0, shift),
      step,
      when(isCut(0), when(i32.atLeast(get(POSITION), i32.const(DATA_AT + minimum)), giveBack(get(POSITION)))),
    ),
  ]
  return [
    set(DIGEST, globalGet(DIGEST_GLOBAL)),
    // Chunks that are too short are only possible at first, where four lanes would not know.
    when(i32.atLeast(get(FROM), i32.const(DATA_AT + minimum)), fourLanes),
    ...oneLane,
    globalSet(DIGEST_GLOBAL, get(DIGEST)),
    i32.const(0),
  ]
}

export interface RabinModule {
  readonly memory: WebAssembly.Memory
  readonly digest: WebAssembly.Global<'i64'>
  /** Positions are addresses in memory; data starts at DATA_AT. */
  scan(from: number, to: number): number
}

/**
 * @param polynomialDegree of the repository's polynomial
 * @param mask fingerprint bits that are zero at a cut
 * @param minimum bytes of the shortest chunk
 * @param maximum bytes of the longest chunk, which must fit into memory
 */
export function instantiateRabin(polynomialDegree: number, mask: bigint, minimum: number, maximum: number): RabinModule {
  const bytes = assemble({
    memoryPages: Math.ceil((DATA_AT + maximum) / PAGE_BYTES),
    globals: [{ name: 'digest', type: 'i64' }],
    functions: [
      {
        name: 'scan',
        parameters: ['i32', 'i32'],
        results: ['i32'],
        locals: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i64', 'i64', 'i64', 'i64'],
        body: scanBody(polynomialDegree - 8, mask, minimum),
      },
    ],
  })
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as unknown as RabinModule
}
