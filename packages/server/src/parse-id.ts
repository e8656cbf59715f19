import { Failure } from './failures.ts'
import { isUuid, type UuidNoun } from './ids.ts'

/** A UUID from a client, in lower case; `field` names it for the one who sent it. */
export function parseUuid<Id extends UuidNoun>(field: string, text: string): Id {
  if (!isUuid(text)) throw new Failure('parameter.invalid', { field, reason: `${text.slice(0, 64)} is not a UUID` })
  return text.toLowerCase() as string as Id
}
