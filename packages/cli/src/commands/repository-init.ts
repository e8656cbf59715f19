import { initRepository, openRepository } from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printNote } from '../output.ts'
import { interruptible, openPlace, readNewPassword, readPassword, type AccessFlags } from './repository-access.ts'

interface InitFlags extends AccessFlags {
  readonly from?: string
  readonly fromPasswordFile?: string
}

export function runInit({ args: [location = ''], options, print }: Call<InitFlags>): Promise<void> {
  return interruptible(async (signal) => {
    const chunkerPolynomial = options.from === undefined ? undefined : await readPolynomial(options.from, options.fromPasswordFile, signal)
    const storage = openPlace(location, { keepsReserve: true })
    const isAsked = options.passwordFile === undefined && !hasPasswordInEnvironment()
    const password = isAsked ? await readNewPassword(undefined) : await readPassword(options.passwordFile, process.env)
    const { id } = await initRepository(storage, { password, signal, ...(chunkerPolynomial === undefined ? {} : { chunkerPolynomial }) })
    print({ id, repository: storage.location }, () => {
      printNote(`The repository ${id.slice(0, 10)} was made at ${storage.location}.`)
      printNote('Keep its password safe: without it nobody can read what is in it.')
    })
  })
}

function hasPasswordInEnvironment(): boolean {
  const names = ['OPENCBR_REPOSITORY_PASSWORD_FILE', 'OPENCBR_REPOSITORY_PASSWORD', 'RESTIC_PASSWORD', 'RESTIC_PASSWORD_FILE']
  return names.some((name) => (process.env[name] ?? '') !== '')
}

async function readPolynomial(location: string, passwordFile: string | undefined, signal: AbortSignal): Promise<bigint> {
  const password = await readPassword(passwordFile, process.env, `${location}:`)
  await using repository = await openRepository(openPlace(location), { password, signal })
  return repository.chunkerPolynomial
}
