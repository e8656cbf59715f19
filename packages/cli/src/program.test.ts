import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Command } from 'commander'
import { ListBackupsQuery, ListEventsQuery, ListStorageUsageQuery, ListMembersQuery, ListOperationLogsQuery, ListResourcesQuery, ListVaultsQuery } from '@opencbr/contract'
import type { Filter } from './command.ts'
import { backupFilters } from './commands/backup.ts'
import { memberFilters } from './commands/member.ts'
import { resourceFilters } from './commands/resource.ts'
import { taskFilters } from './commands/task.ts'
import { buildProgram } from './program.ts'
import { vaultFilters } from './commands/vault.ts'
import { eventFilters } from './commands/event.ts'
import { usageFilters } from './commands/vault-figures.ts'
import { exitCodes } from './exit-codes.ts'

const manual = readFileSync(join(import.meta.dirname, '../../../docs/operating/cli.md'), 'utf8')

function parametersOf(filters: readonly Filter[]): string[] {
  return filters.map(({ parameter }) => parameter).toSorted()
}

function leaves(command: Command, path = ''): { path: string, command: Command }[] {
  if (command.commands.length === 0) return [{ path, command }]
  return command.commands.flatMap((child) => leaves(child, `${path} ${child.name()}`.trim()))
}

test('the manual names every command, and no other', async () => {
  const named = [...manual.matchAll(/^\| `opencbr ([a-z -]+?)(?: [A-Z[\]=. -]+)?` \|/gm)].map((match) => match[1])
  assert.deepEqual(named.toSorted(), leaves(await buildProgram()).map(({ path }) => path).toSorted())
})

test('the manual has the exit codes of the program', () => {
  const rows = [...manual.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map((match) => [Number(match[1]), match[2]])
  assert.deepEqual(rows, Object.values(exitCodes).map(({ code, meaning }) => [code, meaning]))
})

test('every query parameter of the lists is an option', () => {
  assert.deepEqual(parametersOf(backupFilters), Object.keys(ListBackupsQuery.properties).toSorted())
  assert.deepEqual(parametersOf(eventFilters), Object.keys(ListEventsQuery.properties).toSorted())
  assert.deepEqual(parametersOf(usageFilters), Object.keys(ListStorageUsageQuery.properties).toSorted())
  assert.deepEqual(parametersOf(vaultFilters), Object.keys(ListVaultsQuery.properties).toSorted())
  assert.deepEqual(parametersOf(resourceFilters), Object.keys(ListResourcesQuery.properties).toSorted())
  assert.deepEqual(parametersOf(memberFilters), Object.keys(ListMembersQuery.properties).toSorted())
  assert.deepEqual(parametersOf(taskFilters), Object.keys(ListOperationLogsQuery.properties).toSorted())
})

test('no two options of a command mean the same', async () => {
  const program = await buildProgram()
  for (const { path, command } of leaves(program)) {
    const flags = [...command.options, ...program.options].map((option) => option.long)
    assert.equal(new Set(flags).size, flags.length, `${path}: ${flags.join(' ')}`)
  }
})

test('a command line that begins with a command loads this one, as the whole program has it', async () => {
  const whole = await buildProgram()
  for (const { name, help } of whole.commands.map((command) => ({ name: command.name(), help: command.helpInformation() }))) {
    const { commands: [only, ...others] } = await buildProgram(name)
    if (name !== 'completion') assert.deepEqual([only?.name(), only?.helpInformation(), others.length], [name, help, 0])
  }
  for (const name of ['', '--data', 'nonsense', 'completion', 'toString']) {
    assert.deepEqual((await buildProgram(name)).commands.map((command) => command.name()), whole.commands.map((command) => command.name()))
  }
})

/** What a restore of the catalogue replaces stays beside it; a key is known by nothing but its id; policies have a preview. */
const WITHOUT_DRY_RUN = ['catalog restore', 'key delete', 'organization-policy update']

function has(command: Command, flag: string): boolean {
  return command.options.some((option) => option.long === flag)
}

test('what asks before it destroys can be tried without', async () => {
  const asking = leaves(await buildProgram()).filter(({ command }) => has(command, '--yes'))
  assert.deepEqual(asking.filter(({ command }) => !has(command, '--dry-run')).map(({ path }) => path).toSorted(), WITHOUT_DRY_RUN)
  assert.ok(asking.length > 10)
})
