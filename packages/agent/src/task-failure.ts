import { Failure } from '@opencbr/engine'
import type { TaskFailure } from './protocol.ts'

/** A failure that only an agent knows: the engine is not told what it may read. */
export class SourceForbidden extends Error {
  override name = 'SourceForbidden'
}

/** Facts worth telling, in this order; others are for logs. */
const TOLD_FACTS = ['path', 'reason', 'hostname', 'since', 'kind', 'needed', 'available', 'packId', 'key', 'location'] as const

/** What a user is told of an error. Of mistakes of ours only that there was one: the log has the rest. */
export function describeTaskFailure(error: unknown): TaskFailure {
  if (error instanceof SourceForbidden) return { code: 'source.forbidden', message: error.message }
  if (!(error instanceof Failure)) {
    return { code: 'unknown', message: 'The agent met an error that it does not know; the log of the server tells more.' }
  }
  const facts = TOLD_FACTS.filter((name) => error.facts[name] !== undefined).map((name) => `${name}: ${error.facts[name]}`)
  return { code: error.code, message: facts.length === 0 ? error.message : `${error.message} (${facts.join(', ')})` }
}
