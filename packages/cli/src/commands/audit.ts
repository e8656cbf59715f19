import type { Command } from 'commander'
import { AUDIT_CHAIN_START, checkAuditChain, type AuditLink, type AuditRecord, type ListAllAuditAnswer } from '@opencbr/contract'
import type { Api } from '../api.ts'
import { addFilters, onRun, readFilters, type Filter } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { printLine, printNote, printTable, showTime } from '../output.ts'

export const auditFilters: readonly Filter[] = [
  { flags: '--from <time>', parameter: 'from', text: 'not earlier than this: 2026-01-15T08:30:00Z' },
  { flags: '--to <time>', parameter: 'to', text: 'earlier than this' },
  { flags: '--user <id>', parameter: 'user_id', text: 'of the user with this id' },
  { flags: '--operation <name>', parameter: 'operation', text: 'of this operation: deleteVault' },
  { flags: '--outcome <outcome>', parameter: 'outcome', text: 'success, failure, denied or unknown' },
  { flags: '--order <order>', parameter: 'order', text: 'desc, the newest first, or asc' },
  { flags: '--limit <rows>', parameter: 'limit', text: 'at most so many records (the server sends at most 1000)' },
  { flags: '--marker <sequence>', parameter: 'marker', text: 'begin after the record with this sequence' },
]

const everywhere = '/x/v1/audit'
const PAGE = 1000

export function addAudit(program: Command): void {
  const group = program.command('audit').description('who changed what, and who was denied')
  addList(group)
  addVerify(group)
}

function addList(group: Command): void {
  const list = addFilters(group.command('list').description('list changes and denied calls, newest first'), auditFilters)
    .option('--all', 'of all projects that one administers, with what was in no project')
  onRun<{ all?: boolean, limit?: string }>(list, async ({ options, openApi, print }) => {
    const api = await openApi()
    const query = await readFilters(api, list, auditFilters)
    const path = options.all === true ? everywhere : '/x/v1/{project_id}/audit'
    const answer = await api.call<{ records: readonly AuditRecord[], limit: number }>('GET', path, { query })
    print(answer, () => {
      printTable(answer.records, [
        { title: 'sequence', value: (record) => record.sequence, align: 'right' },
        { title: 'time', value: (record) => showTime(record.time) },
        { title: 'user', value: (record) => record.user_name },
        { title: 'from', value: (record) => record.address },
        { title: 'operation', value: (record) => record.operation },
        { title: 'outcome', value: (record) => record.outcome },
        { title: 'status', value: (record) => record.status, align: 'right' },
        { title: 'target', value: (record) => record.targets.filter(({ type }) => type !== 'project_id').map(({ id }) => id).join(' ') },
      ], 'No records.')
      const last = answer.records.at(-1)
      if (last !== undefined && answer.records.length === answer.limit) printNote(`There may be more: --marker ${last.sequence} goes on.`)
    })
  })
}

function addVerify(group: Command): void {
  const verify = group.command('verify')
    .description('walk along the whole chain of records, and name the first one that is not as it was written')
    .option('--expect <end>', 'an end of the chain as an earlier run printed it, SEQUENCE:HASH: the records up to there must still be the same')
  onRun<{ expect?: string }>(verify, async ({ options, openApi, print }) => {
    const expected = options.expect === undefined ? undefined : parseLink(options.expect)
    const end = await walk(await openApi(), expected)
    print(end, () => {
      printNote(`${end.sequence} records, all as they were written. Note the end elsewhere; --expect compares with it later.`)
      printLine(`${end.sequence}:${end.hash}`)
    })
  })
}

function parseLink(text: string): AuditLink {
  const [, sequence, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  if (sequence === undefined || hash === undefined) throw new CommandFailure('usage', `The end ${text} is not of the form SEQUENCE:HASH.`)
  return { sequence: Number(sequence), hash }
}

function broken(sequence: number, reason: string): CommandFailure {
  return new CommandFailure('failure', `The audit trail is broken at record ${sequence}: ${reason}.`, { answer: { broken: { sequence, reason } } })
}

/** The hashes are worked out here: what is asked of the server is only what it has written down. */
async function walk(api: Api, expected: AuditLink | undefined): Promise<AuditLink> {
  // Calls go on meanwhile, so the walk ends where the chain ended when it began.
  const head = (await readPage(api, { order: 'desc', limit: '1' })).head
  if (head === null) throw new CommandFailure('refused', 'Only an administrator of the system sees the whole chain.')
  let end: AuditLink = { sequence: 0, hash: AUDIT_CHAIN_START }
  while (end.sequence < head.sequence) {
    const { records } = await readPage(api, { order: 'asc', limit: String(PAGE), marker: String(end.sequence) })
    if (records.length === 0) throw broken(end.sequence + 1, 'it is missing, like all that followed')
    const upToHead = records.filter(({ sequence }) => sequence <= head.sequence)
    const checked = checkAuditChain(end, upToHead)
    if ('broken' in checked) throw broken(checked.broken.sequence, checked.broken.reason)
    if (upToHead.length === 0) throw broken(end.sequence + 1, 'it is missing')
    const noted = upToHead.find(({ sequence }) => sequence === expected?.sequence)
    if (noted !== undefined && noted.hash !== expected?.hash) throw broken(noted.sequence, 'it is another one than the one that was noted')
    end = checked.end
  }
  if (end.hash !== head.hash) throw broken(head.sequence, 'it is not the end that the server wrote down')
  if (!head.genuine) throw broken(head.sequence, 'the end of the chain was not sealed by a server with the master key')
  if (expected !== undefined && expected.sequence > head.sequence) throw broken(head.sequence + 1, `it is missing: the chain has gone on to ${expected.sequence} once`)
  return end
}

async function readPage(api: Api, query: Record<string, string>): Promise<ListAllAuditAnswer> {
  return api.call<ListAllAuditAnswer>('GET', everywhere, { query })
}
