/**
 * A process that loads HTTP servers: some clients, each with one connection that stays open, each
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
  /** The clients spread over them evenly. */
  readonly ports: readonly number[]
  readonly clients: number
  readonly seconds: number
  /** Not measured. */
  readonly warmupSeconds: number
  /** The clients go round in them. */
  readonly requests: readonly LoadRequest[]
}

export interface LoadRequest {
  /** Path with query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
}

export interface LoadResult {
  /** How many were measured. */
  readonly answers: number
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly bytesPerAnswer: number
  /** What part of one processor the generator took while it measured: near 1 it measures itself. */
  readonly processorShare: number
}

export interface RunningLoad {
  /** Throws when a connection breaks or an answer is not 200. */
  readonly result: Promise<LoadResult>
  /** Ends before the time of the plan, with what was measured until then. */
  readonly stop: () => void
}

/** Runs a plan in a process of its own. Throws when a connection breaks or an answer is not 200. */
export function runLoad(plan: LoadPlan): Promise<LoadResult> {
  return startLoad(plan).result
}

export function startLoad(plan: LoadPlan): RunningLoad {
  const generator = fork(import.meta.filename, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const answer = Promise.withResolvers<LoadResult>()
  generator.once('message', (result) => answer.resolve(result as LoadResult))
  generator.once('error', answer.reject)
  generator.once('exit', (code) => answer.reject(new Error(`the load generator ended with ${code} and without a result`)))
  generator.send(plan)
  return { result: answer.promise.finally(() => generator.kill()), stop: () => generator.send('stop') }
}

/** Aborted when the parent has seen enough. */
const stopping = new AbortController()

async function generate(plan: LoadPlan): Promise<LoadResult> {
  const requests = plan.requests.map(({ target, headers }) => Buffer.from([
    `GET ${target} HTTP/1.1`, `host: ${plan.host}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), '', '',
  ].join('\r\n')))
  const latenciesMs: number[] = []
  let bytes = 0
  const clients = await Promise.all(Array.from({ length: plan.clients }, (_, index) => openClient(plan.host, plan.ports[index % plan.ports.length] ?? 0)))
  const start = performance.now() + plan.warmupSeconds * 1000
  const end = start + plan.seconds * 1000
  let usage: NodeJS.CpuUsage | undefined
  let next = 0
  await Promise.all(clients.map(async (client) => {
    for (let now = performance.now(); now < end && !stopping.signal.aborted;) {
      const answerBytes = await client.ask(requests[next % requests.length] ?? Buffer.alloc(0))
      next += 1
      const done = performance.now()
      if (done >= start) {
        // Taken at the first answer that counts.
        usage ??= process.cpuUsage()
        latenciesMs.push(done - now)
        bytes += answerBytes
      }
      now = done
    }
    client.close()
  }))
  if (latenciesMs.length === 0) throw new RangeError(`no request was answered within ${plan.seconds} s: give it longer`)
  const elapsedMs = performance.now() - start
  const { user, system } = process.cpuUsage(usage)
  latenciesMs.sort((one, other) => one - other)
  const percentile = (share: number): number => latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * share))] ?? Number.NaN
  return {
    answers: latenciesMs.length,
    requestsPerSecond: latenciesMs.length / elapsedMs * 1000,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    bytesPerAnswer: bytes / latenciesMs.length,
    processorShare: (user + system) / 1000 / elapsedMs,
  }
}

interface Client {
  /** Sends a request, waits for the whole answer, and tells how many bytes its body has. */
  readonly ask: (request: Uint8Array) => Promise<number>
  readonly close: () => void
}

async function openClient(host: string, port: number): Promise<Client> {
  const socket: Socket = connect({ host, port, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  let waiting = Promise.withResolvers<number>()
  let head: Buffer = Buffer.alloc(0)
  let bodyBytes = 0
  let missing = 0
  socket.on('data', (chunk: Buffer) => {
    if (missing > 0) {
      missing -= chunk.length
    } else {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk])
      const headEnd = head.indexOf('\r\n\r\n')
      if (headEnd === -1) return
      const lines = head.toString('latin1', 0, headEnd)
      const length = /^content-length: *(\d+)/im.exec(lines)?.[1]
      if (!lines.startsWith('HTTP/1.1 200 ') || length === undefined) {
        waiting.reject(new Error(`unexpected answer: ${head.toString('latin1', 0, 500)}`))
        return
      }
      bodyBytes = Number(length)
      missing = bodyBytes - (head.length - headEnd - 4)
      head = Buffer.alloc(0)
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
  process.on('message', (message) => {
    if (message === 'stop') stopping.abort()
    else void generate(message as LoadPlan).then((result) => process.send?.(result))
  })
}
