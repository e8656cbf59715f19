/** Chance that a seed repeats, for tests that try what nobody would think of. */
import { randomInt } from 'node:crypto'
import { pseudoRandomBytes } from './nasty-tree.ts'

export interface SeededRandom {
  /** A whole number from 0 to below the limit. */
  below(limit: number): number
  pick<Item>(items: readonly Item[]): Item
  chance(percent: number): boolean
}

const NUMBERS = 4096

/** The same numbers for the same seed. */
export function seededRandom(seed: number): SeededRandom {
  let round = 0
  let numbers: Buffer = Buffer.alloc(0)
  let at = 0
  function next(): number {
    if (at >= numbers.length) {
      // Every buffer has a key of its own.
      numbers = pseudoRandomBytes(4 * NUMBERS, seed + round * 0x1_0001)
      round += 1
      at = 0
    }
    at += 4
    return numbers.readUInt32LE(at - 4)
  }
  const below = (limit: number) => next() % limit
  return {
    below,
    chance: (percent) => below(100) < percent,
    pick(items) {
      const item = items[below(items.length)]
      if (item === undefined) throw new RangeError('there is nothing to pick from')
      return item
    },
  }
}

/** The seed named in OPENCBR_TEST_SEED, or one that nobody has chosen; a test prints it. */
export function chooseSeed(): number {
  const named = process.env['OPENCBR_TEST_SEED']
  return named === undefined || named === '' ? randomInt(2 ** 31) : Number(named)
}
