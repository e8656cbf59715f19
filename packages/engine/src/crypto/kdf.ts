import type { SealingKey } from './envelope.ts'
import { scrypt } from './scrypt.ts'

/** The cost parameters of scrypt; memory is `128 · N · r` bytes. */
export interface KdfParameters {
  readonly N: number
  readonly r: number
  readonly p: number
}

/**
 * Some 200 ms of one core, and 8 MiB for each lane: for passwords that people choose. OWASP's cheat sheet on storing passwords
 * takes N = 2^17 with p = 1, 2^15 with p = 3, 2^14 with p = 5 and 2^13 with p = 10 for equally strong; this is half as dear again.
 * Two threads do four lanes at a time each, twice in the same memory: with 2^14 and p = 8, which is the same work, they fetched
 * twice as much of it from the system, which took a quarter of the time.
 */
export const kdfForChosenPassword: KdfParameters = { N: 2 ** 13, r: 8, p: 16 }
/** A few milliseconds: for random passwords of 128 bits or more, which no cost makes safer. */
export const kdfForRandomPassword: KdfParameters = { N: 2 ** 10, r: 8, p: 1 }

const MEMORY_BYTES_MAX = 2 ** 30

/** Whether parameters, which come from a file that anybody may have written, are usable at all. */
export function areKdfParameters({ N, r, p }: KdfParameters): boolean {
  return (
    Number.isSafeInteger(N) && N > 1 && N <= 2 ** 31 && Number.isInteger(Math.log2(N)) &&
    Number.isSafeInteger(r) && r >= 1 && Number.isSafeInteger(p) && p >= 1 && p <= 1024 &&
    128 * N * r <= MEMORY_BYTES_MAX
  )
}

/** Derives the key of a key file from a password and 64 bytes of salt. */
export async function deriveKey(password: string, salt: Uint8Array, cost: KdfParameters): Promise<SealingKey> {
  const derived = await scrypt(password, salt, 64, cost)
  return { encrypt: derived.subarray(0, 32), macK: derived.subarray(32, 48), macR: derived.subarray(48, 64) }
}
