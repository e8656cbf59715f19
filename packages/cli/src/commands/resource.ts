import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { DeclaredResource } from '@opencbr/contract'
import { addFilters, collect, onRun, pagingFilters, parseTag, readFilters, type Filter } from '../command.ts'
import type { DestroyFlags } from '../confirm.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findResource } from '../names.ts'
import { noteRest, printLine, printNote, printRecord, printTable } from '../output.ts'

const types: Readonly<Record<string, string>> = { tree: 'OS::Sfs::Turbo', image: 'OS::Cinder::Volume', server: 'OS::Native::Server' }

export const resourceFilters: readonly Filter[] = [
  { flags: '--name <name>', parameter: 'name', text: 'with this name' },
  {
    flags: '--type <type>', parameter: 'type', text: 'tree, image, server (of an agent) or the type of the API',
    find: async (_api, text) => types[text] ?? text,
  },
  ...pagingFilters,
]

export function addResource(program: Command): void {
  const group = program.command('resource').description('what may be backed up: directory trees and disk images')

  const add = group.command('add <path>')
    .description('declare a directory tree, a disk image or a block device')
    .option('--name <name>', 'default: the last part of the path')
    .option('--type <type>', 'tree, image or the type of the API; default: by looking at the path')
    .option('--tag <key=value>', 'tag it, for vaults that take in resources by themselves; may be repeated', collect)
  onRun<{ name?: string, type?: string, tag?: readonly string[] }>(add, async ({ args: [given = ''], options, openApi, print }) => {
    const path = resolve(given)
    const type = options.type === undefined ? guessType(path) : types[options.type] ?? options.type
    const api = await openApi()
    const answer = await api.call<{ resource: DeclaredResource }>('POST', '/x/v1/{project_id}/resources', {
      body: { resource: { type, path, ...(options.name === undefined ? {} : { name: options.name }), ...(options.tag === undefined ? {} : { tags: options.tag.map(parseTag) }) } },
    })
    print(answer, () => showResource(answer.resource))
  })

  const list = addFilters(group.command('list').description('list what is declared'), resourceFilters)
  onRun(list, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, resourceFilters)
    const answer = await api.call<{ resources: readonly DeclaredResource[], count: number }>('GET', '/x/v1/{project_id}/resources', { query })
    print(answer, () => {
      printTable(answer.resources, [
        { title: 'id', value: (resource) => resource.id },
        { title: 'name', value: (resource) => resource.name },
        { title: 'type', value: (resource) => resource.type },
        { title: 'size', value: (resource) => `${resource.size} GB`, align: 'right' },
        { title: 'vault', value: (resource) => resource.vault_id },
        { title: 'path', value: (resource) => resource.path },
      ], 'No resources.')
      noteRest(answer.resources.length, answer.count)
    })
  })

  const show = group.command('show <resource>').description('show what is declared')
  onRun(show, async ({ args: [text = ''], openApi, print }) => {
    const resource = await findResource(await openApi(), text)
    print({ resource }, () => showResource(resource))
  })

  const tag = group.command('tag <resource> [key=value...]').description('give a resource these tags and no others')
  onRun(tag, async ({ args: [text = '', ...tags], openApi, print }) => {
    const api = await openApi()
    const { id } = await findResource(api, text)
    const answer = await api.call<{ resource: DeclaredResource }>('PUT', `/x/v1/{project_id}/resources/${encodeURIComponent(id)}/tags`, { body: { tags: tags.map(parseTag) } })
    print(answer, () => showResource(answer.resource))
  })

  const remove = group.command('remove <resource>').description('take a declaration back; what lies at the path stays')
    .option('--dry-run', 'only say what would be taken back')
  onRun<DestroyFlags>(remove, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const resource = await findResource(api, text)
    const { id, name } = resource
    if (options.dryRun === true) {
      print({ dry_run: true, resource }, () => printLine(`Resource ${name} would no longer be declared; ${resource.path} stays.`))
      return
    }
    await api.call('DELETE', `/x/v1/{project_id}/resources/${encodeURIComponent(id)}`)
    printNote(`Resource ${name} is no longer declared.`)
  })
}

function showResource(resource: DeclaredResource): void {
  printRecord([
    ['id', resource.id],
    ['name', resource.name],
    ['type', resource.type],
    ['path', resource.path],
    ['size', `${resource.size} GB`],
    ['vault', resource.vault_id],
    ...resource.tags.map(({ key, value }) => ['tag', `${key}=${value}`] as const),
  ])
}

/** The server judges the path; this only spares the user the type where the command can see it too. */
function guessType(path: string): string | undefined {
  let found
  try {
    found = statSync(path)
  } catch (error) {
    throw new CommandFailure('usage', `${path} cannot be seen from here: say whether it is a --type tree or image.`, { cause: error })
  }
  return found.isDirectory() ? types['tree'] : types['image']
}
