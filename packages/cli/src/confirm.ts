import { createInterface } from 'node:readline/promises'
import { CommandFailure } from './exit-codes.ts'

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
