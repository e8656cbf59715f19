/**
 * Polynomials over GF(2), bit i being the coefficient of x^i: what Rabin fingerprints need. Bigint
 * arithmetic, since degree 53 does not fit a double's integers; used when a repository is made or
 * opened, never per byte.
 */
import { randomBytes } from 'node:crypto'

/** The degree that restic uses: fingerprints and eight more bits fit into 64. */
export const POLYNOMIAL_DEGREE = 53
const TRIES_MAX = 1_000_000

export function degree(polynomial: bigint): number {
  return polynomial === 0n ? -1 : polynomial.toString(2).length - 1
}

export function remainder(dividend: bigint, divisor: bigint): bigint {
  const divisorDegree = degree(divisor)
  if (divisorDegree < 0) throw new RangeError('division by the zero polynomial')
  let rest = dividend
  for (let shift = degree(rest) - divisorDegree; shift >= 0; shift = degree(rest) - divisorDegree) {
    rest ^= divisor << BigInt(shift)
  }
  return rest
}

function multiplyModulo(left: bigint, right: bigint, modulus: bigint): bigint {
  let product = 0n
  let factor = remainder(left, modulus)
  for (let bits = right; bits > 0n; bits >>= 1n) {
    if ((bits & 1n) === 1n) product ^= factor
    factor = remainder(factor << 1n, modulus)
  }
  return product
}

function greatestCommonDivisor(left: bigint, right: bigint): bigint {
  let [a, b] = [left, right]
  while (b !== 0n) [a, b] = [b, remainder(a, b)]
  return a
}

/**
 * Ben-Or's test: a polynomial of degree n is irreducible when it shares no factor with
 * x^(2^i) - x for every i up to n/2.
 */
export function isIrreducible(polynomial: bigint): boolean {
  const half = Math.floor(degree(polynomial) / 2)
  if (degree(polynomial) < 1) return false
  let power = 2n
  for (let i = 1; i <= half; i += 1) {
    power = multiplyModulo(power, power, polynomial)
    if (greatestCommonDivisor(polynomial, power ^ 2n) !== 1n) return false
  }
  return true
}

/** A random irreducible polynomial of degree 53; about one odd candidate in 26 is one. */
export function randomPolynomial(): bigint {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const bits = randomBytes(8).readBigUInt64BE() & ((1n << BigInt(POLYNOMIAL_DEGREE)) - 1n)
    const candidate = bits | (1n << BigInt(POLYNOMIAL_DEGREE)) | 1n
    if (isIrreducible(candidate)) return candidate
  }
  throw new Error('no irreducible polynomial was found: the random source is broken')
}
