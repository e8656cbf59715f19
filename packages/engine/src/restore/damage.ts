import { Failure, type FailureCode } from '../failure.ts'

const DAMAGE: ReadonlySet<FailureCode> = new Set([
  'blob.missing', 'blob.damaged', 'repository.damaged', 'storage.not_found', 'storage.out_of_range',
] as const)

/**
 * The failure, when it says that stored data is missing or broken; undefined for everything else, such
 * as a storage that cannot be reached, which says nothing about the data.
 */
export function damageOf(error: unknown): Failure | undefined {
  return error instanceof Failure && DAMAGE.has(error.code) ? error : undefined
}
