import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { ByteBudget } from './byte-budget.ts'

/** Starts taking, and tells whether it was let through once everything else has run. */
async function isAdmitted(taking: Promise<void>): Promise<boolean> {
  let admitted = false
  void taking.then(() => { admitted = true })
  await setImmediate()
  return admitted
}

test('takers wait until enough has been given back, in their order', async () => {
  const budget = new ByteBudget(100)
  await budget.take(80)
  const big = budget.take(90)
  const small = budget.take(5)
  assert.ok(!(await isAdmitted(big)))
  assert.ok(!(await isAdmitted(small)), 'the small one fits but came later')
  budget.giveBack(80)
  assert.ok(await isAdmitted(big))
  assert.ok(await isAdmitted(small))
})

test('a piece bigger than the budget is let through alone', async () => {
  const budget = new ByteBudget(100)
  await budget.take(1)
  const huge = budget.take(1000)
  assert.ok(!(await isAdmitted(huge)))
  budget.giveBack(1)
  assert.ok(await isAdmitted(huge))
  const next = budget.take(1)
  assert.ok(!(await isAdmitted(next)))
  budget.giveBack(1000)
  assert.ok(await isAdmitted(next))
})
