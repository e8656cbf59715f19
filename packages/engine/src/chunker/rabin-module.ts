/**
 * The fingerprint loop as WebAssembly, assembled here from its instructions: 64-bit integers are what
 * JavaScript lacks. One function, `scan(from, to) -> end`, over memory laid out as below; it slides
 * the window over bytes from..to and returns the position behind the byte at which the masked
 * fingerprint is zero, or 0 when there is none. The fingerprint is kept in an exported global.
 *
 * The window needs no ring: the byte that leaves it lies 64 bytes back in the same memory.
 */

/** 256 fingerprints of a byte that leaves the window, then 256 reductions of the top byte. */
export const OUT_TABLE_AT = 0
export const MOD_TABLE_AT = 2048
/** Data starts here; the 64 bytes before it stand for the window's start. */
export const DATA_AT = 8192
const PAGE_BYTES = 65_536

/** Parameters and locals of `scan`: two i32 parameters, then one i32 and one i64 local. */
const FROM = 0
const TO = 1
const BYTE = 2
const DIGEST = 3

const I32 = 0x7f
const I64 = 0x7e

const op = {
  block: (body: number[]) => [0x02, 0x40, ...body, 0x0b],
  loop: (body: number[]) => [0x03, 0x40, ...body, 0x0b],
  if: (body: number[]) => [0x04, 0x40, ...body, 0x0b],
  branch: (depth: number) => [0x0c, depth],
  branchIf: (depth: number) => [0x0d, depth],
  return: [0x0f],
  get: (local: number) => [0x20, local],
  set: (local: number) => [0x21, local],
  tee: (local: number) => [0x22, local],
  globalGet: (index: number) => [0x23, index],
  globalSet: (index: number) => [0x24, index],
  i64Load: (offset: number) => [0x29, 3, ...unsigned(offset)],
  i32Load8: (offset: number) => [0x2d, 0, ...unsigned(offset)],
  i32: (value: number) => [0x41, ...signed(BigInt(value))],
  i64: (value: bigint) => [0x42, ...signed(value)],
  i64Eqz: [0x50],
  i32GreaterEqual: [0x4f],
  i32Add: [0x6a],
  i32Sub: [0x6b],
  i32ShiftLeft: [0x74],
  i64And: [0x83],
  i64Or: [0x84],
  i64Xor: [0x85],
  i64ShiftLeft: [0x86],
  i64ShiftRight: [0x88],
  i32FromI64: [0xa7],
  i64FromI32: [0xad],
} as const

/** LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  do {
    const low = rest & 0x7f
    rest >>>= 7
    bytes.push(rest === 0 ? low : low | 0x80)
  } while (rest !== 0)
  return bytes
}

function signed(value: bigint): number[] {
  const bytes: number[] = []
  let rest = value
  for (;;) {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    const done = (rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)
    bytes.push(done ? low : low | 0x80)
    if (done) return bytes
  }
}

function section(id: number, content: number[]): number[] {
  return [id, ...unsigned(content.length), ...content]
}

function named(name: string): number[] {
  return [...unsigned(name.length), ...Buffer.from(name)]
}

function scanBody(shift: number, mask: bigint, minimum: number): number[] {
  const slide = [
    // digest ^= out[memory[from - 64]]
    ...op.get(DIGEST),
    ...op.get(FROM), ...op.i32(64), ...op.i32Sub, ...op.i32Load8(0), ...op.i32(3), ...op.i32ShiftLeft, ...op.i64Load(OUT_TABLE_AT),
    ...op.i64Xor, ...op.set(DIGEST),
    // byte = memory[from]; from += 1
    ...op.get(FROM), ...op.i32Load8(0), ...op.set(BYTE),
    ...op.get(FROM), ...op.i32(1), ...op.i32Add, ...op.set(FROM),
    // digest = (digest << 8 | byte) ^ mod[digest >> shift]
    ...op.get(DIGEST), ...op.i64(8n), ...op.i64ShiftLeft, ...op.get(BYTE), ...op.i64FromI32, ...op.i64Or,
    ...op.get(DIGEST), ...op.i64(BigInt(shift)), ...op.i64ShiftRight, ...op.i32FromI64, ...op.i32(3), ...op.i32ShiftLeft,
    ...op.i64Load(MOD_TABLE_AT),
    ...op.i64Xor, ...op.set(DIGEST),
  ]
  const found = [
    ...op.get(DIGEST), ...op.i64(mask), ...op.i64And, ...op.i64Eqz,
    ...op.if([
      ...op.get(FROM), ...op.i32(DATA_AT + minimum), ...op.i32GreaterEqual,
      ...op.if([...op.get(DIGEST), ...op.globalSet(0), ...op.get(FROM), ...op.return]),
    ]),
  ]
  return [
    ...op.globalGet(0), ...op.set(DIGEST),
    ...op.block(op.loop([
      ...op.get(FROM), ...op.get(TO), ...op.i32GreaterEqual, ...op.branchIf(1),
      ...slide, ...found,
      ...op.branch(0),
    ])),
    ...op.get(DIGEST), ...op.globalSet(0),
    ...op.i32(0),
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
  const pages = Math.ceil((DATA_AT + maximum) / PAGE_BYTES)
  const code = [1, 2, 1, I32, 1, I64]
  const body = [2, ...code.slice(2), ...scanBody(polynomialDegree - 8, mask, minimum), 0x0b]
  const bytes = new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 2, I32, I32, 1, I32]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, ...unsigned(pages)]),
    ...section(6, [1, I64, 1, ...op.i64(0n), 0x0b]),
    ...section(7, [3, ...named('memory'), 2, 0, ...named('digest'), 3, 0, ...named('scan'), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ])
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes))
  return instance.exports as unknown as RabinModule
}
