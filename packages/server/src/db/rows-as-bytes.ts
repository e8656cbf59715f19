/**
 * Reads one long column of PostgreSQL's rows as the bytes that came. `pg` makes texts of all values, and of what it made one long text of it
 * would make bytes again; for pages of a megabyte that took more time than all else.
 *
 * While rows come, messages are read here; whatever is about the connection, errors too, is left to `pg`.
 */
import type { Submittable } from 'pg'

/** What `pg` has, and does not declare. */
interface Connection {
  readonly stream: NodeJS.ReadableStream & { cork(): void, uncork(): void }
  parse(statement: { name: string, text: string }): void
  bind(portal: { statement: string, values: readonly (string | null)[] }): void
  execute(portal: object): void
  sync(): void
}

type Listener = (chunk: Uint8Array) => void

export interface JoinedRows {
  /** The first column of all rows, with commas between. */
  readonly bytes: Uint8Array
  readonly rows: number
  /** The second column of the last row. */
  readonly last: string | undefined
}

const MESSAGE_HEAD = 5
/** What follows the head of a row: how many columns it has, then the length of each before it. */
const ROW_HEAD = 2
const LENGTH = 4
const COMMA = 44
const [PARSED, BOUND, ROW, DONE, READY, FAILED] = [...'12DCZE'].map((letter) => letter.charCodeAt(0))

export class RowsAsBytes implements Submittable {
  readonly #name: string
  readonly #text: string | undefined
  readonly #values: readonly (string | null)[]
  readonly #resolve: (rows: JoinedRows) => void
  readonly #reject: (error: Error) => void
  #stream: Connection['stream'] | undefined
  #others: Listener[] = []
  #part: Buffer = Buffer.alloc(0)
  #bytes: Uint8Array<ArrayBuffer>
  #used = 0
  #rows = 0
  #last: string | undefined

  /** `text` tells the connection the statement, if it does not keep one of this name. */
  constructor(
    statement: { readonly name: string, readonly text: string | undefined, readonly values: readonly (string | null)[], readonly bytesExpected: number },
    resolve: (rows: JoinedRows) => void, reject: (error: Error) => void,
  ) {
    this.#name = statement.name
    this.#text = statement.text
    this.#values = statement.values
    this.#bytes = memoryOf(statement.bytesExpected)
    this.#resolve = resolve
    this.#reject = reject
  }

  submit(connection: unknown): void {
    const { stream } = connection as Connection
    this.#stream = stream
    this.#others = stream.listeners('data') as Listener[]
    stream.removeAllListeners('data')
    stream.on('data', this.#read)
    stream.cork()
    if (this.#text !== undefined) (connection as Connection).parse({ name: this.#name, text: this.#text })
    ;(connection as Connection).bind({ statement: this.#name, values: this.#values })
    ;(connection as Connection).execute({})
    ;(connection as Connection).sync()
    stream.uncork()
  }

  readonly #read = (chunk: Buffer): void => {
    const buffer = this.#part.length === 0 ? chunk : Buffer.concat([this.#part, chunk])
    let at = 0
    while (at + MESSAGE_HEAD <= buffer.length) {
      const end = at + 1 + buffer.readInt32BE(at + 1)
      if (end > buffer.length) break
      const kind = buffer[at]
      if (kind === ROW) this.#readRow(buffer, at + MESSAGE_HEAD)
      else if (kind === READY || kind === FAILED) {
        // Before anybody hears of it, since the next statement may be handed in at once.
        this.#giveBack()
        for (const other of this.#others) other(buffer.subarray(at))
        return
      } else if (kind !== PARSED && kind !== BOUND && kind !== DONE) {
        for (const other of this.#others) other(buffer.subarray(at, end))
      }
      at = end
    }
    this.#part = buffer.subarray(at)
  }

  #readRow(buffer: Buffer, at: number): void {
    const from = at + ROW_HEAD + LENGTH
    const length = Math.max(0, buffer.readInt32BE(at + ROW_HEAD))
    if (this.#used + length + 1 > this.#bytes.length) {
      const larger = memoryOf(Math.max(this.#bytes.length * 2, this.#used + length + 1))
      larger.set(this.#bytes.subarray(0, this.#used))
      this.#bytes = larger
    }
    if (this.#rows > 0) this.#bytes[this.#used++] = COMMA
    buffer.copy(this.#bytes, this.#used, from, from + length)
    this.#used += length
    this.#rows += 1
    const next = from + length
    const lastLength = buffer.readInt32BE(next)
    this.#last = lastLength < 0 ? undefined : buffer.toString('latin1', next + LENGTH, next + LENGTH + lastLength)
  }

  #giveBack(): void {
    if (this.#stream === undefined) return
    this.#stream.removeListener('data', this.#read)
    for (const other of this.#others) this.#stream.on('data', other)
    this.#stream = undefined
  }

  handleReadyForQuery(): void {
    this.#resolve({ bytes: new Uint8Array(this.#bytes.buffer.transfer(this.#used)), rows: this.#rows, last: this.#last })
  }

  handleError(error: Error): void {
    this.#giveBack()
    this.#reject(error)
  }
}

/** Of its own, and not filled. */
function memoryOf(bytes: number): Uint8Array<ArrayBuffer> {
  return Buffer.allocUnsafeSlow(bytes) as Uint8Array<ArrayBuffer>
}
