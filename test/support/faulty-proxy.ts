/** An HTTP proxy on the loopback interface that passes everything on to one server, except what it is told to spoil. */
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import type { AddressInfo } from 'node:net'

export interface ProxiedRequest {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly headers: http.IncomingHttpHeaders
  /** Counts from 1 over the requests with this method and path. */
  readonly number: number
}

/**
 * `refuse` answers in the server's place; the server sees nothing. `reset-request` breaks the connection in
 * the middle of the body. `spoil-request` changes a byte of it. `lose-answer` breaks the connection when the
 * server has done its work, `reset-answer` in the middle of its answer. `cut-answer` passes on the first half
 * as if it were all. `silence` leaves the connection open and says nothing. `replace-answer` says something
 * else than the server did.
 */
export type ProxyFault =
  | { readonly kind: 'refuse' | 'replace-answer', readonly status: number, readonly headers?: Readonly<Record<string, string>>, readonly body?: string }
  | { readonly kind: 'reset-request' | 'spoil-request' | 'lose-answer' | 'reset-answer' | 'cut-answer' | 'silence' }

export interface FaultyProxy extends AsyncDisposable {
  readonly endpoint: string
  /** Every request so far, as method and path without its query. */
  readonly requests: readonly string[]
}

/** Starts the proxy; `decide` names the fault of each request, if any. With a key and its certificate it speaks TLS. */
export async function startFaultyProxy(
  endpoint: string, decide: (request: ProxiedRequest) => ProxyFault | undefined, tls?: { readonly key: string, readonly cert: string },
): Promise<FaultyProxy> {
  const requests: string[] = []
  const listener: http.RequestListener = (incoming, outgoing) => {
    void answer(incoming, outgoing).catch(() => outgoing.destroy())
  }
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener)

  async function answer(incoming: http.IncomingMessage, outgoing: http.ServerResponse): Promise<void> {
    const { method = '', url: target = '', headers } = incoming
    const name = `${method} ${target.split('?')[0]}`
    requests.push(name)
    const fault = decide({ method, target, headers, number: requests.filter((request) => request === name).length })
    if (fault?.kind === 'silence') return
    if (fault?.kind === 'reset-request') {
      await once(incoming, 'data')
      incoming.socket.resetAndDestroy()
      return
    }
    const body = Buffer.concat(await incoming.toArray())
    if (fault?.kind === 'refuse') {
      outgoing.writeHead(fault.status, fault.headers).end(fault.body)
      return
    }
    if (fault?.kind === 'spoil-request') body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 1
    // The host that was signed is the proxy's, and the server checks it by what it is told.
    const upstream = http.request(new URL(target, endpoint), { method, headers, agent: false }).end(body)
    const [reply] = (await once(upstream, 'response')) as [http.IncomingMessage]
    const replied = Buffer.concat(await reply.toArray())
    if (fault?.kind === 'lose-answer') {
      incoming.socket.resetAndDestroy()
      return
    }
    if (fault?.kind === 'replace-answer') {
      outgoing.writeHead(fault.status, { 'content-length': String(Buffer.byteLength(fault.body ?? '')), ...fault.headers }).end(fault.body)
      return
    }
    const half = replied.subarray(0, replied.length >> 1)
    if (fault?.kind === 'reset-answer') {
      outgoing.writeHead(reply.statusCode ?? 0, reply.headers)
      outgoing.write(half, () => incoming.socket.resetAndDestroy())
      return
    }
    if (fault?.kind === 'cut-answer') {
      const { 'transfer-encoding': _whole, ...headersOfHalf } = reply.headers
      outgoing.writeHead(reply.statusCode ?? 0, { ...headersOfHalf, 'content-length': String(half.length) }).end(half)
      return
    }
    outgoing.writeHead(reply.statusCode ?? 0, reply.headers).end(replied)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http${tls === undefined ? '' : 's'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
