/**
 * Numbers that follow what others remember: who may do what, and what a project's listings show. A call that is answered from
 * memory reads both first, in one statement, so an answer is never older than the call.
 *
 * On PostgreSQL, where a statement is a journey, calls that wait at the same time share one: always one that is sent after
 * the last of them has come.
 */
import { sql } from 'kysely'
import type { ProjectId } from '../ids.ts'
import { runNowOf, type Reader } from './database.ts'
import { runStatement } from './statements.ts'

export interface Revisions {
  /** Changes whenever what a credential is good for may have changed. */
  readonly identity: number
  /** Changes with every change to what the project's listings of backups show. */
  readonly backups: number
}

/** At once where that can be: a promise for each call would cost as much as SQLite's answer. */
export type ReadRevisions = (projectId: ProjectId) => Revisions | Promise<Revisions>

export function openRevisions(db: Reader): ReadRevisions {
  const runNow = runNowOf(db)
  if (runNow === undefined) return (projectId) => readShared(db, projectId)
  const { sql: text } = db.selectNoFrom((e) => [
    e.selectFrom('identity_revision').select('revision').as('identity'),
    e.selectFrom('backup_revisions').select('revision').where('project_id', '=', '' as ProjectId).as('backups'),
  ]).compile()
  return (projectId) => {
    const [found] = runNow<{ identity: number | null, backups: number | null }>({ sql: text, parameters: [projectId] }).rows
    return { identity: found?.identity ?? 0, backups: found?.backups ?? 0 }
  }
}

interface Turn {
  readonly projects: Set<ProjectId>
  readonly rows: Promise<Map<string, number>>
}

/** By catalogue: the statement that runs, and the one that is sent after it. */
const turns = new WeakMap<Reader, { running: Promise<unknown>, next: Turn | undefined }>()

async function readShared(db: Reader, projectId: ProjectId): Promise<Revisions> {
  let state = turns.get(db)
  if (state === undefined) turns.set(db, state = { running: Promise.resolve(), next: undefined })
  const turn = state.next ??= openTurn(db, state)
  turn.projects.add(projectId)
  return revisionsIn(await turn.rows, projectId)
}

function openTurn(db: Reader, state: { running: Promise<unknown>, next: Turn | undefined }): Turn {
  const projects = new Set<ProjectId>()
  const rows = state.running.then(() => {
    // Whoever comes from here on takes part in the next one.
    state.next = undefined
    return readOf(db, [...projects])
  })
  state.running = rows.catch(() => {})
  return { projects, rows }
}

/** The place of the identity's revision, where projects stand. */
const IDENTITY = ''

async function readOf(db: Reader, projectIds: ProjectId[]): Promise<Map<string, number>> {
  // Few shapes of the statement, whatever the number: the last one stands there several times.
  while ((projectIds.length & (projectIds.length - 1)) !== 0) projectIds.push(projectIds.at(-1) as ProjectId)
  const rows = await runStatement(db, 'revisions', { projectIds }, (slots) =>
    db.selectFrom('identity_revision').select([sql<string>`''`.as('of'), 'revision'])
      .unionAll(db.selectFrom('backup_revisions').select(['project_id as of', 'revision']).where('project_id', 'in', slots.projectIds)))
  return new Map(rows.map(({ of, revision }) => [of, Number(revision)]))
}

function revisionsIn(rows: ReadonlyMap<string, number>, projectId: ProjectId): Revisions {
  return { identity: rows.get(IDENTITY) ?? 0, backups: rows.get(projectId) ?? 0 }
}
