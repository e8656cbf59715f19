/**
 * Untrusted input becomes typed here, once. Query strings and path parameters arrive as text and are
 * converted by their schema; bodies are taken as they are. Unknown members are left alone: real
 * clients send some.
 */
import type { TObject, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { Failure } from '../failures.ts'

type Schema = TSchema & Record<string, unknown>

const validators = new WeakMap<TSchema, Validator>()

function validatorOf(schema: TSchema): Validator {
  const known = validators.get(schema)
  if (known !== undefined) return known
  const made = Compile(schema) as Validator
  validators.set(schema, made)
  return made
}

/**
 * Text to what the schema wants: integers, booleans (`true`/`false` in any case) and lists. What does
 * not convert stays text, and the validator refuses it. An array schema takes one value or several;
 * a single-valued parameter that is repeated keeps its list, and the validator refuses that.
 */
function convertText(schema: Schema, value: unknown): unknown {
  if (schema['type'] === 'array') {
    const values = Array.isArray(value) ? value : [value]
    return values.map((item) => convertText((schema['items'] ?? {}) as Schema, item))
  }
  if (typeof value !== 'string') return value
  if (schema['type'] === 'integer' && /^[+-]?\d{1,15}$/.test(value)) return Number(value)
  if (schema['type'] === 'boolean' && /^(true|false)$/i.test(value)) return value.toLowerCase() === 'true'
  return value
}

export function parseText<Input extends TObject>(schema: Input, values: Readonly<Record<string, unknown>>): unknown {
  const converted: Record<string, unknown> = {}
  for (const [name, property] of Object.entries(schema.properties)) {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    if (value === undefined) continue
    for (const each of Array.isArray(value) ? value : [value]) withoutNulls(each, [name])
    converted[name] = convertText(property as Schema, value)
  }
  const misfit = findMisfit(schema, converted)
  // A repeated parameter has one name, whichever of its values does not fit.
  if (misfit !== undefined) throw new Failure('parameter.invalid', { ...misfit, field: misfit.field.replace(/\..*/s, '') })
  return converted
}

/**
 * Null members count as absent, at every depth: some clients send null for what is unset. Texts with
 * the character NUL are refused here for all: neither every database nor any file system takes it.
 */
export function withoutNulls(value: unknown, path: readonly string[] = []): unknown {
  if (typeof value === 'string') return withoutNul(value, path)
  if (Array.isArray(value)) return value.map((item, index) => withoutNulls(item, [...path, String(index)]))
  if (typeof value !== 'object' || value === null) return value
  const kept: [string, unknown][] = []
  for (const [name, member] of Object.entries(value)) {
    if (member !== null) kept.push([withoutNul(name, path), withoutNulls(member, [...path, name])])
  }
  return Object.fromEntries(kept)
}

function withoutNul(text: string, path: readonly string[]): string {
  if (text.includes('\0')) throw new Failure('parameter.invalid', { field: path.join('.') || 'body', reason: 'it contains the character NUL' })
  return text
}

export function parseBody(schema: TSchema, body: unknown): unknown {
  const misfit = findMisfit(schema, body)
  if (misfit !== undefined) throw new Failure('parameter.invalid', { ...misfit })
  return body
}

export interface Misfit {
  /** The member's path: `vault.tags.0.key`. */
  readonly field: string
  readonly reason: string
}

/** The first thing in which a value does not fit a schema. */
export function findMisfit(schema: TSchema, value: unknown): Misfit | undefined {
  const validator = validatorOf(schema)
  if (validator.Check(value)) return undefined
  const [first] = validator.Errors(value)
  return describeError(first)
}

interface ValidationError {
  readonly keyword: string
  readonly instancePath: string
  readonly params: object
  readonly message: string
}

function describeError(error: ValidationError | undefined): Misfit {
  if (error === undefined) return { field: 'request', reason: 'it does not fit the schema' }
  const params = error.params as Record<string, unknown>
  const path = error.instancePath.split('/').slice(1)
  if (error.keyword === 'required') {
    const missing = (params['requiredProperties'] as string[] | undefined)?.[0]
    if (missing !== undefined) return { field: [...path, missing].join('.'), reason: 'it is mandatory' }
  }
  if (error.keyword === 'enum' || error.keyword === 'const' || error.keyword === 'anyOf') {
    const allowed = params['allowedValues'] as unknown[] | undefined
    if (allowed !== undefined) return { field: path.join('.') || 'body', reason: `it must be one of ${allowed.join(', ')}` }
  }
  return { field: path.join('.') || 'body', reason: error.message }
}
