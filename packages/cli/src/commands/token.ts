import { createToken } from '../api.ts'
import type { Command } from 'commander'
import { onRun } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { printJson, printLine } from '../output.ts'
import { quoteForShell } from '../shell.ts'

export function addToken(program: Command): void {
  const command = program.command('token')
    .description('make a token for other programs, to be sent as X-Auth-Token')
    .option('--export', 'print shell commands that set OPENCBR_ENDPOINT, OPENCBR_PROJECT_ID and OPENCBR_TOKEN')
    .addHelpText('after', '\nIn a shell:  eval "$(opencbr token --export)"')
  onRun<{ export?: boolean }>(command, async ({ options, findConnection }) => {
    const connection = findConnection()
    const { token, body } = await createToken(connection)
    // The API sends the token in a header, so its JSON alone would be of no use.
    if (options.json === true) printJson({ x_subject_token: token, ...asObject(body) })
    else if (options.export === true) {
      printLine(`export OPENCBR_ENDPOINT=${quoteForShell(connection.endpoint)}`)
      printLine(`export OPENCBR_PROJECT_ID=${quoteForShell(connection.projectId ?? '')}`)
      printLine(`export OPENCBR_TOKEN=${quoteForShell(token)}`)
    } else printLine(token)
  })
}

function asObject(body: unknown): object {
  if (typeof body === 'object' && body !== null) return body
  throw new CommandFailure('failure', 'The server described the token by something else than an object.')
}
