import type { Command } from 'commander'
import { addFilters, enterpriseProjectFilter, onRun, pagingFilters, readFilters, type Filter } from '../command.ts'
import { printTable } from '../output.ts'

/** What the command reads of a protectable resource. */
interface Instance {
  readonly id: string
  readonly name: string
  readonly type: string
  /** GB. */
  readonly size: number
  readonly status: string
  readonly protectable: { readonly result: boolean, readonly reason: string | null, readonly vault: { readonly name: string } | null }
}

const listFilters: readonly Filter[] = [
  { flags: '--name <name>', parameter: 'name', text: 'with this name' },
  { flags: '--id <id>', parameter: 'id', text: 'with this id' },
  { flags: '--status <status>', parameter: 'status', text: 'in this state' },
  { flags: '--server-id <id>', parameter: 'server_id', text: 'disks of this server' },
  enterpriseProjectFilter,
  ...pagingFilters,
]

export function addProtectable(program: Command): void {
  const group = program.command('protectable').description('what can be put into a vault')
  const list = addFilters(group.command('list <type>').description('list resources of a type: turbo, disk, server, workspace'), listFilters)
  onRun(list, async ({ args: [type = ''], openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, listFilters)
    const path = `/v3/{project_id}/protectables/${encodeURIComponent(type)}/instances`
    const answer = await api.call<{ instances: readonly Instance[] }>('GET', path, { query })
    print(answer, () => printTable(answer.instances, [
      { title: 'id', value: (instance) => instance.id },
      { title: 'name', value: (instance) => instance.name },
      { title: 'type', value: (instance) => instance.type },
      { title: 'size', value: (instance) => `${instance.size} GB`, align: 'right' },
      { title: 'status', value: (instance) => instance.status },
      { title: 'protectable', value: (instance) => instance.protectable.result },
      { title: 'vault', value: (instance) => instance.protectable.vault?.name },
      { title: 'reason', value: (instance) => instance.protectable.reason },
    ], 'Nothing of this type.'))
  })
}
