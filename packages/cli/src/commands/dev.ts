import type { Command } from 'commander'
import { onRun, wholeNumber } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { printJson, printNote } from '../output.ts'
import { readServeSettings } from '../settings.ts'

interface PopulateFlags {
  readonly backups: number
  readonly projects?: number
  readonly vaults?: number
  readonly resources?: number
  readonly seed?: number
}

export function addDev(program: Command): void {
  const group = program.command('dev').description('for those who work on OpenCBR itself')
  const populate = group.command('populate')
    .description('fill the catalogue of a data directory with made-up rows, for benchmarks; the same rows for the same seed')
    .requiredOption('--backups <n>', 'how many backups', wholeNumber('--backups'))
    .option('--projects <n>', 'spread over so many projects, which the user of the first start may all see', wholeNumber('--projects'))
    .option('--vaults <n>', 'spread over so many vaults', wholeNumber('--vaults'))
    .option('--resources <n>', 'of so many resources', wholeNumber('--resources'))
    .option('--seed <n>', 'another number makes other rows', wholeNumber('--seed'))
  onRun<PopulateFlags>(populate, async ({ options }) => {
    const config = readServeSettings(options.data === undefined ? {} : { data: options.data }, process.env, process.cwd())
    const { populateDirectory, PopulateRefusal, StartRefusal } = await import('@opencbr/server')
    const startedAt = performance.now()
    const made = await populateDirectory(config, {
      backups: options.backups,
      ...(options.projects === undefined ? {} : { projects: options.projects }),
      ...(options.vaults === undefined ? {} : { vaults: options.vaults }),
      ...(options.resources === undefined ? {} : { resources: options.resources }),
      ...(options.seed === undefined ? {} : { seed: options.seed }),
    }).catch((error: unknown) => {
      const refused = error instanceof PopulateRefusal || error instanceof StartRefusal
      throw refused ? new CommandFailure('failure', error.message, { cause: error }) : error
    })
    if (options.json === true) printJson(made)
    printNote(`Populated ${config.dataDir} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`)
  })
}
