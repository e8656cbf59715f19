import type { Command } from 'commander'
import type { Event } from '@opencbr/contract'
import { addFilters, onRun, pagingFilters, readFilters, type Filter } from '../command.ts'
import { findVaultId } from '../names.ts'
import { noteRest, printTable, showTime } from '../output.ts'

export const eventFilters: readonly Filter[] = [
  { flags: '--kind <kind>', parameter: 'kind', text: 'of this kind: vault.threshold_reached, vault.expanded, …' },
  { flags: '--vault <vault>', parameter: 'vault_id', text: 'about this vault', find: findVaultId },
  ...pagingFilters,
]

export function addEvent(program: Command): void {
  const group = program.command('event').description('what happened by itself in the last 30 days')
  const list = addFilters(group.command('list').description('list events, newest first'), eventFilters)
  onRun(list, async ({ openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, eventFilters)
    const answer = await api.call<{ events: readonly Event[], count: number }>('GET', '/x/v1/{project_id}/events', { query })
    print(answer, () => {
      printTable(answer.events, [
        { title: 'time', value: (event) => showTime(event.created_at) },
        { title: 'kind', value: (event) => event.kind },
        { title: 'what happened', value: (event) => event.message },
      ], 'No events.')
      noteRest(answer.events.length, answer.count)
    })
  })
}
