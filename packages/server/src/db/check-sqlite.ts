/** Whether SQLite's file is whole. */
import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { StartRefusal } from '../data-directory.ts'

const FINDINGS_MAX = 10

/** `quick_check` leaves out whether indexes agree with their tables. Empty when nothing is wrong. */
export function findDamage(path: string, how: 'quick_check' | 'integrity_check'): string[] {
  try {
    const file = new DatabaseSync(path)
    try {
      const findings = file.prepare(`pragma ${how}(${FINDINGS_MAX})`).all().map((row) => String(row[how]))
      return findings.length === 1 && findings[0] === 'ok' ? [] : findings
    } finally {
      file.close()
    }
  } catch (error) {
    return [(error as Error).message]
  }
}

/**
 * Who ends in an orderly way folds the write-ahead log into the file and takes it away: one that is still there tells of a
 * crash. SQLite recovers from it by itself; but what crashed was perhaps the machine, so the file is looked through
 * before anybody relies on it. Whoever calls has the data directory.
 */
export function checkAfterCrash(path: string): void {
  const log = statSync(`${path}-wal`, { throwIfNoEntry: false })
  if (log === undefined || log.size === 0) return
  const findings = findDamage(path, 'quick_check')
  if (findings.length === 0) return
  throw new StartRefusal(`The catalogue ${path} was not closed in order, and is damaged: ${findings.join('; ')}. `
    + 'Nothing was changed. Keep the file, and bring a copy back with `opencbr catalog restore`.')
}
