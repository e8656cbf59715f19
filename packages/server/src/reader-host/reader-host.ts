/**
 * Keeps the process that reads vaults: starts it when somebody wants to look into a backup, and again after it has
 * died. What it was asked for when it died fails; streams break off, so that nobody takes half a file for a whole one.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { Readable } from 'node:stream'
import { readerProgramPath, type FromReader, type ToReader, type VaultReader } from '@opencbr/agent'
import { ReadFailure } from '../browse/index.ts'

/** Of the server's environment only what a program needs to run at all, and to reach its storage. */
const PASSED_ON = /^(PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|AWS_\w+|S3_\w+|SSL_CERT_\w+|NODE_EXTRA_CA_CERTS)$/

/** Pieces under way for each stream; with that many the channel's way there and back costs nothing. */
const PULLS_AHEAD = 3
const STREAM_BYTES_MAX = 1024 * 1024

interface Waiting {
  readonly resolve: (message: FromReader) => void
  readonly reject: (error: Error) => void
}

interface Streaming {
  readonly stream: Readable
  pulls: number
}

/** Requests get their ids when they are sent. */
type Request = Omit<Extract<ToReader, { type: 'list' }>, 'id'> | Omit<Extract<ToReader, { type: 'open' }>, 'id'>

export function openReaderHost(log: (text: string) => void): VaultReader {
  const waiting = new Map<number, Waiting>()
  const streaming = new Map<number, Streaming>()
  let child: ChildProcess | undefined
  let lastId = 0
  let closing = false

  function start(): ChildProcess {
    const started = fork(readerProgramPath, [], {
      serialization: 'advanced',
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name))),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    started.on('message', (message) => receive(message as FromReader))
    started.on('error', (error) => log(`the reader cannot be started: ${error.message}`))
    started.on('close', () => bury(started))
    return started
  }

  function bury(dead: ChildProcess): void {
    if (child !== dead) return
    child = undefined
    if (!closing) log('the reader ended unexpectedly; it is started again when it is needed')
    const error = new ReadFailure('reader.died', 'the process that reads it has ended: try again')
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
    for (const { stream } of streaming.values()) stream.destroy(error)
    streaming.clear()
  }

  function send(message: ToReader): void {
    // An error means that the process is ending, which is noticed in any case.
    if (child?.connected === true) child.send(message, () => undefined)
  }

  function receive(message: FromReader): void {
    const { id } = message
    switch (message.type) {
      case 'listed':
      case 'opened':
        waiting.get(id)?.resolve(message)
        waiting.delete(id)
        break
      case 'failed': {
        const error = new ReadFailure(message.failure.code, message.failure.message)
        waiting.get(id)?.reject(error)
        waiting.delete(id)
        streaming.get(id)?.stream.destroy(error)
        streaming.delete(id)
        break
      }
      case 'piece': {
        const open = streaming.get(id)
        if (open === undefined) break
        open.pulls -= 1
        if (open.stream.push(message.bytes)) pull(id, open)
        break
      }
      case 'end':
        streaming.get(id)?.stream.push(null)
        streaming.delete(id)
        break
    }
  }

  function pull(id: number, open: Streaming): void {
    while (open.pulls < PULLS_AHEAD) {
      open.pulls += 1
      send({ type: 'pull', id })
    }
  }

  async function ask(request: Request): Promise<FromReader> {
    if (closing) throw new ReadFailure('reader.died', 'the server is stopping')
    child ??= start()
    lastId += 1
    const id = lastId
    const answer = Promise.withResolvers<FromReader>()
    waiting.set(id, answer)
    send({ ...request, id })
    return answer.promise
  }

  return {
    async list(request) {
      const answer = await ask({ type: 'list', ...request })
      if (answer.type !== 'listed') throw new TypeError(`a listing was expected, not ${answer.type}`)
      return answer.listing
    },
    async open(request) {
      const answer = await ask({ type: 'open', ...request })
      if (answer.type !== 'opened') throw new TypeError(`a stream was expected, not ${answer.type}`)
      const { id } = answer
      const stream = new Readable({
        highWaterMark: STREAM_BYTES_MAX,
        read() {
          const open = streaming.get(id)
          if (open !== undefined) pull(id, open)
        },
        destroy(error, done) {
          if (streaming.delete(id)) send({ type: 'cancel', id })
          done(error)
        },
      })
      streaming.set(id, { stream, pulls: 0 })
      return { opened: answer.stream, stream }
    },
    async close() {
      closing = true
      const running = child
      if (running === undefined) return
      const ended = new Promise<void>((resolve) => running.once('close', () => resolve()))
      running.kill('SIGKILL')
      await ended
    },
  }
}
