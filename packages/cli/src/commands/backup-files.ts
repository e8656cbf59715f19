/** Looking into backups: `backup ls`, `backup cat`, `backup download`. */
import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ListBackupFilesAnswer } from '@opencbr/contract'
import type { Command } from 'commander'
import { onRun } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findBackupId } from '../names.ts'
import { noteRest, printJson, printNote, printTable } from '../output.ts'
import { writeOut } from './repository-read.ts'

export function addBackupFiles(group: Command): void {
  addLs(group)
  addCat(group)
  addDownload(group)
}

interface LsFlags {
  readonly limit?: string
  readonly marker?: string
}

function addLs(group: Command): void {
  const command = group.command('ls <backup> [path]')
    .description('list a directory of a backup; its root is /')
    .option('--limit <rows>', 'at most so many rows (the server sends at most 1000)')
    .option('--marker <name>', 'begin after this name')
  onRun<LsFlags>(command, async ({ args: [text = '', path = '/'], options: { limit, marker }, openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<ListBackupFilesAnswer>('GET', `/x/v1/{project_id}/backups/${await findBackupId(api, text)}/files`, {
      query: { path, limit, marker },
    })
    print(answer, () => {
      printTable(answer.files, [
        { title: 'mode', value: (file) => file.mode },
        { title: 'type', value: (file) => file.type },
        { title: 'size', value: (file) => file.size, align: 'right' },
        { title: 'modified', value: (file) => file.mtime.slice(0, 19).replace('T', ' ') },
        { title: 'owner', value: (file) => `${file.user === '' ? file.uid : file.user}:${file.group === '' ? file.gid : file.group}` },
        { title: 'name', value: (file) => (file.link_target === null ? file.name : `${file.name} -> ${file.link_target}`) },
      ], 'It is empty.')
      noteRest(answer.files.length, answer.count)
    })
  })
}

function addCat(group: Command): void {
  const command = group.command('cat <backup> <path>').description('print a file of a backup')
  onRun(command, async ({ args: [text = '', path = ''], openApi }) => {
    const api = await openApi()
    const { pieces } = await api.download(`/x/v1/{project_id}/backups/${await findBackupId(api, text)}/download`, { path, format: 'file' })
    for await (const piece of pieces) await writeOut(piece)
  })
}

interface DownloadFlags {
  readonly to?: string
  readonly format?: string
  readonly force?: boolean
}

function addDownload(group: Command): void {
  const command = group.command('download <backup> [path]')
    .description('download a file of a backup, or a directory as an archive')
    .option('--to <file>', 'where to; by default a file of the same name in this directory')
    .option('--format <format>', 'file, zip or tar; by default a file as it is, and a directory as zip')
    .option('--force', 'replace a file that is there')
  onRun<DownloadFlags>(command, async ({ args: [text = '', path = '/'], options, openApi }) => {
    const api = await openApi()
    const id = await findBackupId(api, text)
    const { pieces, headers } = await api.download(`/x/v1/{project_id}/backups/${id}/download`, { path, format: options.format })
    const target = resolve(options.to ?? nameOf(headers.get('content-disposition')))
    if (options.force !== true && await stat(target).then(() => true, () => false)) {
      throw new CommandFailure('refused', `${target} is there already; --force replaces it.`)
    }
    const partial = `${target}.part`
    try {
      // Under its own name only when it is whole.
      await pipeline(Readable.from(pieces, { objectMode: false }), createWriteStream(partial))
      await rename(partial, target)
    } catch (error) {
      await rm(partial, { force: true })
      if (error instanceof CommandFailure) throw error
      throw new CommandFailure('failure', `The download broke off: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
    const { size } = await stat(target)
    if (options.json === true) printJson({ file: target, size })
    else printNote(`${size} bytes are in ${target}.`)
  })
}

/** Names come from anybody, so of a name only its last part is used. */
function nameOf(disposition: string | null): string {
  const encoded = /filename\*=UTF-8''([^;]+)/.exec(disposition ?? '')?.[1] ?? 'download'
  const name = basename(decodeURIComponent(encoded).replaceAll('\0', ''))
  return join('.', name === '' || name === '.' || name === '..' ? 'download' : name)
}
