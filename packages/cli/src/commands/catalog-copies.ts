import type { Command } from 'commander'
import { readFileSync } from 'node:fs'
import { onRun } from '../command.ts'
import { confirm } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { printJson, printLine, safeText } from '../output.ts'
import { readServeSettings, type ServeFlags } from '../settings.ts'
import { version } from '../version.ts'

type PlaceFlags = Pick<ServeFlags, 'data' | 'database' | 'masterKeyFile' | 'storage'>

interface BackupFlags extends PlaceFlags {
  readonly vault?: string
  readonly to?: string
}

interface RestoreFlags extends PlaceFlags {
  readonly from?: string
  readonly repository?: string
  readonly passwordFile?: string
  readonly snapshot?: string
  readonly replace?: boolean
  readonly yes?: boolean
}

function withPlace(command: Command): Command {
  return command
    .option('--database <url>', 'the catalogue in PostgreSQL (OPENCBR_DATABASE)')
    .option('--master-key-file <file>', 'the key of the catalogue (OPENCBR_MASTER_KEY_FILE, default: master.key in the data directory)')
    .option('--storage <place>', 'where vaults lie (OPENCBR_STORAGE, default: vaults in the data directory)')
    .addHelpText('after', '\n--data is the server\'s data directory (OPENCBR_DATA, default ./data).')
}

/** Reads only where the catalogue is; the rest of a server's settings does not matter here. */
function placeOf({ data, database, masterKeyFile, storage }: PlaceFlags): ReturnType<typeof readServeSettings> {
  return readServeSettings({
    ...(data === undefined ? {} : { data }), ...(database === undefined ? {} : { database }),
    ...(masterKeyFile === undefined ? {} : { masterKeyFile }), ...(storage === undefined ? {} : { storage }),
  }, process.env, process.cwd())
}

/** Copies of the catalogue, and how they come back. */
export function addCatalogCopies(group: Command): void {
  const backup = withPlace(group.command('backup')
    .description('copy the catalogue while the server goes on, into a vault\'s repository or into a file')
    .option('--vault <vault>', 'into this vault: its id, or a name that only one vault has')
    .option('--to <file>', 'into this file, which must not exist'))
  onRun<BackupFlags>(backup, async ({ options }) => {
    const { vault, to } = options
    if ((vault === undefined) === (to === undefined)) throw new CommandFailure('usage', 'Name either --vault or --to.')
    const config = placeOf(options)
    const { backUpCatalogue, systemClock, writeCatalogueFile } = await import('@opencbr/server')
    if (to !== undefined) {
      await refusing(() => writeCatalogueFile(config, to))
      if (options.json === true) printJson({ file: to })
      else printLine(`The catalogue is in ${safeText(to)}. It opens with the master key only, which is not in it.`)
      return
    }
    const made = await refusing(() => backUpCatalogue(config, systemClock(), vault ?? '', `opencbr ${version}`))
    if (options.json === true) printJson({ snapshot_id: made.snapshotId, repository: made.repository, bytes_added: made.bytesAdded })
    else printLine(`The catalogue is in snapshot ${made.snapshotId.slice(0, 8)} of ${safeText(made.repository)}. It opens with the master key only, which is not in it.`)
  })

  const restore = withPlace(group.command('restore')
    .description('make a copy the catalogue again; the server must not run')
    .option('--from <file>', 'a file that catalog backup --to has written')
    .option('--repository <repository>', 'the repository of the vault, as its recovery kit names it')
    .option('--password-file <file>', 'with --repository: holds the password of the recovery kit')
    .option('--snapshot <id>', 'with --repository: which one; default: the newest')
    .option('--replace', 'put it in the place of the catalogue that is there; in a data directory that one is kept beside it')
    .option('--yes', 'do not ask'))
  onRun<RestoreFlags>(restore, async ({ options }) => {
    const { from, repository, passwordFile, snapshot } = options
    if ((from === undefined) === (repository === undefined)) throw new CommandFailure('usage', 'Name either --from or --repository.')
    if (repository !== undefined && passwordFile === undefined) throw new CommandFailure('usage', '--repository needs --password-file.')
    const config = placeOf(options)
    if (options.replace === true) await confirm('Replace the catalogue that is there by the copy?', options)
    const { restoreCatalogue, systemClock } = await import('@opencbr/server')
    const copy = from !== undefined ? { file: from } : { repository: repository ?? '', password: readPassword(passwordFile ?? ''), snapshotId: snapshot }
    const done = await refusing(() => restoreCatalogue(config, systemClock(), copy, { replace: options.replace === true }))
    if (options.json === true) {
      printJson({ taken_at: done.takenAt ?? null, kept_as: done.keptAs ?? null })
      return
    }
    printLine(`The catalogue is back${done.takenAt === undefined ? '' : `, as of ${done.takenAt}`}. What ran at that time goes on, or ends in error, when the server starts.`)
    if (done.keptAs !== undefined) printLine(`The one that was there is kept as ${safeText(done.keptAs)}.`)
  })
}

function readPassword(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new CommandFailure('usage', `The password file ${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

async function refusing<Result>(work: () => Promise<Result>): Promise<Result> {
  const { StartRefusal } = await import('@opencbr/server')
  try {
    return await work()
  } catch (error) {
    throw error instanceof StartRefusal ? new CommandFailure('failure', error.message, { cause: error }) : error
  }
}
