import { hash } from 'node:crypto'

/** The lower-case hexadecimal SHA-256, which names everything in a repository. */
export function idOf<Id extends string>(...parts: readonly Uint8Array[]): Id {
  const whole = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  return hash('sha256', whole, 'hex') as Id
}

const idPattern = /^[0-9a-f]{64}$/

/** Whether a text has the form of an id; parse what comes from files and listings with it. */
export function isId<Id extends string>(text: unknown): text is Id {
  return typeof text === 'string' && idPattern.test(text)
}
