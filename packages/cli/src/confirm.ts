import { createInterface } from 'node:readline/promises'
import { CommandFailure } from './exit-codes.ts'

/** Of commands that destroy something. */
export interface DestroyFlags {
  readonly yes?: boolean
  readonly dryRun?: boolean
}

/**
 * Asks a person before something is destroyed. A script has decided already: where nobody sits at a
 * terminal, and with `--yes`, nothing is asked.
 */
export async function confirm(question: string, options: { readonly yes?: boolean }): Promise<void> {
  if (options.yes === true || process.stdin.isTTY !== true || process.stderr.isTTY !== true) return
  const dialogue = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await dialogue.question(`${question} [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure('failure', 'Nothing was done.')
  } finally {
    dialogue.close()
  }
}

/** For what has no way back: wants a text typed, or given as an option. Scripts are not excused. */
export async function confirmByTyping(question: string, wanted: string, given: string | undefined): Promise<void> {
  let typed = given
  if (typed === undefined && process.stdin.isTTY === true && process.stderr.isTTY === true) {
    const dialogue = createInterface({ input: process.stdin, output: process.stderr })
    try {
      typed = await dialogue.question(`${question}: `)
    } finally {
      dialogue.close()
    }
  }
  if (typed === undefined) throw new CommandFailure('usage', `This cannot be undone: add --confirm ${wanted}`)
  if (typed.trim() !== wanted) throw new CommandFailure('failure', 'That is another name. Nothing was done.')
}
