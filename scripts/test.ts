/**
 * `npm test [-- PART_OF_A_PATH …]`: everything that judges this checkout, with no step before it.
 *
 * Brings stock restic, checks types and style, runs the tests beside the code, then those across
 * packages, and what is about the catalogue once more on PostgreSQL. A failing suite does not stop the
 * later ones: one run shows all that is wrong. Arguments choose test files by a part of their path and
 * leave the rest out, and say so at the end.
 *
 * The closing line counts what really ran: each test that Node's test runner reports, and one for
 * the types and one for the style. The exit code is 0 only if nothing failed and, where CI=true, no
 * suite was left out.
 */
import { spawn, spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { cpus } from 'node:os'
import { delimiter, join } from 'node:path'
import { spec } from 'node:test/reporters'
import { run, type EventData } from 'node:test'
import { startPostgresServer } from '@opencbr/testkit'

interface Outcome {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** The tests that did not run, each with its reason. */
  readonly skippedTests?: readonly string[]
  /** Why the suite did not run; it has no counts then. */
  readonly notRun?: string
}

interface Suite {
  readonly name: string
  run(): Promise<Outcome>
}

/** A test that takes longer than this has failed. */
const TEST_MS_MAX = 10 * 60_000
/** The files of a suite are killed then: something a test left open must not become a dead CI run. */
const SUITE_MS_MAX = 40 * 60_000
/** The tests start servers and run restic beside them; more at once would measure the machine. */
const FILES_AT_ONCE = 2

/** Those that speak to the API, and those of the queue; files that look into SQLite's own file are not among them. */
const ON_POSTGRES = [
  'test/api-*.test.ts', 'test/list-backups*.test.ts', 'test/runs-input.test.ts', 'test/tasks.test.ts', 'test/deletion.test.ts',
  'test/auto-bind.test.ts', 'test/agents.test.ts', 'test/verify.test.ts', 'packages/server/src/scheduler/scheduler.test.ts', 'packages/server/src/identity/mirror-keystone.test.ts',
  'test/sharing.test.ts', 'test/permissions.test.ts', 'test/vault-*.test.ts',
  'test/migrate-resources.test.ts', 'test/catalog-rebuild.test.ts', 'packages/server/src/vaults/vault-usage.test.ts',
]

const root = join(import.meta.dirname, '..')
const chosen = process.argv.slice(2)
const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    stopping.abort()
    console.log(`Stopped by ${signal}.`)
    process.exit(1)
  })
}

process.chdir(root)
const restics = bringRestic()
const suites: Suite[] = [
  { name: 'types', run: () => check('node_modules/typescript/bin/tsc', '--noEmit') },
  { name: 'style', run: () => check('node_modules/oxlint/bin/oxlint') },
  { name: 'beside the code', run: () => runTests('packages/*/src/**/*.test.ts') },
  { name: 'across packages', run: () => runTests('test/**/*.test.ts') },
  { name: 'on PostgreSQL', run: runOnPostgres },
]

const rows: { name: string; outcome: Outcome; seconds: number }[] = []
for (const suite of suites) {
  console.log(`\n== ${suite.name} ==`)
  const startedAt = performance.now()
  const outcome = await suite.run()
  rows.push({ name: suite.name, outcome, seconds: (performance.now() - startedAt) / 1000 })
}
process.exitCode = report()

/** Brings stock restic unless the environment names some already. Returns the paths, oldest first. */
function bringRestic(): string[] {
  const named = process.env['OPENCBR_TEST_RESTIC']
  if (named !== undefined && named !== '') return named.split(delimiter)
  console.log('== stock restic ==')
  const brought = spawnSync('bash', ['scripts/install-restic.sh'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const paths = (brought.stdout ?? '').split('\n').filter((line) => line !== '')
  for (const path of paths) console.log(path)
  // The tests that need restic look here, and fail with a clear message when nothing is there.
  if (paths.length > 0) process.env['OPENCBR_TEST_RESTIC'] = paths.join(delimiter)
  return paths
}

/** Runs a checker that judges the whole checkout at once, and counts as one. */
function check(script: string, ...args: string[]): Promise<Outcome> {
  if (chosen.length > 0) return Promise.resolve(notRun('only some test files were asked for'))
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'inherit', 'inherit'], signal: stopping.signal })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) console.log('Nothing to complain about.')
      resolve({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 })
    })
  })
}

/**
 * What is about the catalogue runs a second time, on PostgreSQL. One server serves all files; each test has a database of
 * its own on it.
 */
async function runOnPostgres(): Promise<Outcome> {
  if (chosen.length > 0 && !globSync(ON_POSTGRES).some((file) => chosen.some((part) => file.includes(part)))) return notRun('no file of it was asked for')
  const server = await startPostgresServer().catch((error: Error) => {
    console.log(error.message)
    return undefined
  })
  if (server === undefined) return { passed: 0, failed: 1, skipped: 0 }
  await using _ended = server
  return await runTests(ON_POSTGRES, { OPENCBR_TEST_DATABASE: 'postgres', OPENCBR_TEST_POSTGRES: server.url })
}

/** Runs the test files of some patterns, each in a process of its own. */
async function runTests(pattern: string | readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const present = globSync(pattern).sort()
  const files = present.filter((file) => chosen.length === 0 || chosen.some((part) => file.includes(part)))
  if (files.length === 0) return notRun(present.length === 0 ? `no file matches ${String(pattern)}` : 'no file of it was asked for')
  let whole: EventData.TestSummary | undefined
  const skippedTests: string[] = []
  const events = run({
    files,
    env: { ...process.env, ...environment },
    concurrency: Math.min(FILES_AT_ONCE, cpus().length),
    timeout: TEST_MS_MAX,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(SUITE_MS_MAX)]),
  })
  events.on('test:summary', (summary) => {
    // Each file has a summary too; the one without a file is about all of them.
    if (summary.file === undefined) whole = summary
  })
  const noteIfLeftOut = ({ name, skip, todo: planned }: EventData.TestPass | EventData.TestFail): void => {
    const reason = skip ?? planned
    if (reason !== undefined && reason !== false) skippedTests.push(`${name}: ${reason === true ? 'no reason is given' : reason}`)
  }
  events.on('test:pass', noteIfLeftOut).on('test:fail', noteIfLeftOut)
  for await (const text of events.compose(new spec())) process.stdout.write(String(text))
  if (whole === undefined) return { passed: 0, failed: 1, skipped: 0 }
  const { tests, passed, skipped, todo } = whole.counts
  const failed = tests - passed - skipped - todo
  return { passed, failed: whole.success ? failed : Math.max(failed, 1), skipped: skipped + todo, skippedTests }
}

function notRun(reason: string): Outcome {
  return { passed: 0, failed: 0, skipped: 0, notRun: reason }
}

/** Prints what ran, for how long, and what did not and why. Returns the exit code. */
function report(): number {
  console.log('\n== what ran ==')
  for (const { name, outcome, seconds } of rows) {
    const { passed, failed, skipped } = outcome
    const counts = outcome.notRun === undefined ? `${passed} passed, ${failed} failed, ${skipped} skipped` : `not run: ${outcome.notRun}`
    console.log(`${name.padEnd(16)}  ${`${seconds.toFixed(1)} s`.padStart(8)}  ${counts}`)
    for (const skippedTest of outcome.skippedTests ?? []) console.log(`  skipped: ${skippedTest}`)
  }
  console.log(`stock restic      ${restics.length > 0 ? restics.join(', ') : 'none found: the tests that need it have failed'}`)
  const passed = rows.reduce((sum, { outcome }) => sum + outcome.passed, 0)
  const failed = rows.reduce((sum, { outcome }) => sum + outcome.failed, 0)
  const leftOut = rows.some(({ outcome }) => outcome.notRun !== undefined)
  if (leftOut && process.env['CI'] === 'true') console.log('A suite did not run; in CI that counts as a failure of the run.')
  console.log(`\n${passed} passed, ${failed} failed`)
  return failed > 0 || (leftOut && process.env['CI'] === 'true') ? 1 : 0
}
