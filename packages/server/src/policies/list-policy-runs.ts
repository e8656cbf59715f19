import type { ListPolicyRunsQuery, PolicyRun } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { showPolicy } from './show-policy.ts'

const PAGE_MAX = 1000

/** The due times of a policy of the last 30 days and what became of them, newest first. */
export async function listPolicyRuns(
  reader: Reader, projectId: ProjectId, id: string, query: ListPolicyRunsQuery,
): Promise<{ rows: Row<'policy_runs'>[], count: number, limit: number, offset: number }> {
  const { policy } = await showPolicy(reader, projectId, id)
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  let matching = reader.selectFrom('policy_runs').where('project_id', '=', projectId).where('policy_id', '=', policy.id)
  if (query.vault_id !== undefined && query.vault_id !== '') matching = matching.where('vault_id', '=', query.vault_id.toLowerCase() as VaultId)
  const { count } = await matching.select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const rows = await matching.selectAll().orderBy('due_at', 'desc').orderBy('vault_id').limit(limit).offset(offset).execute()
  return { rows, count: Number(count), limit, offset }
}

export function policyRunToWire(row: Row<'policy_runs'>): PolicyRun {
  return {
    policy_id: row.policy_id,
    vault_id: row.vault_id,
    due_at: formatTime(row.due_at),
    ran_at: formatTime(row.ran_at),
    outcome: row.outcome,
    checkpoint_id: row.checkpoint_id,
    missed_runs: row.missed,
    moved: row.moved === 1,
    error_info: { code: row.error_code, message: row.error_message },
  }
}
