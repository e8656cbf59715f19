/** The tree of commands, and how a run of it ends. */
import { Command, CommanderError } from 'commander'
import { addDomain, addGroup, addKey, addProject, addRole, addUser } from './commands/administration.ts'
import { addAgent } from './commands/agent.ts'
import { addAudit } from './commands/audit.ts'
import { addBackup } from './commands/backup.ts'
import { addCatalog } from './commands/catalog.ts'
import { addCheckpoint } from './commands/checkpoint.ts'
import { addCompletion } from './commands/completion.ts'
import { addDev } from './commands/dev.ts'
import { addEnv } from './commands/env.ts'
import { addMember } from './commands/member.ts'
import { addOrganizationPolicy } from './commands/organization-policy.ts'
import { addPolicy } from './commands/policy.ts'
import { addEvent } from './commands/event.ts'
import { addProtectable } from './commands/protectable.ts'
import { addRepository } from './commands/repository.ts'
import { RepositoryCommandFailure } from './commands/repository-endings.ts'
import { addResource } from './commands/resource.ts'
import { addServe } from './commands/serve.ts'
import { addTag } from './commands/tag.ts'
import { addTask } from './commands/task.ts'
import { addToken } from './commands/token.ts'
import { addVault } from './commands/vault.ts'
import { addVerification } from './commands/verification.ts'
import { CommandFailure, exitCodes } from './exit-codes.ts'
import { printNote } from './output.ts'
import { version } from './version.ts'

const environmentHelp = `
Which server: --data DIR, else OPENCBR_ENDPOINT with OPENCBR_TOKEN or with OPENCBR_ACCESS_KEY and
OPENCBR_SECRET_KEY (and OPENCBR_PROJECT_ID), else OPENCBR_DATA, else ./data if it is there.`

export function buildProgram(): Command {
  const program = new Command('opencbr')
    .description('Self-hosted Cloud Backup and Recovery: the service, and its commands.')
    .version(version)
    .option('--data <dir>', 'the data directory of a server on this machine')
    .option('--ca-file <file>', 'trust servers whose certificates one in this file vouches for, besides the usual ones (OPENCBR_CA_FILE)')
    .option('--json', 'print the JSON of the API')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(--help explains the command)')
    .exitOverride()
    .addHelpText('after', `\nWherever an id is wanted, a name that only one thing has will do.\n${environmentHelp}\n\n${describeExitCodes()}`)
  const groups = [
    addServe, addResource, addVault, addTag, addEvent, addAudit, addCheckpoint, addBackup, addVerification, addMember, addPolicy, addOrganizationPolicy, addTask, addProtectable, addAgent, addToken, addEnv, addDomain,
    addProject, addUser, addGroup, addRole, addKey, addRepository, addCatalog, addDev, addCompletion,
  ]
  for (const add of groups) add(program)
  return program
}

/** Runs one command line (without node and script) and resolves to the exit code. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const program = buildProgram()
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCodes.success.code
  } catch (error) {
    return endWith(error, program.opts<{ json?: boolean }>().json === true)
  }
}

function endWith(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    // Commander has printed what it has to say. Its own code tells help that was asked for from mistakes.
    return error.exitCode === 0 ? exitCodes.success.code : exitCodes.usage.code
  }
  if (error instanceof RepositoryCommandFailure) {
    printNote(json && error.answer !== undefined ? JSON.stringify(error.answer) : `opencbr: ${error.message}`)
    return error.exitCode
  }
  if (error instanceof CommandFailure) {
    printNote(json && error.answer !== undefined ? JSON.stringify(error.answer) : `opencbr: ${error.message}`)
    return exitCodes[error.ending].code
  }
  printNote(`opencbr: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
  return exitCodes.failure.code
}

function describeExitCodes(): string {
  const lines = Object.values(exitCodes).map(({ code, meaning }) => `  ${String(code).padStart(3)}  ${meaning}`)
  return `Exit codes:\n${lines.join('\n')}`
}
