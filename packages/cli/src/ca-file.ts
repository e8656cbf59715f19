import { readFileSync } from 'node:fs'
import type { Environment } from './connection.ts'
import { CommandFailure } from './exit-codes.ts'

/** Lets this process trust the certificates of a file, as well as those that it trusts anyway. */
export function trustCaFile(option: string | undefined, environment: Environment): void {
  const path = option ?? environment['OPENCBR_CA_FILE'] ?? ''
  if (path === '') return
  try {
    // Most calls go to this machine without it, and loading it takes its time.
    const { getCACertificates, setDefaultCACertificates } = process.getBuiltinModule('node:tls')
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(path, 'utf8')])
  } catch (error) {
    throw new CommandFailure('usage', `The certificates in ${path} cannot be used: ${(error as Error).message}`, { cause: error })
  }
}
