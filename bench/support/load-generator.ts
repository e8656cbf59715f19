/**
 * A process that loads an HTTP server: some clients, each with one connection that stays open, each
 * sending its next request when the answer to the last one has come. Started by `runLoad`; takes a
 * `LoadPlan` over the channel to its parent, answers with a `LoadResult`, and ends.
 *
 * It speaks just enough HTTP for the servers here, since a whole client would use up the processor that
 * the server needs: answers have a Content-Length and come in the order of the requests.
 */
import { fork } from 'node:child_process'
import { connect, type Socket } from 'node:net'

export interface LoadPlan {
  readonly host: string
  readonly port: number
  readonly clients: number
  readonly seconds: number
  /** Not measured. */
  readonly warmupSeconds: number
  /** Paths with queries; the clients go round in them. */
  readonly targets: readonly string[]
  readonly headers: Readonly<Record<string, string>>
}

export interface LoadResult {
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly bytesPerAnswer: number
}

/** Runs a plan in a process of its own. Throws when a connection breaks or an answer is not 200. */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const generator = fork(import.meta.filename, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  try {
    const answer = Promise.withResolvers<LoadResult>()
    generator.once('message', (result) => answer.resolve(result as LoadResult))
    generator.once('error', answer.reject)
    generator.once('exit', (code) => answer.reject(new Error(`the load generator ended with ${code} and without a result`)))
    generator.send(plan)
    return await answer.promise
  } finally {
    generator.kill()
  }
}

async function generate(plan: LoadPlan): Promise<LoadResult> {
  const requests = plan.targets.map((target) => Buffer.from([
    `GET ${target} HTTP/1.1`, `host: ${plan.host}:${plan.port}`, ...Object.entries(plan.headers).map(([name, value]) => `${name}: ${value}`), '', '',
  ].join('\r\n')))
  const latenciesMs: number[] = []
  let bytes = 0
  const start = performance.now() + plan.warmupSeconds * 1000
  const end = start + plan.seconds * 1000
  let next = 0
  await Promise.all(Array.from({ length: plan.clients }, async () => {
    const client = await openClient(plan)
    for (let now = performance.now(); now < end;) {
      const answerBytes = await client.ask(requests[next % requests.length] ?? Buffer.alloc(0))
      next += 1
      const done = performance.now()
      if (now >= start) {
        latenciesMs.push(done - now)
        bytes += answerBytes
      }
      now = done
    }
    client.close()
  }))
  const elapsedMs = performance.now() - start
  latenciesMs.sort((one, other) => one - other)
  const percentile = (share: number): number => latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * share))] ?? Number.NaN
  return {
    requestsPerSecond: latenciesMs.length / elapsedMs * 1000,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    bytesPerAnswer: bytes / latenciesMs.length,
  }
}

interface Client {
  /** Sends a request, waits for the whole answer, and tells how many bytes its body has. */
  readonly ask: (request: Uint8Array) => Promise<number>
  readonly close: () => void
}

async function openClient({ host, port }: LoadPlan): Promise<Client> {
  const socket: Socket = connect({ host, port, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  let waiting = Promise.withResolvers<number>()
  let head = ''
  let bodyBytes = 0
  let missing = 0
  socket.on('data', (chunk) => {
    if (missing > 0) {
      missing -= chunk.length
    } else {
      head += chunk.toString('latin1')
      const headEnd = head.indexOf('\r\n\r\n')
      if (headEnd === -1) return
      const length = /^content-length: *(\d+)/im.exec(head.slice(0, headEnd))?.[1]
      if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
        waiting.reject(new Error(`unexpected answer: ${head.slice(0, 500)}`))
        return
      }
      bodyBytes = Number(length)
      missing = bodyBytes - (head.length - headEnd - 4)
      head = ''
    }
    if (missing === 0) waiting.resolve(bodyBytes)
  })
  socket.on('error', (error) => waiting.reject(error))
  socket.on('close', () => waiting.reject(new Error('the server closed a connection')))
  return {
    ask(request) {
      waiting = Promise.withResolvers<number>()
      socket.write(request)
      return waiting.promise
    },
    close() {
      socket.removeAllListeners('close')
      socket.destroy()
    },
  }
}

if (process.argv[1] === import.meta.filename) {
  process.once('message', (plan) => {
    void generate(plan as LoadPlan).then((result) => process.send?.(result))
  })
}
