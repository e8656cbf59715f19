import type { Command } from 'commander'
import type { Member, MembersAnswer } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, onRun, pagingFilters, readFilters, type Filter } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { findBackupId, findVaultId } from '../names.ts'
import { noteRest, printNote, printRecord, printTable, showTime } from '../output.ts'

export const memberFilters: readonly Filter[] = [
  { flags: '--project <id>', parameter: 'dest_project_id', text: 'with this project' },
  { flags: '--status <status>', parameter: 'status', text: 'pending, accepted or rejected' },
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'accepted into this vault', find: findVaultId },
  { flags: '--image-id <id>', parameter: 'image_id', text: 'from which this image was made' },
  { flags: '--sort <keys>', parameter: 'sort', text: 'such as status,created_at:asc; keys: created_at, updated_at, status, dest_project_id, id' },
  ...pagingFilters,
]

export function addMember(program: Command): void {
  const group = program.command('member').description('with whom a backup is shared, and what was shared with us')

  const add = group.command('add <backup> <project...>').description('offer a backup to other projects, by their ids')
  onRun(add, async ({ args: [text = '', ...projects], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<MembersAnswer>('POST', membersPath(await findBackupId(api, text)), { body: { members: projects } })
    print(answer, () => printMembers(answer))
  })

  const list = addFilters(group.command('list <backup>').description('list with whom a backup is shared'), memberFilters)
  onRun(list, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, memberFilters)
    const answer = await api.call<MembersAnswer>('GET', membersPath(await findBackupId(api, text)), { query })
    print(answer, () => printMembers(answer))
  })

  const show = group.command('show <backup> [project]').description('show a share; without a project, our own')
  onRun(show, async ({ args: [text = '', project], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ member: Member }>('GET', await memberPath(api, text, project))
    print(answer, () => printMember(answer.member))
  })

  const accept = group.command('accept <backup>').description('accept a backup that was shared with us')
    .option('--vault <vault>', 'the vault that takes it, of the same kind as the owner\'s')
  onRun<{ vault?: string }>(accept, async ({ args: [text = ''], options, openApi, print }) => {
    if (options.vault === undefined) throw new CommandFailure('usage', 'Say which vault takes the backup: --vault VAULT.')
    const api = await openApi()
    const body = { status: 'accepted', vault_id: await findVaultId(api, options.vault) }
    const answer = await api.call<{ member: Member }>('PUT', await memberPath(api, text, undefined), { body })
    print(answer, () => printMember(answer.member))
  })

  const reject = group.command('reject <backup>').description('reject a backup that was shared with us, or give it back')
  onRun(reject, async ({ args: [text = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<{ member: Member }>('PUT', await memberPath(api, text, undefined), { body: { status: 'rejected' } })
    print(answer, () => printMember(answer.member))
  })

  const remove = group.command('remove <backup> <project>').description('withdraw a backup from a project; the backup stays ours')
  onRun(remove, async ({ args: [text = '', project], openApi }) => {
    const api = await openApi()
    await api.call('DELETE', await memberPath(api, text, project))
    printNote(`The backup is no longer shared with the project ${project}.`)
  })

  const domain = group.command('domain <project>').description('show the account of a project that shares with us')
  onRun(domain, async ({ args: [project = ''], openApi, print }) => {
    const api = await openApi()
    const answer = await api.call<Record<string, string>>('GET', `/v3/domain/${encodeURIComponent(project)}`)
    print(answer, () => printRecord(Object.entries(answer)))
  })
}

function membersPath(backupId: string): string {
  return `/v3/{project_id}/backups/${encodeURIComponent(backupId)}/members`
}

async function memberPath(api: Api, backup: string, project: string | undefined): Promise<string> {
  return `${membersPath(await findBackupId(api, backup))}/${project === undefined ? '{project_id}' : encodeURIComponent(project)}`
}

function printMembers({ members, count }: MembersAnswer): void {
  printTable(members, [
    { title: 'project', value: (member) => member.dest_project_id },
    { title: 'status', value: (member) => member.status },
    { title: 'vault', value: (member) => member.vault_id },
    { title: 'image', value: (member) => member.image_id },
    { title: 'shared', value: (member) => showTime(member.created_at) },
    { title: 'changed', value: (member) => showTime(member.updated_at) },
  ], 'Shared with nobody.')
  noteRest(members.length, count)
}

function printMember(member: Member): void {
  printRecord([
    ['id', member.id],
    ['backup', member.backup_id],
    ['project', member.dest_project_id],
    ['status', member.status],
    ['vault', member.vault_id],
    ['image', member.image_id],
    ['shared', showTime(member.created_at)],
    ['changed', showTime(member.updated_at)],
  ])
}
