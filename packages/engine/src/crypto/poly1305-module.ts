/**
 * Poly1305 as WebAssembly with SIMD. Numbers modulo 2^130 - 5 are five limbs of 26 bits. The long
 * part of a message runs in four lanes, lane j taking every fourth block from block j on:
 * `H = H · r⁴ + M` for 64 bytes at a time, and at the end the lanes are multiplied with r⁴, r³, r²
 * and r and added up. A limb of all four lanes is one vector of 32-bit numbers, so that two
 * widening multiplications give its four products; five of these stay below 2^58.
 *
 * The rest, below 64 bytes, goes block by block through the same arithmetic on single numbers.
 */
import { assemble, call, get, i32, i32x4, i64, i64x2, loopWhile, select, set, v128, when } from '../wasm/assembler.ts'
import type { Code, ValueType } from '../wasm/assembler.ts'

/** Nine vectors of the multiplier r⁴ in every lane: limbs 0 to 4, then five times limbs 1 to 4. */
export const POWER_AT = 0
/** The same for the lanes' last multipliers: r⁴, r³, r², r. */
export const LAST_POWERS_AT = 256
/** Nine 64-bit numbers of r itself. */
export const R_AT = 512
/** Five vectors, the state of the lanes. */
const LANES_AT = 640
/** Five 64-bit numbers, the state behind the lanes. */
const H_AT = 768
/** The second half of the one-time key: 16 bytes. */
export const S_AT = 832
/** Where `finish` leaves the tag: 16 bytes. */
export const TAG_AT = 848
/** Messages lie here, piece by piece. */
export const DATA_AT = 1024
export const DATA_BYTES = 65_536 - DATA_AT

const MASK = (1n << 26n) - 1n
const LIMBS = [0, 1, 2, 3, 4] as const

/** Which of the nine numbers multiplies limb i in the sum for limb k: r_{k-i}, or 5·r_{k-i+5} once it wraps. */
function factorIndex(k: number, i: number): number {
  return k >= i ? k - i : k - i + 5 + 4
}

const zero = i32.const(0)

/** `absorb(from, bytes)`: whole groups of 64 bytes. */
function absorbBody(): { locals: ValueType[]; body: Code[] } {
  const FROM = 0
  const END = 1
  const H = 2
  const WORD = H + 5
  const SUM = WORD + 4
  const MASK32 = SUM + 10
  const MASK64 = MASK32 + 1
  const TOP = MASK64 + 1
  const POWER = TOP + 1
  const locals: ValueType[] = Array.from({ length: POWER + 9 - H }, () => 'v128')

  const body: Code[] = [
    set(END, i32.add(get(FROM), get(END))),
    set(MASK32, i32x4.splat(i32.const(Number(MASK)))),
    set(MASK64, i64x2.splat(i64.const(MASK))),
    set(TOP, i32x4.splat(i32.const(1 << 24))),
    ...LIMBS.map((limb) => set(H + limb, v128.load(zero, LANES_AT + limb * 16))),
    ...Array.from({ length: 9 }, (_, i) => set(POWER + i, v128.load(zero, POWER_AT + i * 16))),
  ]
  const words = [0, 1, 2, 3].map((word) => get(WORD + word)) as [Code, Code, Code, Code]
  const block = (number: number) => v128.load(get(FROM), number * 16)
  const cut = (limb: Code) => v128.and(limb, get(MASK32))
  const messageLimbs = [
    cut(words[0]),
    cut(v128.or(i32x4.shiftRight(words[0], 26), i32x4.shiftLeft(words[1], 6))),
    cut(v128.or(i32x4.shiftRight(words[1], 20), i32x4.shiftLeft(words[2], 12))),
    cut(v128.or(i32x4.shiftRight(words[2], 14), i32x4.shiftLeft(words[3], 18))),
    v128.or(i32x4.shiftRight(words[3], 8), get(TOP)),
  ]
  body.push(
    loopWhile(
      i32.lessThan(get(FROM), get(END)),
      ...multiplyLanes(H, SUM, MASK64, (factor) => get(POWER + factor)),
      // Four blocks side by side become four vectors of their first, second, third and fourth words.
      set(WORD, i32x4.shuffle(block(0), block(1), [0, 4, 1, 5])),
      set(WORD + 1, i32x4.shuffle(block(2), block(3), [0, 4, 1, 5])),
      set(WORD + 2, i32x4.shuffle(block(0), block(1), [2, 6, 3, 7])),
      set(WORD + 3, i32x4.shuffle(block(2), block(3), [2, 6, 3, 7])),
      set(SUM, i32x4.shuffle(words[0], words[1], [0, 1, 4, 5])),
      set(SUM + 1, i32x4.shuffle(words[0], words[1], [2, 3, 6, 7])),
      set(SUM + 2, i32x4.shuffle(words[2], words[3], [0, 1, 4, 5])),
      set(WORD + 3, i32x4.shuffle(words[2], words[3], [2, 3, 6, 7])),
      set(WORD, get(SUM)),
      set(WORD + 1, get(SUM + 1)),
      set(WORD + 2, get(SUM + 2)),
      ...messageLimbs.map((limb, i) => set(H + i, i32x4.add(get(H + i), limb))),
      set(FROM, i32.add(get(FROM), i32.const(64))),
    ),
    ...LIMBS.map((limb) => v128.store(zero, get(H + limb), LANES_AT + limb * 16)),
  )
  return { locals, body }
}

/** Multiplies the lanes in H and carries: SUM holds five low and five high pairs, H the limbs again. */
function multiplyLanes(H: number, SUM: number, MASK64: number, factor: (index: number) => Code): Code[] {
  const code: Code[] = []
  const halves = [
    { sum: (limb: number) => SUM + limb, products: i64x2.productsLow },
    { sum: (limb: number) => SUM + 5 + limb, products: i64x2.productsHigh },
  ]
  for (const k of LIMBS) {
    for (const { sum, products } of halves) {
      const terms = LIMBS.map((i) => products(get(H + i), factor(factorIndex(k, i))))
      code.push(set(sum(k), terms.reduce((left, right) => i64x2.add(left, right))))
    }
  }
  const carryLanes = (from: number, to: number) => [
    ...set(to, i64x2.add(get(to), i64x2.shiftRight(get(from), 26))),
    ...set(from, v128.and(get(from), get(MASK64))),
  ]
  for (const step of [0, 1, 2, 3] as const) for (const { sum } of halves) code.push(carryLanes(sum(step), sum(step + 1)))
  for (const { sum } of halves) {
    const top = i64x2.shiftRight(get(sum(4)), 26)
    code.push(
      set(sum(0), i64x2.add(get(sum(0)), i64x2.add(top, i64x2.shiftLeft(top, 2)))),
      set(sum(4), v128.and(get(sum(4)), get(MASK64))),
      carryLanes(sum(0), sum(1)),
    )
  }
  for (const limb of LIMBS) code.push(set(H + limb, i32x4.shuffle(get(SUM + limb), get(SUM + 5 + limb), [0, 2, 4, 6])))
  return code
}

/** `gather()`: brings the lanes together into H_AT. */
function gatherBody(): { locals: ValueType[]; body: Code[] } {
  const H = 0
  const SUM = H + 5
  const MASK64 = SUM + 10
  const locals: ValueType[] = Array.from({ length: MASK64 + 1 }, () => 'v128')
  const body = [
    set(MASK64, i64x2.splat(i64.const(MASK))),
    ...LIMBS.map((limb) => set(H + limb, v128.load(zero, LANES_AT + limb * 16))),
    ...multiplyLanes(H, SUM, MASK64, (factor) => v128.load(zero, LAST_POWERS_AT + factor * 16)),
    ...LIMBS.map((limb) => set(SUM + limb, i64x2.add(get(SUM + limb), get(SUM + 5 + limb)))),
    ...LIMBS.map((limb) =>
      i64.store(zero, i64.add(i64x2.lane(get(SUM + limb), 0), i64x2.lane(get(SUM + limb), 1)), H_AT + limb * 8),
    ),
  ]
  return { locals, body }
}

const masked = (value: Code) => i64.and(value, i64.const(MASK))

function carry(from: number, to: number, times: bigint): Code {
  return [
    ...set(to, i64.add(get(to), i64.mul(i64.shiftRight(get(from), 26), i64.const(times)))),
    ...set(from, masked(get(from))),
  ]
}

/** Carries through five 64-bit limbs in locals, the top wrapping around as five times itself. */
function carryAround(H: number): Code[] {
  return [...[0, 1, 2, 3].map((limb) => carry(H + limb, H + limb + 1, 1n)), carry(H + 4, H, 5n), carry(H, H + 1, 1n)]
}

/** `block(at, top)`: one block of 16 bytes, `top` being its bit 128, or 0 for a padded one. */
function blockBody(): { locals: ValueType[]; body: Code[] } {
  const AT = 0
  const TOP = 1
  const H = 2
  const SUM = H + 5
  const low = i64.load(get(AT))
  const high = i64.load(get(AT), 8)
  const limbs = [
    masked(low),
    masked(i64.shiftRight(low, 26)),
    masked(i64.or(i64.shiftRight(low, 52), i64.shiftLeft(high, 12))),
    masked(i64.shiftRight(high, 14)),
    i64.or(i64.shiftRight(high, 40), i64.shiftLeft(get(TOP), 24)),
  ]
  const body = [
    ...limbs.map((limb, i) => set(H + i, i64.add(i64.load(zero, H_AT + i * 8), limb))),
    ...LIMBS.map((k) => {
      const terms = LIMBS.map((i) => i64.mul(get(H + i), i64.load(zero, R_AT + factorIndex(k, i) * 8)))
      return set(SUM + k, terms.reduce((left, right) => i64.add(left, right)))
    }),
    ...carryAround(SUM),
    ...LIMBS.map((limb) => i64.store(zero, get(SUM + limb), H_AT + limb * 8)),
  ]
  return { locals: Array.from({ length: 10 }, () => 'i64'), body }
}

/** One number of limbs in locals, each shifted left, or right where the shift is negative. */
function packed(...limbs: readonly (readonly [local: number, shift: number])[]): Code {
  return limbs
    .map(([local, shift]) => (shift < 0 ? i64.shiftRight(get(local), -shift) : i64.shiftLeft(get(local), shift)))
    .reduce((left, right) => i64.or(left, right))
}

/** `finish()`: reduces completely, adds s, leaves the tag. */
function finishBody(): { locals: ValueType[]; body: Code[] } {
  const H = 0
  const LESS = 5
  const TAG_LOW = 10
  const body = [
    ...LIMBS.map((limb) => set(H + limb, i64.load(zero, H_AT + limb * 8))),
    ...carryAround(H),
    ...carryAround(H),
    // h - p is h + 5 - 2^130: without a borrow out of the top limb it is the reduced number.
    set(LESS, i64.add(get(H), i64.const(5n))),
    ...[1, 2, 3, 4].map((limb) => [
      ...set(LESS + limb, i64.add(get(H + limb), i64.shiftRight(get(LESS + limb - 1), 26))),
      ...set(LESS + limb - 1, masked(get(LESS + limb - 1))),
    ]),
    set(LESS + 4, i64.sub(get(LESS + 4), i64.const(1n << 26n))),
    ...LIMBS.map((limb) =>
      set(H + limb, select(get(H + limb), get(LESS + limb), i32.fromI64(i64.shiftRight(get(LESS + 4), 63)))),
    ),
    set(TAG_LOW, i64.add(packed([H, 0], [H + 1, 26], [H + 2, 52]), i64.load(zero, S_AT))),
    i64.store(zero, get(TAG_LOW), TAG_AT),
    i64.store(
      zero,
      i64.add(
        i64.add(packed([H + 2, -12], [H + 3, 14], [H + 4, 40]), i64.load(zero, S_AT + 8)),
        i64.fromI32(i64.lessThan(get(TAG_LOW), i64.load(zero, S_AT))),
      ),
      TAG_AT + 8,
    ),
  ]
  return { locals: Array.from({ length: 11 }, () => 'i64'), body }
}

/** `start()`: forgets the message before. */
const startBody = {
  locals: [] as ValueType[],
  body: [
    ...LIMBS.flatMap((limb) => [0, 8].map((half) => i64.store(zero, i64.const(0n), LANES_AT + limb * 16 + half))),
    ...LIMBS.map((limb) => i64.store(zero, i64.const(0n), H_AT + limb * 8)),
  ],
}

const GATHER = 3
const BLOCK = 4

/** `tail(from, bytes)`: gathers the lanes, then takes the blocks that are left, the last one padded by the caller. */
function tailBody(): { locals: ValueType[]; body: Code[] } {
  const FROM = 0
  const BYTES = 1
  const body = [
    call(GATHER),
    loopWhile(
      i32.atLeast(get(BYTES), i32.const(16)),
      call(BLOCK, get(FROM), i64.const(1n)),
      set(FROM, i32.add(get(FROM), i32.const(16))),
      set(BYTES, i32.sub(get(BYTES), i32.const(16))),
    ),
    when(get(BYTES), call(BLOCK, get(FROM), i64.const(0n))),
  ]
  return { locals: [], body }
}

export interface Poly1305Module {
  readonly memory: WebAssembly.Memory
  start(): void
  absorb(from: number, bytes: number): void
  tail(from: number, bytes: number): void
  finish(): void
}

let module_: WebAssembly.Module | undefined

export function instantiatePoly1305(): Poly1305Module {
  module_ ??= new WebAssembly.Module(
    assemble({
      memoryPages: 1,
      globals: [],
      functions: [
        { name: 'start', parameters: [], results: [], ...startBody },
        { name: 'absorb', parameters: ['i32', 'i32'], results: [], ...absorbBody() },
        { name: 'tail', parameters: ['i32', 'i32'], results: [], ...tailBody() },
        { parameters: [], results: [], ...gatherBody() },
        { parameters: ['i32', 'i64'], results: [], ...blockBody() },
        { name: 'finish', parameters: [], results: [], ...finishBody() },
      ],
    }),
  )
  return new WebAssembly.Instance(module_).exports as unknown as Poly1305Module
}
