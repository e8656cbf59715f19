import type { Command } from 'commander'
import type { FindVaultsByTagsAnswer } from '@opencbr/contract'
import { collect, onRun, parseTag, wholeNumber } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findVaultId } from '../names.ts'
import { noteRest, printLine, printNote, printTable } from '../output.ts'

export function addTag(program: Command): void {
  const group = program.command('tag').description('tags of vaults, by which vaults are found')
  addList(group)
  addSet(group)
  addRemove(group)
  addFind(group)
}

function tagsPath(vaultId: string): string {
  return `/v3/{project_id}/vault/${encodeURIComponent(vaultId)}/tags`
}

function addList(group: Command): void {
  const command = group.command('list [vault]').description('list the tags of a vault, or every key in the project with its values')
  onRun(command, async ({ args: [text], openApi, print }) => {
    const api = await openApi()
    if (text === undefined) {
      const answer = await api.call<{ tags: readonly { key: string, values: readonly string[] }[] }>('GET', '/v3/{project_id}/vault/tags')
      print(answer, () => printTable(answer.tags, [
        { title: 'key', value: (tag) => tag.key },
        { title: 'values', value: (tag) => tag.values.join(', ') },
      ], 'No tags.'))
      return
    }
    const answer = await api.call<{ tags: readonly { key: string, value: string }[] }>('GET', tagsPath(await findVaultId(api, text)))
    print(answer, () => printTable(answer.tags, [
      { title: 'key', value: (tag) => tag.key },
      { title: 'value', value: (tag) => tag.value },
    ], 'No tags.'))
  })
}

function addSet(group: Command): void {
  const command = group.command('set <vault> <key=value...>').description('tag a vault; a key that it has gets the new value')
  onRun(command, async ({ args: [text = '', ...tags], openApi }) => {
    const api = await openApi()
    await api.call('POST', `${tagsPath(await findVaultId(api, text))}/action`, { body: { action: 'create', tags: tags.map(parseTag) } })
    printNote(`The vault ${text} is tagged ${tags.join(', ')}.`)
  })
}

function addRemove(group: Command): void {
  const command = group.command('remove <vault> <key...>').description('take tags off a vault')
    .option('--ignore-missing', 'do not mind keys that it does not have')
  onRun<{ ignoreMissing?: boolean }>(command, async ({ args: [text = '', ...keys], options, openApi }) => {
    const api = await openApi()
    const path = tagsPath(await findVaultId(api, text))
    if (options.ignoreMissing === true) await api.call('POST', `${path}/action`, { body: { action: 'delete', tags: keys.map((key) => ({ key })) } })
    else for (const key of keys) await api.call('DELETE', `${path}/${encodeURIComponent(key)}`)
    printNote(`The vault ${text} has the tags ${keys.join(', ')} no more.`)
  })
}

interface FindOptions {
  readonly tag?: readonly string[]
  readonly any?: readonly string[]
  readonly not?: readonly string[]
  readonly notAny?: readonly string[]
  readonly untagged?: boolean
  readonly name?: string
  readonly objectType?: string
  readonly count?: boolean
  readonly limit?: number
  readonly offset?: number
}

function addFind(group: Command): void {
  const command = group.command('find').description('find vaults by their tags')
    .option('--tag <key=value>', 'with this tag; may be repeated, and all must match: the same key again for another value', collect)
    .option('--any <key=value>', 'with one of these; may be repeated', collect)
    .option('--not <key=value>', 'not with all of these; may be repeated', collect)
    .option('--not-any <key=value>', 'with none of these; may be repeated', collect)
    .option('--untagged', 'without any tag')
    .option('--name <text>', 'with this in the name')
    .option('--object-type <type>', 'server, disk, turbo, workspace, vmware, rds, file')
    .option('--count', 'only say how many there are')
    .option('--limit <rows>', 'at most so many rows (the server sends at most 1000)', wholeNumber('--limit'))
    .option('--offset <rows>', 'skip so many rows', wholeNumber('--offset'))
    .addHelpText('after', '\nA key without = matches any value, and key=*text values that hold the text.')
  onRun<FindOptions>(command, async ({ options, openApi, print }) => {
    const lists = { tags: options.tag, tags_any: options.any, not_tags: options.not, not_tags_any: options.notAny }
    const isEmpty = Object.values(lists).every((each) => each === undefined) && options.untagged === undefined
      && options.name === undefined && options.objectType === undefined
    if (isEmpty) throw new CommandFailure('usage', 'Say what to look for: see opencbr tag find --help.')
    const api = await openApi()
    const body = {
      action: options.count === true ? 'count' : 'filter',
      ...Object.fromEntries(Object.entries(lists).flatMap(([name, list]) => list === undefined ? [] : [[name, gather(list)]])),
      ...(options.untagged === true ? { without_any_tag: true } : {}),
      ...(options.name === undefined ? {} : { matches: [{ key: 'resource_name', value: options.name }] }),
      ...(options.objectType === undefined ? {} : { object_type: options.objectType }),
      ...(options.limit === undefined ? {} : { limit: String(options.limit) }),
      ...(options.offset === undefined ? {} : { offset: String(options.offset) }),
    }
    const answer = await api.call<FindVaultsByTagsAnswer>('POST', '/v3/{project_id}/vault/resource_instances/action', { body })
    print(answer, () => {
      const { resources } = answer
      if (resources === undefined) {
        printLine(String(answer.total_count))
        return
      }
      printTable(resources, [
        { title: 'id', value: (found) => found.resource_id },
        { title: 'name', value: (found) => found.resource_name },
        { title: 'tags', value: (found) => found.tags.map(({ key, value }) => `${key}=${value}`).join(', ') },
      ], 'No vaults.')
      noteRest(resources.length, answer.total_count)
    })
  })
}

/** The same key again adds a value; a key without = stands for any. */
function gather(texts: readonly string[]): { key: string, values: string[] }[] {
  const byKey = Map.groupBy(texts, (text) => parseTag(text).key)
  return Array.from(byKey, ([key, same]) => ({ key, values: same.every((text) => text.includes('=')) ? same.map((text) => parseTag(text).value) : [] }))
}
