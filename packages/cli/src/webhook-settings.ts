/** Who is told of events: a file of its own, since it holds secrets. */
import { readFileSync } from 'node:fs'
import { EVENT_KINDS } from '@opencbr/contract'
import type { ServerConfig } from '@opencbr/server'
import { CommandFailure } from './exit-codes.ts'

const SECRET_BYTES_MIN = 24
const SECRET_BYTES_MAX = 64

/** Throws a `CommandFailure` that says what is wrong with the file, and where; never what stands there. */
export function readWebhooks(path: string, from: string): NonNullable<ServerConfig['webhooks']> {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new CommandFailure('usage', `The webhooks in ${path} (${from}) ${reason}`, { cause })
  }
  let receivers: unknown
  try {
    receivers = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    // What JSON.parse says would show a part of the file.
    return refuse(error instanceof SyntaxError ? 'are not JSON.' : 'cannot be read.', error)
  }
  if (!Array.isArray(receivers) || receivers.length === 0) return refuse('are not a list of receivers.')
  const urls = new Set<string>()
  return receivers.map((receiver: unknown, place) => {
    if (typeof receiver !== 'object' || receiver === null) return refuse(`are wrong: [${place}] is no object.`)
    const { url, secret, events, ...rest } = receiver as Record<string, unknown>
    const [unknown] = Object.keys(rest)
    if (unknown !== undefined) return refuse(`are wrong: [${place}] has an unknown member ${unknown}; known are url, secret, events.`)
    if (typeof url !== 'string' || !/^https?:\/\//.test(url) || !URL.canParse(url)) return refuse(`are wrong: [${place}].url is not an address of the form https://HOST/PATH.`)
    if (new URL(url).username !== '') return refuse(`are wrong: [${place}].url holds a user, which is not supported: the signature says who calls.`)
    if (urls.has(url)) return refuse(`are wrong: [${place}].url stands there twice.`)
    urls.add(url)
    if (typeof secret !== 'string' || !isSecret(secret)) {
      return refuse(`are wrong: [${place}].secret is not whsec_ and ${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX} bytes in base64.`)
    }
    if (events === undefined) return { url, secret }
    const kinds: readonly string[] = EVENT_KINDS
    if (!Array.isArray(events) || events.length === 0 || !events.every((kind) => kinds.includes(kind as string))) {
      return refuse(`are wrong: [${place}].events is not a list of ${kinds.join(', ')}.`)
    }
    return { url, secret, events: events as string[] }
  })
}

function isSecret(text: string): boolean {
  const [, base64] = /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(text) ?? []
  const bytes = base64 === undefined ? 0 : Buffer.from(base64, 'base64').length
  return bytes >= SECRET_BYTES_MIN && bytes <= SECRET_BYTES_MAX
}
