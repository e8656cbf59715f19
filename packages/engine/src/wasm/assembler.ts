/**
 * Just enough of an assembler for the engine's WebAssembly modules, which are written as
 * instructions in TypeScript and assembled when they are first needed: there is no binary that
 * could part from its source, and building needs no tool. An instruction takes the code of its
 * operands and gives code; statements are code that leaves nothing on the stack. Code holds the code of its parts and
 * becomes bytes at the very end: to copy it at every step took as long as starting a thread.
 */

export type Code = readonly (number | Code)[]

function appendBytes(code: Code, bytes: number[]): number[] {
  for (const part of code) {
    if (typeof part === 'number') bytes.push(part)
    else appendBytes(part, bytes)
  }
  return bytes
}

/** LEB128, without sign. */
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

/** LEB128, with sign. */
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

export const valueTypes = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const
export type ValueType = keyof typeof valueTypes

const binary = (opcode: number) => (a: Code, b: Code): Code => [a, b, opcode]
const unary = (opcode: number) => (a: Code): Code => [a, opcode]
const simd = (opcode: number) => (...operands: readonly Code[]): Code => [...operands, 0xfd, ...unsigned(opcode)]
/** Shifts by a constant number of bits; those to the right fill with zeros. */
const shift32 = (opcode: number) => (a: Code, bits: number): Code => [a, 0x41, ...signed(BigInt(bits)), opcode]
const shift64 = (opcode: number) => (a: Code, bits: number): Code => [a, 0x42, ...signed(BigInt(bits)), opcode]
const shiftLanes = (opcode: number) => (a: Code, bits: number): Code => [a, 0x41, ...signed(BigInt(bits)), 0xfd, ...unsigned(opcode)]
/** Memory accesses are aligned as far as the engine is told; none of them relies on it. */
const load = (opcode: number) => (address: Code, offset = 0): Code => [address, opcode, 0, ...unsigned(offset)]
const store = (opcode: number) => (address: Code, value: Code, offset = 0): Code => [address, value, opcode, 0, ...unsigned(offset)]
const simdLoad = (opcode: number) => (address: Code, offset = 0): Code => [address, 0xfd, opcode, 0, ...unsigned(offset)]

export const i32 = {
  const: (value: number): Code => [0x41, ...signed(BigInt(value))],
  load: load(0x28),
  load8: load(0x2d),
  isZero: unary(0x45),
  lessThan: binary(0x49),
  atLeast: binary(0x4f),
  add: binary(0x6a),
  sub: binary(0x6b),
  mul: binary(0x6c),
  and: binary(0x71),
  or: binary(0x72),
  shiftLeft: shift32(0x74),
  fromI64: unary(0xa7),
} as const

export const i64 = {
  const: (value: bigint): Code => [0x42, ...signed(value)],
  load: load(0x29),
  load32: load(0x35),
  store: store(0x37),
  isZero: unary(0x50),
  lessThan: binary(0x54),
  add: binary(0x7c),
  sub: binary(0x7d),
  mul: binary(0x7e),
  and: binary(0x83),
  or: binary(0x84),
  xor: binary(0x85),
  shiftLeft: shift64(0x86),
  shiftRight: shift64(0x88),
  fromI32: unary(0xad),
} as const

export const v128 = {
  load: simdLoad(0),
  store: (address: Code, value: Code, offset = 0): Code => [address, value, 0xfd, 11, 0, ...unsigned(offset)],
  /** Sixteen bytes, chosen by number from both operands: 0 to 15 from the first, 16 to 31 from the second. */
  shuffle: (a: Code, b: Code, bytes: readonly number[]): Code => [a, b, 0xfd, 13, ...bytes],
  and: simd(78),
  or: simd(80),
  xor: simd(81),
} as const

export const i32x4 = {
  splat: simd(17),
  shiftLeft: shiftLanes(171),
  shiftRight: shiftLanes(173),
  add: simd(174),
  /** Four 32-bit lanes by number: 0 to 3 from the first operand, 4 to 7 from the second. */
  shuffle: (a: Code, b: Code, lanes: readonly number[]) =>
    v128.shuffle(a, b, lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte))),
} as const

export const i64x2 = {
  splat: simd(18),
  shiftLeft: shiftLanes(203),
  shiftRight: shiftLanes(205),
  add: simd(206),
  /** The 64-bit products of 32-bit lanes 0 and 1, or 2 and 3. */
  productsLow: simd(222),
  productsHigh: simd(223),
  lane: (a: Code, lane: 0 | 1): Code => [a, 0xfd, 29, lane],
} as const

export const get = (local: number): Code => [0x20, ...unsigned(local)]
export const set = (local: number, value: Code): Code => [value, 0x21, ...unsigned(local)]
export const globalGet = (index: number): Code => [0x23, ...unsigned(index)]
export const globalSet = (index: number, value: Code): Code => [value, 0x24, ...unsigned(index)]
export const call = (index: number, ...operands: readonly Code[]): Code => [...operands, 0x10, ...unsigned(index)]
export const giveBack = (value: Code): Code => [value, 0x0f]
export const select = (whenTrue: Code, whenFalse: Code, condition: Code): Code => [whenTrue, whenFalse, condition, 0x1b]
export const when = (condition: Code, ...body: readonly Code[]): Code => [condition, 0x04, 0x40, ...body, 0x0b]
/** Runs the body as long as the condition holds before it. */
export const loopWhile = (condition: Code, ...body: readonly Code[]): Code => [
  0x03, 0x40, when(condition, ...body, [0x0c, 1]), 0x0b,
]
/** Copies so many bytes of memory. */
export const copyMemory = (target: Code, source: Code, length: Code): Code => [target, source, length, 0xfc, 10, 0, 0]

export interface FunctionSource {
  /** Functions without a name are only called from inside. */
  readonly name?: string
  readonly parameters: readonly ValueType[]
  readonly results: readonly ValueType[]
  /** Numbered after the parameters. */
  readonly locals: readonly ValueType[]
  readonly body: readonly Code[]
}

export interface ModuleSource {
  /** Pages of 64 KiB, exported as `memory`. */
  readonly memoryPages: number
  /** Mutable, exported by name, zero at first. */
  readonly globals: readonly { readonly name: string; readonly type: 'i32' | 'i64' }[]
  readonly functions: readonly FunctionSource[]
}

function section(id: number, content: Code): Code {
  const bytes = appendBytes(content, [])
  return [id, ...unsigned(bytes.length), bytes]
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items]
}

function exported(name: string, kind: number, index: number): Code {
  return [...unsigned(name.length), ...Buffer.from(name), kind, ...unsigned(index)]
}

function typeList(types: readonly ValueType[]): Code {
  return vector(types.map((type) => [valueTypes[type]]))
}

function functionBody({ locals, body }: FunctionSource): Code {
  const bytes = appendBytes([vector(locals.map((type) => [1, valueTypes[type]])), ...body, 0x0b], [])
  return [...unsigned(bytes.length), bytes]
}

/** The bytes of a module. */
export function assemble({ memoryPages, globals, functions }: ModuleSource): Uint8Array<ArrayBuffer> {
  const names = functions.flatMap(({ name }, index) => (name === undefined ? [] : [exported(name, 0, index)]))
  return Uint8Array.from(appendBytes([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    section(1, vector(functions.map(({ parameters, results }) => [0x60, typeList(parameters), typeList(results)]))),
    section(3, vector(functions.map((_, index) => unsigned(index)))),
    section(5, vector([[0, ...unsigned(memoryPages)]])),
    section(6, vector(globals.map(({ type }) => [valueTypes[type], 1, type === 'i64' ? i64.const(0n) : i32.const(0), 0x0b]))),
    section(7, vector([exported('memory', 2, 0), ...globals.map(({ name }, index) => exported(name, 3, index)), ...names])),
    section(10, vector(functions.map(functionBody))),
  ], []))
}
