/**
 * Compares what the server says of its operations with the contract's description of them, and names
 * each difference by its place: `createVault body vault.billing.size minimum: contract 1, here none`.
 *
 * In what a client sends, enumerations, limits, patterns and lists of required members must be equal, and
 * every type of the contract must be accepted. In what it reads, every member of the contract must be
 * there and no other; types and enumerations may be narrower and more members may be required.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

type Json = Readonly<Record<string, unknown>>

export interface Parameter {
  readonly name: string
  readonly in: string
  readonly required: boolean
  readonly schema: Json
}

export interface ContractOperation {
  readonly operationId: string
  readonly method: string
  readonly path: string
  readonly tier: 'core' | 'cloud' | 'billing'
  readonly action: string | undefined
  readonly errorCodes: readonly string[]
  readonly parameters: readonly Parameter[]
  readonly body: Json | undefined
  /** By status; null where there is no body. */
  readonly responses: Readonly<Record<string, Json | null>>
}

interface ContractFile {
  readonly paths: Record<string, Record<string, {
    readonly operationId: string
    readonly 'x-tier': ContractOperation['tier']
    readonly 'x-iam-action'?: string
    readonly 'x-error-codes'?: string[]
    readonly parameters: Parameter[]
    readonly requestBody?: { readonly schema: Json }
    readonly responses: Record<string, Json | null>
  }>>
  readonly schemas: Record<string, Json>
}

const CONTRACT_FILE = join(import.meta.dirname, '../../packages/contract/test-data/cbr-v3.json')

function readContractFile(): ContractFile {
  return JSON.parse(readFileSync(CONTRACT_FILE, 'utf8')) as ContractFile
}

/** Puts the schemas that a value refers to in the places of the references. */
function expand(value: unknown, schemas: ContractFile['schemas'], within: readonly string[] = []): unknown {
  if (Array.isArray(value)) return value.map((each) => expand(each, schemas, within))
  if (typeof value !== 'object' || value === null) return value
  const { $ref: reference, ...rest } = value as Json
  const members = Object.fromEntries(Object.entries(rest).map(([name, member]) => [name, expand(member, schemas, within)]))
  if (typeof reference !== 'string') return members
  // A backup's children are backups: what stands below is compared where it stands first.
  if (within.includes(reference)) return members
  return { ...expand(schemas[reference.replace('#/components/schemas/', '')], schemas, [...within, reference]) as Json, ...members }
}

/** One schema of the contract by its name, with every reference put in its place. */
export function readContractSchema(name: string): Json {
  const { schemas } = readContractFile()
  const schema = schemas[name]
  if (schema === undefined) throw new Error(`the contract has no schema ${name}`)
  return expand(schema, schemas) as Json
}

/** The contract's operations, with every reference put in its place. */
export function readContract(): ContractOperation[] {
  const { paths, schemas } = readContractFile()
  const put = (value: unknown): Json => expand(value, schemas) as Json
  return Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({
    operationId: operation.operationId,
    method: method.toUpperCase(),
    path,
    tier: operation['x-tier'],
    action: operation['x-iam-action'],
    errorCodes: operation['x-error-codes'] ?? [],
    parameters: operation.parameters.map((each) => ({ ...each, schema: put(each.schema) })),
    body: operation.requestBody === undefined ? undefined : put(operation.requestBody.schema),
    responses: Object.fromEntries(Object.entries(operation.responses).map(([status, schema]) => [status, schema === null ? null : put(schema)])),
  })))
}

/** Members of an answer that its schema does not name, each by its place: `vault.resources[].extra_info.x`. */
export function findUnknownMembers(schema: Json, value: unknown, at = ''): string[] {
  const { properties, items } = shapeOf(schema)
  if (Array.isArray(value)) return items === undefined ? [] : value.flatMap((each) => findUnknownMembers(items, each, `${at}[]`))
  // A schema that names no members takes any.
  if (typeof value !== 'object' || value === null || properties.size === 0) return []
  return Object.entries(value).flatMap(([name, member]) => {
    const known = properties.get(name)
    if (known !== undefined) return findUnknownMembers(known, member, `${at}.${name}`)
    return schema['additionalProperties'] === undefined ? [`${at}.${name}`] : []
  })
}

/** One place of a schema, its variants laid over each other. */
interface Shape {
  readonly types: ReadonlySet<string>
  readonly enumeration: ReadonlySet<unknown> | undefined
  readonly limits: ReadonlyMap<string, unknown>
  readonly properties: ReadonlyMap<string, Json>
  readonly required: ReadonlySet<string>
  readonly items: Json | undefined
}

const LIMITS = ['minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'pattern']

function shapeOf(schema: Json): Shape {
  const variants = (schema['anyOf'] ?? schema['oneOf']) as Json[] | undefined
  if (variants !== undefined) return mergeShapes(variants.map(shapeOf))
  const type = schema['type']
  const enumeration = 'const' in schema ? [schema['const']] : schema['enum'] as unknown[] | undefined
  const types = Array.isArray(type) ? type as string[] : typeof type === 'string' ? [type] : (enumeration ?? []).map(typeOf)
  return {
    types: new Set(types.flatMap((each) => each === 'number' && (enumeration ?? [0.5]).every(Number.isInteger) ? ['integer'] : [each])),
    enumeration: enumeration === undefined ? undefined : new Set(enumeration.filter((value) => value !== null)),
    limits: new Map(LIMITS.filter((name) => schema[name] !== undefined).map((name) => [name, schema[name]])),
    properties: new Map(Object.entries((schema['properties'] ?? {}) as Record<string, Json>)),
    required: new Set((schema['required'] ?? []) as string[]),
    items: schema['items'] as Json | undefined,
  }
}

function mergeShapes(shapes: readonly Shape[]): Shape {
  // A variant that is only null says nothing about the others.
  const telling = shapes.filter((shape) => [...shape.types].some((type) => type !== 'null'))
  const objects = telling.filter((shape) => shape.types.has('object'))
  const [first] = objects
  return {
    types: new Set(shapes.flatMap((shape) => [...shape.types])),
    enumeration: telling.length > 0 && telling.every((shape) => shape.enumeration !== undefined)
      ? new Set(telling.flatMap((shape) => [...shape.enumeration ?? []])) : undefined,
    limits: new Map(telling.flatMap((shape) => [...shape.limits])),
    properties: new Map(telling.flatMap((shape) => [...shape.properties])),
    required: new Set([...first?.required ?? []].filter((name) => objects.every((shape) => shape.required.has(name)))),
    items: telling.find((shape) => shape.items !== undefined)?.items,
  }
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Number.isInteger(value) ? 'integer' : typeof value
}

type Direction = 'sent' | 'answered'

/** Differences between one place of the contract and the same place here; `at` names it. */
function compareSchemas(at: string, direction: Direction, contract: Json, here: Json): string[] {
  const wanted = shapeOf(contract)
  const found = shapeOf(here)
  const differences: string[] = []
  const isSent = direction === 'sent'
  const missingTypes = isSent
    // A member that is null counts as absent everywhere, so what is sent need not name null.
    ? [...wanted.types].filter((type) => type !== 'null' && !includesType(found.types, type))
    : [...found.types].filter((type) => wanted.types.size > 0 && !includesType(wanted.types, type))
  if (missingTypes.length > 0) {
    differences.push(`${at} type: contract ${listOf(wanted.types)}, here ${listOf(found.types)}`)
  }
  const hasGoodValues = isSent ? listOf(wanted.enumeration) === listOf(found.enumeration)
    : wanted.enumeration === undefined || found.enumeration?.isSubsetOf(wanted.enumeration) === true
  if (!hasGoodValues) differences.push(`${at} enum: contract ${listOf(wanted.enumeration)}, here ${listOf(found.enumeration)}`)
  for (const name of isSent ? LIMITS : []) {
    const [inContract, inHere] = [wanted.limits.get(name), found.limits.get(name)]
    if (inContract !== inHere) differences.push(`${at} ${name}: contract ${inContract ?? 'none'}, here ${inHere ?? 'none'}`)
  }
  const hasGoodMembers = isSent ? listOf(wanted.required) === listOf(found.required) : wanted.required.isSubsetOf(found.required)
  if (wanted.properties.size > 0 && !hasGoodMembers) {
    differences.push(`${at} required: contract ${listOf(wanted.required)}, here ${listOf(found.required)}`)
  }
  for (const [name, property] of wanted.properties) {
    const own = found.properties.get(name)
    if (own === undefined) differences.push(`${at}.${name}: missing here`)
    else differences.push(...compareSchemas(`${at}.${name}`, direction, property, own))
  }
  if (wanted.properties.size > 0) {
    for (const name of isSent ? [] : found.properties.keys()) {
      if (!wanted.properties.has(name)) differences.push(`${at}.${name}: not in the contract`)
    }
  }
  if (wanted.items !== undefined && found.items !== undefined && Object.keys(wanted.items).length > 0) {
    differences.push(...compareSchemas(`${at}[]`, direction, wanted.items, found.items))
  }
  return differences
}

function includesType(types: ReadonlySet<string>, type: string): boolean {
  return types.size === 0 || types.has(type) || (type === 'integer' && types.has('number'))
}

function listOf(values: ReadonlySet<unknown> | undefined): string {
  return values === undefined ? 'none' : [...values].map(String).toSorted().join(' ')
}

export interface DescribedOperation {
  readonly operationId: string
  readonly 'x-iam-action'?: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Json }>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Json }>> }>>
}

/** What differs between an operation of the contract and the server's own description of it. */
export function compareOperations(contract: ContractOperation, here: DescribedOperation): string[] {
  const at = contract.operationId
  const differences: string[] = []
  if (contract.action !== undefined && contract.action !== here['x-iam-action']) {
    differences.push(`${at} action: contract ${contract.action}, here ${here['x-iam-action'] ?? 'none'}`)
  }
  for (const wanted of contract.parameters) {
    const place = `${at} ${wanted.in} ${wanted.name}`
    const found = here.parameters?.find((each) => each.in === wanted.in && each.name === wanted.name)
    if (found === undefined) {
      differences.push(`${place}: missing here`)
      continue
    }
    if (wanted.required !== found.required) differences.push(`${place} required: contract ${wanted.required}, here ${found.required}`)
    // A parameter that may be repeated here may be sent once all the same.
    const isRepeatable = found.schema['type'] === 'array' && wanted.schema['type'] !== 'array'
    differences.push(...compareSchemas(place, 'sent', wanted.schema, isRepeatable ? found.schema['items'] as Json : found.schema))
  }
  const body = here.requestBody?.content['application/json']?.schema
  if (contract.body !== undefined) {
    differences.push(...body === undefined ? [`${at} body: missing here`] : compareSchemas(`${at} body`, 'sent', contract.body, body))
  }
  for (const [status, wanted] of Object.entries(contract.responses)) {
    const described = here.responses[status]
    const found = described?.content?.['application/json']?.schema
    if (wanted === null) {
      if (found !== undefined) differences.push(`${at} ${status}: contract without body, here with one`)
    } else if (found === undefined) differences.push(`${at} ${status}: missing here`)
    else differences.push(...compareSchemas(`${at} ${status}`, 'answered', wanted, found))
  }
  return differences
}
