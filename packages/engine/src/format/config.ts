import { isId } from '../crypto/ids.ts'
import { degree, isIrreducible, POLYNOMIAL_DEGREE } from '../chunker/polynomial.ts'
import { isObject, parseJson } from './json.ts'

export interface Config {
  readonly version: 1 | 2
  readonly id: string
  readonly chunkerPolynomial: bigint
}

export function encodeConfig(config: Config): Uint8Array {
  return Buffer.from(
    JSON.stringify({ version: config.version, id: config.id, chunker_polynomial: config.chunkerPolynomial.toString(16) }),
  )
}

/**
 * Reads the plaintext of a config file; fields that it does not know stay unread. Answers with a
 * reason when the file is not a config, or not one of a version that exists.
 */
export function decodeConfig(plaintext: Uint8Array): Config | { readonly unsupported: string } {
  const json = parseJson(plaintext)
  if (!isObject(json)) return { unsupported: 'the config is not a JSON object' }
  const { version, id, chunker_polynomial: polynomial } = json
  if (version !== 1 && version !== 2) return { unsupported: `version ${String(version)}` }
  if (!isId<string>(id)) return { unsupported: 'the config has no repository id' }
  if (typeof polynomial !== 'string' || !/^[0-9a-f]{1,16}$/.test(polynomial)) return { unsupported: 'the config has no chunker polynomial' }
  const chunkerPolynomial = BigInt(`0x${polynomial}`)
  if (degree(chunkerPolynomial) !== POLYNOMIAL_DEGREE || !isIrreducible(chunkerPolynomial)) {
    return { unsupported: 'the chunker polynomial is not irreducible of degree 53' }
  }
  return { version, id, chunkerPolynomial }
}
