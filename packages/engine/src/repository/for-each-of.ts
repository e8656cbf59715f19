/** Runs over a list with a few calls under way at once; the first error ends it once all of them have ended. */
export async function forEachOf<Item>(items: readonly Item[], atOnce: number, visit: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values()
  let failed = false
  const outcomes = await Promise.allSettled(
    Array.from({ length: Math.min(atOnce, items.length) }, async () => {
      for (const item of rest) {
        if (failed) return
        try {
          await visit(item)
        } catch (error) {
          failed = true
          throw error
        }
      }
    }),
  )
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}
