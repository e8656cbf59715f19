import type { Command } from 'commander'
import { onRun } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { printNote, printTable } from '../output.ts'
import { readServeSettings, type ServeFlags } from '../settings.ts'
import { addCatalogCopies } from './catalog-copies.ts'

export function addCatalog(program: Command): void {
  const group = program.command('catalog').description('the catalogue of a server on this machine')
  addCatalogCopies(group)
  addRebuild(group)
}

type RebuildFlags = Pick<ServeFlags, 'data' | 'database' | 'masterKeyFile' | 'storage' | 'config'>

function addRebuild(group: Command): void {
  const command = group.command('rebuild')
    .description('make a lost catalogue anew, from the storage of the vaults and the master key')
    .option('--storage <place>', 'where the vaults lie (OPENCBR_STORAGE, default: in the data directory)')
    .option('--database <url>', 'the PostgreSQL database to make it in (OPENCBR_DATABASE)')
    .option('--master-key-file <file>', 'the master key, when not in the data directory (OPENCBR_MASTER_KEY_FILE)')
    .option('--config <file>', 'the configuration file of the server (OPENCBR_CONFIG)')
  onRun<RebuildFlags>(command, async ({ options, print }) => {
    const { data, database, masterKeyFile, storage, config: file } = options
    const flags = { data, database, masterKeyFile, storage, config: file }
    const config = readServeSettings(
      Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)), process.env, process.cwd(),
    )
    const { rebuildCatalogue, StartRefusal } = await import('@opencbr/server')
    const rebuilt = await rebuildCatalogue(config).catch((error: unknown) => {
      throw error instanceof StartRefusal ? new CommandFailure('failure', error.message, { cause: error }) : error
    })
    print(rebuilt, () => {
      printTable(rebuilt.vaults, [
        { title: 'vault', value: (vault) => vault.id },
        { title: 'name', value: (vault) => vault.name },
        { title: 'backups', value: (vault) => vault.backups, align: 'right' },
        { title: 'found', value: (vault) => vault.found.length, align: 'right' },
        { title: 'lost', value: (vault) => vault.lost.length, align: 'right' },
      ], 'No vaults.')
      for (const { place, reason } of rebuilt.skipped) printNote(`Not rebuilt: the vault ${place}, since ${reason}.`)
      printNote(`Also ${rebuilt.projects} projects, ${rebuilt.users} users, ${rebuilt.resources} resources and ${rebuilt.policies} policies. `
        + `Gone for good: ${rebuilt.not_rebuilt.join(', ')}.`)
    })
    if (rebuilt.skipped.length > 0) throw new CommandFailure('failure', `${rebuilt.skipped.length} vaults could not be rebuilt.`, { answer: rebuilt })
  })
}
