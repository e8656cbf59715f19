/**
 * `opencbr repository …`: work on any restic repository, without a server. Here the commands are
 * declared; what they do is loaded when one of them runs, as it brings the engine with it.
 */
import type { Command } from 'commander'
import { prepareScryptThreads } from '@opencbr/engine/keys'
import { collect, duration, onRun, wholeNumber, type Call } from '../command.ts'

type Run<Options extends object> = (call: Call<Options>) => Promise<void>

const environmentHelp = `
REPOSITORY is a path, or s3://HOST/BUCKET/FOLDER with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The password comes from --password-file, OPENCBR_REPOSITORY_PASSWORD_FILE,
OPENCBR_REPOSITORY_PASSWORD, RESTIC_PASSWORD or RESTIC_PASSWORD_FILE, else from the terminal.
SNAPSHOT is the beginning of an id, or latest. docs/operating/repository.md has the exit codes.`

export function addRepository(program: Command): void {
  const group = program.command('repository').description('work on any restic repository, without a server')
  addInit(group)
  addBackup(group)
  addReaders(group)
  addRestore(group)
  addCheck(group)
  addForget(group)
  addCopy(group)
  addKey(group)
  addRepair(group)
}

function declare<Options extends object>(command: Command, load: () => Promise<Run<Options>>): Command {
  command.option('--password-file <file>', 'the file that holds the password of the repository')
    .option('--retry-lock <seconds>', 'wait so long for others who have locked it', wholeNumber('--retry-lock'))
    .addHelpText('after', environmentHelp)
  onRun<Options>(command, async (call) => {
    // They come up while the engine is loaded and the key's file is read.
    prepareScryptThreads()
    await (await load())(call)
  })
  return command
}

/** For commands that only read: they may do without a lock. */
function declareReader<Options extends object>(command: Command, load: () => Promise<Run<Options>>): Command {
  return declare(command, load).option('--no-lock', 'take no lock, for storage that must not be written to')
}

function addSnapshotOptions(command: Command): Command {
  return command
    .option('--host <name>', 'only snapshots of this machine')
    .option('--tag <tags>', 'only snapshots with all these tags, separated by commas; may be repeated: one list suffices', collect)
    .option('--path <path>', 'only snapshots of this path; may be repeated', collect)
}

function addInit(group: Command): void {
  declare(group.command('init <repository>').description('make a new repository')
    .option('--from <repository>', 'cut files like this one, so that copies between the two share what they have in common')
    .option('--from-password-file <file>', 'the file that holds its password'),
  async () => (await import('./repository-init.ts')).runInit)
}

function addBackup(group: Command): void {
  declare(group.command('backup <repository> <path...>')
    .description('back up directories; a single file or a block device is backed up as a disk image; each path becomes a snapshot')
    .option('--tag <tag>', 'tag the snapshots; may be repeated', collect)
    .option('--host <name>', 'the machine that they are of; this one by default')
    .option('--time <time>', 'the time that they stand for, as 2026-01-15T08:30:00Z; now by default')
    .option('--parent <snapshot>', 'compare with this snapshot; with the latest of the same machine and path by default')
    .option('--force', 'compare with none: read everything')
    .option('--exclude <pattern>', 'leave out what the pattern names, as in a .gitignore; may be repeated', collect)
    .option('--exclude-file <file>', 'a file of such patterns; may be repeated', collect)
    .option('--exclude-caches', 'leave out what is in directories that a CACHEDIR.TAG marks')
    .option('--one-file-system', 'leave out other file systems that are mounted inside')
    .option('--dry-run', 'read and count everything, and store nothing'),
  async () => (await import('./repository-backup.ts')).runBackup)
}

function addReaders(group: Command): void {
  declareReader(addSnapshotOptions(group.command('snapshots <repository> [snapshot...]').description('list snapshots')),
    async () => (await import('./repository-read.ts')).runSnapshots)
  declareReader(addSnapshotOptions(group.command('ls <repository> <snapshot[:path]>').description('list what is in a snapshot')
    .option('--long', 'with mode, owner, size and time')
    .option('--no-recursive', 'only the directory itself')),
  async () => (await import('./repository-read.ts')).runLs)
  declareReader(addSnapshotOptions(group.command('cat <repository> <what> [id]')
    .description('print a file, as SNAPSHOT:PATH; or config, or a snapshot, index, key, tree or blob with its id')),
  async () => (await import('./repository-cat.ts')).runCat)
  declareReader(addSnapshotOptions(group.command('stats <repository> [snapshot...]')
    .description('say how much is stored, and with snapshots how much a restore would bring')),
  async () => (await import('./repository-read.ts')).runStats)
}

function addRestore(group: Command): void {
  declareReader(addSnapshotOptions(group.command('restore <repository> <snapshot[:path]>')
    .description('bring back a snapshot, or what is at a path in it')
    .requiredOption('--target <dir>', 'the directory that it goes into; made when missing')),
  async () => (await import('./repository-restore.ts')).runRestore)
}

function addCheck(group: Command): void {
  declareReader(group.command('check <repository>').description('look whether a repository is whole')
    .option('--index-only', 'only whether every pack is there and as long as it should be')
    .option('--read-data', 'also read everything that is stored')
    .option('--read-data-percent <n>', 'also read so much of it, chosen anew each time', wholeNumber('--read-data-percent'))
    .option('--read-data-days <n>', 'also read what was written in the last so many days', wholeNumber('--read-data-days')),
  async () => (await import('./repository-check.ts')).runCheck)
}

function addForget(group: Command): void {
  const forget = addSnapshotOptions(group.command('forget <repository> [snapshot...]')
    .description('remove snapshots: those that are named, or those that no rule keeps'))
  const count = 'a number, or unlimited'
  for (const [name, text] of [
    ['last', 'the last n snapshots'], ['hourly', 'the newest of each of the last n hours'], ['daily', 'the newest of each of the last n days'],
    ['weekly', 'the newest of each of the last n weeks'], ['monthly', 'the newest of each of the last n months'],
    ['yearly', 'the newest of each of the last n years'],
  ]) forget.option(`--keep-${name} <n>`, `keep ${text}; ${count}`)
  forget.option('--keep-within <span>', 'keep what is younger than this before the newest, as 1y5m7d2h')
  for (const name of ['hourly', 'daily', 'weekly', 'monthly', 'yearly']) {
    forget.option(`--keep-within-${name} <span>`, `keep ${name} snapshots that are younger than this before the newest`)
  }
  declare(forget
    .option('--keep-tag <tags>', 'keep what has all these tags, separated by commas; may be repeated', collect)
    .option('--group-by <fields>', 'judge snapshots together that have these in common: host, paths, tags', 'host,paths')
    .option('--dry-run', 'only show what would go')
    .option('--prune', 'remove the data that nobody needs any more, too')
    .option('--unsafe-allow-remove-all', 'let the rules remove all snapshots of a group'),
  async () => (await import('./repository-forget.ts')).runForget)
  declare(group.command('prune <repository>').description('remove data that no snapshot needs')
    .option('--max-unused <percent>', 'how much of it may stay where removing it would cost much copying', wholeNumber('--max-unused'))
    .option('--grace <time>', 'remove only what was found unneeded so long ago, as 24h; until then it is marked and stays; 0s by default', duration('--grace'))
    .option('--dry-run', 'only show what would go'),
  async () => (await import('./repository-forget.ts')).runPruneCommand)
}

function addCopy(group: Command): void {
  declare(addSnapshotOptions(group.command('copy <repository> <target> [snapshot...]')
    .description('copy snapshots into another repository, all by default; what it has already is not copied again')
    .option('--target-password-file <file>', 'the file that holds the password of the target; the same password by default')
    .option('--no-verify', 'do not read again what was written')),
  async () => (await import('./repository-copy.ts')).runCopy)
}

function withNewPassword(command: Command): Command {
  return command
    .option('--new-password-file <file>', 'the file that holds the new password')
    .option('--host <name>', 'for people who list the keys; this machine by default')
    .option('--user <name>', 'for people who list the keys')
}

function addKey(group: Command): void {
  const key = group.command('key').description('the passwords of a repository')
  declareReader(key.command('list <repository>').description('list keys'), async () => (await import('./repository-key.ts')).runKeyList)
  declare(withNewPassword(key.command('add <repository>').description('add a password')),
    async () => (await import('./repository-key.ts')).runKeyAdd)
  declare(key.command('remove <repository> <key>').description('remove a password, by the id of its key; never the one in use'),
    async () => (await import('./repository-key.ts')).runKeyRemove)
  declare(withNewPassword(key.command('passwd <repository>').description('change the password in use')),
    async () => (await import('./repository-key.ts')).runKeyPasswd)
}

function addRepair(group: Command): void {
  const repair = group.command('repair').description('repair a damaged repository; nothing is deleted that cannot be read')
  declare(repair.command('index <repository>').description('make the index anew from the packs')
    .option('--read-all-packs', 'trust nothing that the index says')
    .option('--dry-run', 'only show what would be done'),
  async () => (await import('./repository-repair.ts')).runRepairIndexCommand)
  declare(repair.command('packs <repository> [pack...]')
    .description('put damaged packs aside, and keep what is good in them; without packs, everything is read to find them')
    .option('--dry-run', 'only show what would be done'),
  async () => (await import('./repository-repair.ts')).runRepairPacksCommand)
  declare(addSnapshotOptions(repair.command('snapshots <repository> [snapshot...]')
    .description('make snapshots anew that have lost something, without what is lost')
    .option('--dry-run', 'only show what would be done')
    .option('--forget', 'remove the damaged ones')),
  async () => (await import('./repository-repair.ts')).runRepairSnapshotsCommand)
}
