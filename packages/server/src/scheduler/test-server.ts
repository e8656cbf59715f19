/**
 * For tests: a whole server in a process of its own, with a clock that stands where the parent has put it, and a scheduler that looks
 * when the parent says so. It has no agent.
 */
import assert from 'node:assert/strict'
import type { ServerConfig } from '../config.ts'
import { openService, type Service } from '../service.ts'
import { TurnedClock } from './test-world.ts'

export type ToTestServer =
  | { readonly type: 'open', readonly config: ServerConfig, readonly at: string }
  | { readonly type: 'tick', readonly at: number }
  | { readonly type: 'close' }

/** Answers each message, in order: with the address after `open`. */
export type FromTestServer = { readonly url?: string, readonly error?: string }

const clock = new TurnedClock('2026-01-01T00:00:00Z')
let service: Service | undefined

async function handle(message: ToTestServer): Promise<FromTestServer> {
  switch (message.type) {
    case 'open':
      clock.at = Date.parse(message.at) * 1000
      service = await openService(message.config, { clock, agent: 'none', scheduler: { timer: 'manual' } })
      return await service.listen()
    case 'tick':
      assert(service !== undefined)
      clock.at = message.at
      await service.scheduler.tick()
      return {}
    case 'close':
      await service?.close()
      process.disconnect?.()
      return {}
  }
}

process.on('message', (message: ToTestServer) => {
  void handle(message).catch((error: unknown): FromTestServer => ({ error: error instanceof Error ? error.stack ?? error.message : String(error) }))
    .then((answer) => (process.connected ? process.send?.(answer) : undefined))
})
