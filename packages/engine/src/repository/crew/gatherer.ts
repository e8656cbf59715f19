interface Gathered<Item, Answer> {
  readonly item: Item
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Hands items on many at a time: once enough weight has come together, or at the end of the turn of
 * the event loop in which the first one came. A message costs as much as the work on a small blob.
 */
export class Gatherer<Item, Answer> {
  readonly #weightMax: number
  readonly #handOn: (items: readonly Item[], weight: number) => Promise<readonly Answer[]>
  #gathered: Gathered<Item, Answer>[] = []
  #weight = 0
  #turnEnd: NodeJS.Immediate | undefined

  /** @param handOn answers in the order of the items */
  constructor(weightMax: number, handOn: (items: readonly Item[], weight: number) => Promise<readonly Answer[]>) {
    this.#weightMax = weightMax
    this.#handOn = handOn
  }

  add(item: Item, weight: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ item, resolve, reject })
      this.#weight += weight
      if (this.#weight >= this.#weightMax) this.#send()
      else this.#turnEnd ??= setImmediate(() => this.#send())
    })
  }

  #send(): void {
    clearImmediate(this.#turnEnd)
    this.#turnEnd = undefined
    const gathered = this.#gathered
    this.#gathered = []
    const weight = this.#weight
    this.#weight = 0
    this.#handOn(gathered.map(({ item }) => item), weight).then(
      (answers) => {
        for (const [i, { resolve, reject }] of gathered.entries()) {
          const answer = answers[i]
          if (answer === undefined) reject(new Error('Work was not answered.'))
          else resolve(answer)
        }
      },
      (error: unknown) => {
        for (const { reject } of gathered) reject(error)
      },
    )
  }
}
