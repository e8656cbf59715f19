/**
 * Random draws that repeat: the same seed gives the same draws on every machine. The generator is
 * xoshiro128** over 32-bit integers, filled from the seed by SplitMix32; good for test data, and no more.
 */
export interface Random {
  /** An integer from 0 to `bound` - 1; `bound` is at most 2^32. */
  readonly below: (bound: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <Item>(items: readonly Item[]) => Item
  readonly hex: (digits: number) => string
  /** In the form of a version 4 UUID. */
  readonly uuid: () => string
}

const TWO_TO_32 = 0x1_0000_0000

const fourDigits: readonly string[] = Array.from({ length: 0x1_0000 }, (_, number) => number.toString(16).padStart(4, '0'))

export function openRandom(seed: number): Random {
  const state = new Uint32Array(4)
  let mixed = seed >>> 0
  for (let index = 0; index < state.length; index += 1) {
    mixed = (mixed + 0x9e3779b9) >>> 0
    let word = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad)
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97)
    state[index] = word ^ (word >>> 15)
  }
  const [first, second, third, fourth] = state
  let [a, b, c, d] = [first ?? 0, second ?? 0, third ?? 0, fourth ?? 0]

  function next(): number {
    const scaled = Math.imul(b, 5)
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << 11) | (d >>> 21)
    return result
  }

  function below(bound: number): number {
    return Math.floor((next() / TWO_TO_32) * bound)
  }

  function hex(digits: number): string {
    let text = ''
    while (text.length < digits) {
      const word = next()
      text += fourDigits[word >>> 16]
      text += fourDigits[word & 0xffff]
    }
    return text.slice(0, digits)
  }

  return {
    below,
    hex,
    chance: (probability) => next() < probability * TWO_TO_32,
    pick(items) {
      const item = items[below(items.length)]
      if (item === undefined) throw new RangeError('there is nothing to pick from')
      return item
    },
    uuid() {
      const text = hex(32)
      const variant = (8 + below(4)).toString(16)
      return `${text.slice(0, 8)}-${text.slice(8, 12)}-4${text.slice(13, 16)}-${variant}${text.slice(17, 20)}-${text.slice(20)}`
    },
  }
}

/**
 * Deals values in fixed proportions: every hundred deals hold each value exactly as often as its
 * weight says, so that rare values are there in small catalogues too. Weights add up to 100.
 */
export function openDeck<Value>(random: Random, weights: readonly (readonly [Value, number])[]): () => Value {
  const cards = weights.flatMap(([value, weight]) => Array.from({ length: weight }, () => value))
  if (cards.length !== 100) throw new RangeError(`the weights of a deck add up to ${cards.length} instead of 100`)
  let dealt = cards.length
  return () => {
    if (dealt === cards.length) {
      dealt = 0
      for (let index = cards.length - 1; index > 0; index -= 1) {
        const other = random.below(index + 1)
        const card = cards[index] as Value
        cards[index] = cards[other] as Value
        cards[other] = card
      }
    }
    const card = cards[dealt] as Value
    dealt += 1
    return card
  }
}
