/** The OpenAPI 3.1 document of what this server answers, made from the declarations that it runs by. */
import { ErrorAnswer, IdentityError } from '@opencbr/contract'
import type { TObject, TSchema } from 'typebox'
import type { Route } from './route.ts'

type Json = Readonly<Record<string, unknown>>

const PUBLIC: readonly Json[] = []
const CREDENTIALS: readonly Json[] = [{ TokenAuth: [] }, { AkSkAuth: [] }]

/** Schemas of routes are JSON Schema already, so they stand in the document as they are. */
export function makeOpenApi(routes: readonly Route[], origin: string): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describeOperation(route) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'OpenCBR',
      version: '3.0.0',
      summary: 'The CBR v3 API over restic repositories.',
      description: 'What is below /v3 is the contract of the cloud; what it lacks lives below /x/v1.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: origin }],
    paths,
    components: {
      securitySchemes: {
        TokenAuth: { type: 'apiKey', in: 'header', name: 'X-Auth-Token', description: 'From POST /v3/auth/tokens, header X-Subject-Token.' },
        AkSkAuth: { type: 'apiKey', in: 'header', name: 'Authorization', description: 'A signature with an access key: SDK-HMAC-SHA256 or V11-HMAC-SHA256.' },
      },
    },
  }
}

function describeOperation(route: Route): Json {
  const { params, query, body, response = {} } = route.schemas
  const names = [...route.path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? '')
  const parameters = [
    ...names.map((name) => describeParameter(name, 'path', params?.properties[name], true)),
    ...Object.entries(query?.properties ?? {}).map(([name, schema]) => describeParameter(name, 'query', schema, isRequired(query, name))),
  ]
  return {
    operationId: route.operationId,
    tags: [tagOf(route)],
    summary: route.summary,
    security: route.access.kind === 'public' ? PUBLIC : CREDENTIALS,
    ...('action' in route.access ? { 'x-iam-action': route.access.action } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: jsonOf(body) } }),
    responses: {
      ...Object.fromEntries(Object.entries(response).map(([status, schema]) => [status, { description: 'Done.', content: jsonOf(schema) }])),
      ...(Object.keys(response).length === 0 ? { '2XX': { description: 'Done; there is no body.' } } : {}),
      '4XX': { description: 'Refused; nothing was changed.', content: jsonOf(route.errors === 'identity' ? IdentityError : ErrorAnswer) },
    },
  }
}

function describeParameter(name: string, place: 'path' | 'query', schema: TSchema | undefined, required: boolean): Json {
  const { description, ...rest } = (schema ?? { type: 'string' }) as Json
  return {
    name,
    in: place,
    required,
    ...(description === undefined ? {} : { description }),
    schema: rest,
    ...(rest['type'] === 'array' ? { style: 'form', explode: true } : {}),
  }
}

function isRequired(schema: TObject | undefined, name: string): boolean {
  return ((schema?.required ?? []) as readonly string[]).includes(name)
}

function jsonOf(schema: TSchema): Json {
  return { 'application/json': { schema } }
}

/** What follows the project in the path names the noun. */
function tagOf(route: Route): string {
  if (route.errors === 'identity') return 'identity'
  return /:project_id\/([\w-]+)/.exec(route.path)?.[1] ?? 'service'
}
