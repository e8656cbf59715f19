/** Bounds how many bytes are held at once by work that runs side by side. */
export class ByteBudget {
  readonly #bytesMax: number
  #bytesTaken = 0
  readonly #waiting: { bytes: number; admit: () => void }[] = []

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /**
   * Resolves, in the order of the calls, once so many bytes are free. A piece bigger than the whole
   * budget is let through when nothing else is held.
   */
  async take(bytes: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#bytesTaken += bytes
      return
    }
    const { promise, resolve } = Promise.withResolvers<undefined>()
    this.#waiting.push({ bytes, admit: () => resolve(undefined) })
    await promise
  }

  giveBack(bytes: number): void {
    this.#bytesTaken -= bytes
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#bytesTaken += next.bytes
      next.admit()
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytesTaken === 0 || this.#bytesTaken + bytes <= this.#bytesMax
  }
}
