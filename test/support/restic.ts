/**
 * Runs the stock `restic` program, the judge of what we write. OPENCBR_TEST_RESTIC lists the binaries
 * to ask, separated by colons; without it the one on PATH is asked.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

/** Absolute paths of the restic binaries. Throws when there is none: without a judge nothing is proven. */
export function resticBinaries(): string[] {
  const named = (process.env['OPENCBR_TEST_RESTIC'] ?? '').split(':').filter((path) => path !== '')
  for (const path of named) accessSync(path, constants.X_OK)
  if (named.length > 0) return named
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    const path = join(folder, 'restic')
    try {
      accessSync(path, constants.X_OK)
      return [path]
    } catch {
      // It is not in this folder of PATH.
    }
  }
  throw new Error('No restic program was found: install one, or name some in OPENCBR_TEST_RESTIC.')
}

/** The version that a binary calls itself, such as '0.18.0'. */
export function resticVersion(binary: string): string {
  const output = spawnSync(binary, ['version'], { encoding: 'utf8' }).stdout
  return /^restic (\S+)/.exec(output)?.[1] ?? 'unknown'
}

export interface ResticResult {
  readonly exitCode: number
  readonly stdout: Buffer
  readonly stderr: string
}

export interface Restic {
  /** Runs a command, and throws with what it printed unless it succeeds. */
  run(...commandLine: string[]): ResticResult
  /** Runs a command, whatever comes of it. */
  attempt(...commandLine: string[]): ResticResult
}

/** The program bound to a repository; it uses no cache, so that every run reads what is really stored. */
export function restic(binary: string, repository: string, password: string): Restic {
  function attempt(...commandLine: string[]): ResticResult {
    const run = spawnSync(binary, ['--no-cache', ...commandLine], {
      env: { ...process.env, RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: password, GOMAXPROCS: '2' },
      maxBuffer: 1 << 30,
    })
    if (run.error !== undefined) throw run.error
    return { exitCode: run.status ?? -1, stdout: run.stdout, stderr: run.stderr.toString() }
  }
  return {
    attempt,
    run(...commandLine) {
      const result = attempt(...commandLine)
      if (result.exitCode === 0) return result
      const output = `${result.stdout.toString()}${result.stderr}`
      throw new Error(`restic ${commandLine.join(' ')} ended with ${result.exitCode}:\n${output}`)
    },
  }
}
