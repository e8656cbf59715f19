import { Argument, type Command } from 'commander'
import { onRun } from '../command.ts'
import { completionScript, SHELLS, type Shell } from '../completion.ts'

export function addCompletion(program: Command): void {
  const command = program.command('completion')
    .description('print a script that lets a shell complete these commands')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText('after', '\nIn bash:  source <(opencbr completion bash)\nIn zsh:   source <(opencbr completion zsh)\nIn fish:  opencbr completion fish | source')
  onRun(command, async ({ args: [shell] }) => {
    process.stdout.write(completionScript(program, shell as Shell))
  })
}
