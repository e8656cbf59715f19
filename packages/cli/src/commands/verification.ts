import type { VaultScrub, Verification } from '@opencbr/contract'
import type { Command } from 'commander'
import { addFilters, onRun, pagingFilters, readFilters, wholeNumber, type Filter } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findBackupId, findVaultId } from '../names.ts'
import { noteRest, printNote, printRecord, printTable, showTime } from '../output.ts'
import {
  addVerifyOptions, describeVerification, getVerification, startVerification, waitForVerification, type VerifyFlags,
} from '../verifications.ts'
import { addWaitOptions, type WaitFlags } from '../wait-options.ts'

const filters: readonly Filter[] = [
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'of this vault and its backups', find: findVaultId },
  { flags: '--backup <backup>', parameter: 'backup_id', text: 'of this backup', find: findBackupId },
  ...pagingFilters,
]

export function addVerification(program: Command): void {
  const group = program.command('verification').description('what verifications of backups and vaults have found')
  addList(group)
  addShow(group)
}

function addList(group: Command): void {
  const command = addFilters(group.command('list').description('list verifications, newest first'), filters)
  onRun(command, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, command, filters)
    const answer = await api.call<{ verifications: readonly Verification[], count: number }>('GET', '/x/v1/{project_id}/verifications', { query })
    print(answer, () => {
      printTable(answer.verifications, [
        { title: 'id', value: (each) => each.id },
        { title: 'scope', value: (each) => each.scope },
        { title: 'level', value: (each) => each.level },
        { title: 'status', value: (each) => each.status },
        { title: 'findings', value: (each) => each.findings_count, align: 'right' },
        { title: 'created', value: (each) => showTime(each.created_at) },
        { title: 'of', value: (each) => each.backup_id ?? each.vault_id },
      ], 'No verifications.')
      noteRest(answer.verifications.length, answer.count)
    })
  })
}

function addShow(group: Command): void {
  const command = addWaitOptions(group.command('show <verification>').description('show how far a verification is, and what it found'))
  onRun<WaitFlags>(command, async ({ args: [id = ''], options, openApi, print }) => {
    const api = await openApi()
    const verification = options.wait === true ? await waitForVerification(api, id, options.timeout) : await getVerification(api, id)
    print({ verification }, () => describeVerification(verification))
  })
}

/** `backup verify`. */
export function addVerifyBackup(group: Command): void {
  const command = addVerifyOptions(group.command('verify <backup>').description('verify that a backup is whole'))
  onRun<VerifyFlags>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const verification = await startVerification(api, `/x/v1/{project_id}/backups/${await findBackupId(api, text)}`, options)
    print({ verification }, () => describeVerification(verification))
  })
}

/** `vault verify`. */
export function addVerifyVault(group: Command): void {
  const command = addVerifyOptions(group.command('verify <vault>').description('verify that a vault is whole, its index and packs included'))
  onRun<VerifyFlags>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const verification = await startVerification(api, `/x/v1/{project_id}/vaults/${await findVaultId(api, text)}`, options)
    print({ verification }, () => describeVerification(verification))
  })
}

interface ScrubFlags {
  readonly everyDays?: number
  readonly off?: boolean
}

/** `vault scrub`. */
export function addScrubVault(group: Command): void {
  const command = group.command('scrub <vault>')
    .description('show whether every byte of a vault is read regularly, or change that')
    .option('--every-days <days>', 'read a share each day, and all of it within so many days', wholeNumber('--every-days'))
    .option('--off', 'stop that')
  onRun<ScrubFlags>(command, async ({ args: [text = ''], options: { everyDays, off }, openApi, print }) => {
    if (everyDays !== undefined && off === true) throw new CommandFailure('usage', 'Say either --every-days or --off.')
    const api = await openApi()
    const path = `/x/v1/{project_id}/vaults/${await findVaultId(api, text)}/scrub`
    if (off === true) {
      await api.call('DELETE', path)
      printNote(`The vault ${text} is scrubbed no more.`)
    }
    const answer = await (everyDays === undefined
      ? api.call<{ scrub: VaultScrub }>('GET', path)
      : api.call<{ scrub: VaultScrub }>('PUT', path, { body: { scrub: { every_days: everyDays } } }))
    print(answer, () => {
      const { enabled, every_days: days, next_run_at: next, last_verification: last } = answer.scrub
      printRecord([
        ['scrubbed', enabled],
        ['every', days === null ? null : `${days} days`],
        ['next share', showTime(next)],
        ['last share', last === null ? null : `${last.status}, ${last.packs_read} of ${last.packs} packs, ${showTime(last.ended_at)}`],
        ['findings', last?.findings_count],
        ['verification', last?.id],
      ])
    })
  })
}
