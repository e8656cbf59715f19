/**
 * The peer of the listing: a bare `node:http` server in a process of its own that answers prepared bytes
 * to prepared paths, with no authentication, no parsing and no database. What it reaches is what is left when a
 * service does nothing. Started by `startBareServers`.
 */
import { fork } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface BareServer extends AsyncDisposable {
  readonly ports: readonly number[]
}

/** `answers`: the body by path and query. As many processes, each with a port, as cores are to be used. */
export async function startBareServers(count: number, answers: Readonly<Record<string, string>>): Promise<BareServer> {
  const servers = await Promise.all(Array.from({ length: count }, () => startOne(answers)))
  return {
    ports: servers.map(({ port }) => port),
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server.end()))
    },
  }
}

async function startOne(answers: Readonly<Record<string, string>>): Promise<{ readonly port: number, readonly end: () => Promise<void> }> {
  const server = fork(import.meta.filename, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const started = Promise.withResolvers<number>()
  server.once('message', (port) => started.resolve(port as number))
  server.once('error', started.reject)
  server.once('exit', (code) => started.reject(new Error(`the bare server ended with ${code}`)))
  server.send(answers)
  const port = await started.promise
  return {
    port,
    async end() {
      const ended = new Promise((resolve) => server.once('exit', resolve))
      server.kill()
      await ended
    },
  }
}

if (process.argv[1] === import.meta.filename) {
  process.once('message', (answers) => {
    const bodies = new Map(Object.entries(answers as Record<string, string>).map(([target, body]) => [target, Buffer.from(body)]))
    const server = createServer((request, response) => {
      const body = bodies.get(request.url ?? '')
      response.writeHead(body === undefined ? 404 : 200, {
        'content-type': 'application/json; charset=utf-8', 'content-length': body?.length ?? 0,
      })
      response.end(body)
    })
    server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
  })
}
