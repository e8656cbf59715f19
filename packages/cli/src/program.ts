/** The tree of commands, and how a run of it ends. */
import { Command, CommanderError } from 'commander'
import { RepositoryCommandFailure } from './commands/repository-endings.ts'
import { CommandFailure, exitCodes } from './exit-codes.ts'
import { printNote } from './output.ts'
import { version } from './version.ts'

const environmentHelp = `
Which server: --data DIR, else OPENCBR_ENDPOINT with OPENCBR_TOKEN or with OPENCBR_ACCESS_KEY and
OPENCBR_SECRET_KEY (and OPENCBR_PROJECT_ID), else OPENCBR_DATA, else ./data if it is there.`

/** What declares each command, by its name; loaded when a command line begins with the name. */
const groups: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./commands/serve.ts')).addServe,
  resource: async () => (await import('./commands/resource.ts')).addResource,
  vault: async () => (await import('./commands/vault.ts')).addVault,
  tag: async () => (await import('./commands/tag.ts')).addTag,
  event: async () => (await import('./commands/event.ts')).addEvent,
  audit: async () => (await import('./commands/audit.ts')).addAudit,
  checkpoint: async () => (await import('./commands/checkpoint.ts')).addCheckpoint,
  backup: async () => (await import('./commands/backup.ts')).addBackup,
  verification: async () => (await import('./commands/verification.ts')).addVerification,
  member: async () => (await import('./commands/member.ts')).addMember,
  policy: async () => (await import('./commands/policy.ts')).addPolicy,
  'organization-policy': async () => (await import('./commands/organization-policy.ts')).addOrganizationPolicy,
  task: async () => (await import('./commands/task.ts')).addTask,
  protectable: async () => (await import('./commands/protectable.ts')).addProtectable,
  agent: async () => (await import('./commands/agent.ts')).addAgent,
  token: async () => (await import('./commands/token.ts')).addToken,
  env: async () => (await import('./commands/env.ts')).addEnv,
  domain: async () => (await import('./commands/administration.ts')).addDomain,
  project: async () => (await import('./commands/administration.ts')).addProject,
  user: async () => (await import('./commands/administration.ts')).addUser,
  group: async () => (await import('./commands/administration.ts')).addGroup,
  role: async () => (await import('./commands/administration.ts')).addRole,
  key: async () => (await import('./commands/administration.ts')).addKey,
  repository: async () => (await import('./commands/repository.ts')).addRepository,
  catalog: async () => (await import('./commands/catalog.ts')).addCatalog,
  dev: async () => (await import('./commands/dev.ts')).addDev,
  completion: async () => (await import('./commands/completion.ts')).addCompletion,
}

/** The whole tree of commands, or just the branch of a name: loading all of them takes several times as long as most of them run. */
export async function buildProgram(name = ''): Promise<Command> {
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
  // Completion is of all the others.
  const load = name === 'completion' || !Object.hasOwn(groups, name) ? undefined : groups[name]
  for (const add of await Promise.all((load === undefined ? Object.values(groups) : [load]).map((each) => each()))) add(program)
  return program
}

/** Runs one command line (without node and script) and resolves to the exit code. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const program = await buildProgram(args[0])
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
