/**
 * When the catalogue's database cannot be used for a moment. It is nobody's mistake: the same statement is right
 * again when the database is back, so a caller is told to come again.
 */

/** The database is away, is stopping or starting, has no room, or was too busy for too long. `cause` is what it said. */
export class CatalogueOutage extends Error {
  override name = 'CatalogueOutage'
}

/**
 * PostgreSQL's own words, by the beginning of their SQLSTATE: connections (08), who may connect (28), names of databases (3D),
 * room and memory (53), what an operator does (57: shutting down, starting, a statement that took too long), the
 * system (58), what loses against others (40, 55P03), transactions that were idle (25P03), and a standby (25006).
 */
const POSTGRES_OUTAGES = ['08', '28', '3D', '40', '53', '57', '58', '55P03', '25P03', '25P04', '25006']

/** For what a statement or a connection to PostgreSQL failed with. */
export function isPostgresOutage(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return false
  const { code, severity } = error as { code?: unknown, severity?: unknown }
  // Only the server's own errors have a severity; all others are about the connection.
  return severity === undefined || (typeof code === 'string' && POSTGRES_OUTAGES.some((start) => code.startsWith(start)))
}

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_IOERR = 10
const SQLITE_FULL = 13
const SQLITE_CANTOPEN = 14
const SQLITE_OUTAGES: readonly number[] = [SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN]

/** Whether a failed statement may work later. */
export function isOutage(error: unknown): boolean {
  if (error instanceof CatalogueOutage) return true
  if (!(error instanceof Error)) return false
  const { errcode } = error as Error & { errcode?: unknown }
  // The last byte is the kind of failure, the others say more of it.
  return typeof errcode === 'number' && (error as { code?: unknown }).code === 'ERR_SQLITE_ERROR' && SQLITE_OUTAGES.includes(errcode % 256)
}
