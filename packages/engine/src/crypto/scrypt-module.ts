/**
 * The costly part of scrypt, ROMix, as WebAssembly with SIMD, of several lanes at once, whose
 * independent steps fill each other's waiting times. OpenSSL's is written for any processor and takes three times as long.
 *
 * The sixteen words of a block of Salsa20 lie in the order of the diagonals of its matrix, four vectors of four, so
 * that a round is done on whole vectors and the next one on the same vectors with their words turned.
 *
 * Memory: a lane's state of 128·r bytes at its beginning, another one to mix into, then N states. The lanes follow each other.
 */
import { assemble, call, copyMemory, get, i32, i32x4, loopWhile, set, v128 } from '../wasm/assembler.ts'
import type { Code, FunctionSource, ValueType } from '../wasm/assembler.ts'

const PAGE_BYTES = 65_536
const VECTORS = [0, 1, 2, 3] as const
const TURNED_ONCE = [1, 2, 3, 0]
const TURNED_TWICE = [2, 3, 0, 1]
const TURNED_THRICE = [3, 0, 1, 2]
const ROUNDS = 8

/** The bytes of memory that one lane takes. */
export function laneBytes(N: number, r: number): number {
  return 128 * r * (N + 2)
}

/**
 * `mix(source, target, …masks)`: for each lane, mixes the state at `source`, with the one at its mask added, into
 * `target`. Source and target are addresses of the first lane.
 */
function mixFunction(lanes: number, laneStride: number, r: number): FunctionSource {
  const SOURCE = 0
  const TARGET = 1
  const MASKS = 2
  const END = MASKS + lanes
  const ROUND = END + 1
  const SUM = ROUND + 1
  const X = (lane: number, vector: number) => SUM + 1 + lane * 8 + vector
  const KEPT = (lane: number, vector: number) => SUM + 5 + lane * 8 + vector
  const eachLane = (make: (lane: number) => Code[]): Code[] => Array.from({ length: lanes }, (_, lane) => make(lane)).flat()

  /** Four words of a lane's state with the mask added, so many bytes ahead. */
  const words = (lane: number, at: number) =>
    v128.xor(v128.load(get(SOURCE), lane * laneStride + at), v128.load(get(MASKS + lane), at))
  const step = (target: number, a: number, b: number, bits: number): Code[] => [
    set(SUM, i32x4.add(get(a), get(b))),
    set(target, v128.xor(v128.xor(get(target), i32x4.shiftLeft(get(SUM), bits)), i32x4.shiftRight(get(SUM), 32 - bits))),
  ]
  const round = (b: 1 | 3, d: 1 | 3): Code[] => [
    ...eachLane((lane) => step(X(lane, b), X(lane, 0), X(lane, d), 7)),
    ...eachLane((lane) => step(X(lane, 2), X(lane, b), X(lane, 0), 9)),
    ...eachLane((lane) => step(X(lane, d), X(lane, 2), X(lane, b), 13)),
    ...eachLane((lane) => step(X(lane, 0), X(lane, d), X(lane, 2), 18)),
    ...eachLane((lane) => [turn(X(lane, b), TURNED_THRICE), turn(X(lane, 2), TURNED_TWICE), turn(X(lane, d), TURNED_ONCE)]),
  ]
  const block = (sourceAt: number, targetAt: number): Code[] => [
    ...eachLane((lane) => VECTORS.flatMap((vector) => [
      set(X(lane, vector), v128.xor(get(X(lane, vector)), words(lane, sourceAt + vector * 16))),
      set(KEPT(lane, vector), get(X(lane, vector))),
    ])),
    set(ROUND, i32.const(0)),
    loopWhile(i32.lessThan(get(ROUND), i32.const(ROUNDS)), ...round(1, 3), ...round(3, 1), set(ROUND, i32.add(get(ROUND), i32.const(2)))),
    ...eachLane((lane) => VECTORS.flatMap((vector) => [
      set(X(lane, vector), i32x4.add(get(X(lane, vector)), get(KEPT(lane, vector)))),
      v128.store(get(TARGET), get(X(lane, vector)), lane * laneStride + targetAt + vector * 16),
    ])),
  ]
  return {
    parameters: Array.from({ length: 2 + lanes }, () => 'i32'),
    results: [],
    locals: ['i32', 'i32', ...Array.from({ length: 1 + lanes * 8 }, (): ValueType => 'v128')],
    body: [
      ...eachLane((lane) => VECTORS.map((vector) => set(X(lane, vector), words(lane, (2 * r - 1) * 64 + vector * 16)))),
      set(END, i32.add(get(TARGET), i32.const(64 * r))),
      loopWhile(
        i32.lessThan(get(TARGET), get(END)),
        // Even blocks go to the first half, odd ones to the second.
        ...block(0, 0),
        ...block(64, 64 * r),
        forward(SOURCE, 128),
        forward(TARGET, 64),
        ...eachLane((lane) => [forward(MASKS + lane, 128)]),
      ),
    ],
  }
}

const turn = (vector: number, order: readonly number[]): Code => set(vector, i32x4.shuffle(get(vector), get(vector), order))
const forward = (local: number, bytes: number): Code => set(local, i32.add(get(local), i32.const(bytes)))

/** `romix()`: on the states that lie in memory. */
function romixFunction(lanes: number, laneStride: number, zeroAt: number, N: number, r: number, mix: number): FunctionSource {
  const stateBytes = 128 * r
  const scratchAt = stateBytes
  const tableAt = 2 * stateBytes
  const tableEnd = tableAt + N * stateBytes
  const AT = 0
  const STEPS = 1
  const zeros = Array.from({ length: lanes }, () => i32.const(zeroAt))
  // The first word of the last block chooses the entry.
  const choice = (lane: number, stateAt: number) => i32.add(
    i32.const(lane * laneStride + tableAt),
    i32.mul(i32.and(i32.load(i32.const(0), lane * laneStride + stateAt + (2 * r - 1) * 64), i32.const(N - 1)), i32.const(stateBytes)),
  )
  const choices = (stateAt: number) => Array.from({ length: lanes }, (_, lane) => choice(lane, stateAt))
  return {
    name: 'romix', parameters: [], results: [], locals: ['i32', 'i32'],
    body: [
      ...Array.from({ length: lanes }, (_, lane) =>
        copyMemory(i32.const(lane * laneStride + tableAt), i32.const(lane * laneStride), i32.const(stateBytes))),
      set(AT, i32.const(tableAt)),
      loopWhile(
        i32.lessThan(get(AT), i32.const(tableEnd - stateBytes)),
        call(mix, get(AT), i32.add(get(AT), i32.const(stateBytes)), ...zeros),
        set(AT, i32.add(get(AT), i32.const(stateBytes))),
      ),
      call(mix, get(AT), i32.const(0), ...zeros),
      set(STEPS, i32.const(0)),
      loopWhile(
        i32.lessThan(get(STEPS), i32.const(N / 2)),
        call(mix, i32.const(0), i32.const(scratchAt), ...choices(0)),
        call(mix, i32.const(scratchAt), i32.const(0), ...choices(scratchAt)),
        set(STEPS, i32.add(get(STEPS), i32.const(1))),
      ),
    ],
  }
}

/** The bytes of a module that exports `memory` and `romix()`. */
export function assembleScrypt(lanes: number, N: number, r: number): Uint8Array<ArrayBuffer> {
  const stride = laneBytes(N, r)
  const zeroAt = lanes * stride
  return assemble({
    memoryPages: Math.ceil((zeroAt + 128 * r) / PAGE_BYTES),
    globals: [],
    functions: [mixFunction(lanes, stride, r), romixFunction(lanes, stride, zeroAt, N, r, 0)],
  })
}

/** Which word of a block of Salsa20 stands at each place of the diagonal order. */
export const DIAGONAL_ORDER: readonly number[] = Array.from({ length: 16 }, (_, place) => (place * 5) % 16)
