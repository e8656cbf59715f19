/**
 * `engine.ts [--quick] [--rounds N] [--only disk|files|random] [--until STEP] [--folder DIR]`: what the command line costs beside
 * stock restic, in one run.
 *
 * Workloads: a disk of 4 GiB with a file system in it, of which half is in use; 50,000 small files; 1 GiB that nothing
 * can compress. Steps of each: the first backup into an empty repository; the same again unchanged; the same with one
 * percent changed; a restore; a check that reads all data. Every step is a whole process of either program, from its
 * start to its end, with all protections on and the caches that it normally has, which are empty at the beginning.
 *
 * Both repositories are made alike, so that opening them costs the same. The two programs take turns at every step, on
 * the same sources, and who begins alternates from round to round: a ratio compares two runs that were neighbours, and
 * the table shows the medians of the rounds. `short` marks figures below their target.
 *
 * All data lies in a temporary directory, by default where the system has them, and is removed in the end: it takes
 * about 20 GB. Three rounds take some twelve minutes on two quiet cores; `--rounds 1` and `--quick` less. The newest restic of OPENCBR_TEST_RESTIC is the peer, or the one on PATH.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import os from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { compareTrees, firstDifference } from '../test/support/compare-trees.ts'
import { resticBinaries, resticVersion } from '../test/support/restic.ts'
import { measureRun, type Cost } from './measured-run.ts'
import { changeFile, changeFiles, makeDisk, makeFiles, makeRandom } from './support/engine-data.ts'

const PASSWORD = 'benchmark'
const MEBIBYTE = 1 << 20
/** What users start. */
const LAUNCHER = join(import.meta.dirname, '..', 'packages', 'cli', 'bin', 'opencbr')

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string' },
    until: { type: 'string', default: 'check' },
    folder: { type: 'string', default: os.tmpdir() },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))

const STEPS = ['first backup', 'unchanged', '1 % changed', 'restore', 'check'] as const
type Step = (typeof STEPS)[number]
const lastStep = STEPS.findIndex((step) => step === values.until)
assert(lastStep >= 0, `--until is one of ${STEPS.join(', ')}`)
const steps = STEPS.slice(0, lastStep + 1)

interface Workload {
  readonly name: string
  readonly source: string
  readonly hasManyFiles: boolean
  /** How many times as fast as restic each step should be at least. */
  readonly targets: Readonly<Partial<Record<Step, number>>>
  make(): void
  change(round: number): void
}

interface Program {
  readonly name: string
  /** Runs one step; a restore goes to `destination`. */
  run(step: Step, source: string, repository: string, destination: string): Promise<Cost>
  /** Where the restored source lies below the destination. */
  restored(source: string, destination: string): string
}

const PEAK_MEBIBYTES_MAX = 400
const STORED_RATIO_MAX = 1.05
const TARGETS = { 'first backup': 2, 'unchanged': 2, 'restore': 1.5, 'check': 1.5 } as const

function workloadsIn(top: string): Workload[] {
  const diskMebibytes = values.quick ? 256 : 4096
  const fileCount = values.quick ? 2500 : 50_000
  const randomMebibytes = values.quick ? 64 : 1024
  const disk = join(top, 'disk.img')
  const files = join(top, 'files')
  const random = join(top, 'random')
  const workloads: (Workload & { readonly key: string })[] = [
    {
      key: 'disk', name: `disk of ${diskMebibytes} MiB, half empty`, source: disk, hasManyFiles: false, targets: TARGETS,
      make: () => makeDisk(disk, diskMebibytes),
      change: (round) => changeFile(disk, round),
    },
    {
      key: 'files', name: `${fileCount} small files`, source: files, hasManyFiles: true, targets: TARGETS,
      make: () => makeFiles(files, fileCount),
      change: (round) => changeFiles(files, fileCount, round),
    },
    {
      key: 'random', name: `${randomMebibytes} MiB of noise`, source: random, hasManyFiles: false, targets: { ...TARGETS, 'first backup': 1.5 },
      make: () => makeRandom(random, randomMebibytes),
      change: (round) => changeFile(join(random, 'random'), round),
    },
  ]
  return workloads.filter(({ key }) => values.only === undefined || values.only === key)
}

function openCbr(compiled: string): Program & { init(repository: string): Promise<unknown> } {
  const call = (...commandLine: string[]) => measureRun(
    LAUNCHER, ['repository', ...commandLine],
    { OPENCBR_REPOSITORY_PASSWORD: PASSWORD, NODE_COMPILE_CACHE: compiled },
  )
  return {
    name: 'opencbr',
    init: (repository) => call('init', repository),
    run(step, source, repository, destination) {
      if (step === 'restore') return call('restore', repository, `latest:${source}`, '--target', destination)
      return step === 'check' ? call('check', repository, '--read-data') : call('backup', repository, source)
    },
    restored: (source, destination) => (fs.statSync(source).isDirectory() ? destination : join(destination, basename(source))),
  }
}

function stockRestic(binary: string, cache: string): Program {
  return {
    name: `restic ${resticVersion(binary)}`,
    run(step, source, repository, destination) {
      const sparse = fs.statSync(source).isDirectory() ? [] : ['--sparse']
      const commandLine = step === 'restore' ? ['restore', 'latest', '--target', destination, ...sparse]
        : step === 'check' ? ['check', '--read-data'] : ['backup', source]
      return measureRun(binary, ['--quiet', '--cache-dir', cache, ...commandLine], { RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: PASSWORD })
    },
    restored: (source, destination) => join(destination, source),
  }
}

/** What one program's steps cost in one round. */
interface Sample {
  readonly costs: Map<Step, Cost>
  storedBytes: number
}

async function runRound(programs: readonly Program[], workload: Workload, round: number, directories: readonly string[]): Promise<Sample[]> {
  const samples = programs.map((): Sample => ({ costs: new Map(), storedBytes: 0 }))
  const order = round % 2 === 0 ? [0, 1] : [1, 0]
  for (const step of steps) {
    if (step === '1 % changed') workload.change(round)
    for (const at of order) {
      const [program, sample, directory] = [programs[at], samples[at], directories[at]]
      assert(program !== undefined && sample !== undefined && directory !== undefined)
      // What an earlier step left to be written must not slow this one down.
      spawnSync('sync')
      const cost = await program.run(step, workload.source, join(directory, 'repository'), join(directory, 'restored'))
      process.stderr.write(`${workload.name}, round ${round + 1} of ${rounds}, ${step}, ${program.name}: ${cost.wallSeconds.toFixed(2)} s\n`)
      sample.costs.set(step, cost)
      if (step === '1 % changed') sample.storedBytes = bytesBelow(join(directory, 'repository'))
      if (step === 'restore' && round === 0) assertRestored(workload.source, program.restored(workload.source, join(directory, 'restored')))
    }
  }
  return samples
}

function assertRestored(source: string, restored: string): void {
  if (fs.statSync(source).isDirectory()) assert.deepEqual(compareTrees(source, restored).slice(0, 5), [])
  else assert.equal(firstDifference(source, restored), undefined)
}

function bytesBelow(directory: string): number {
  return fs.readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((bytes, entry) => bytes + fs.statSync(join(entry.parentPath, entry.name)).size, 0)
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? 0
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
  return (lower + upper) / 2
}

function tabulate(workload: Workload, samples: readonly (readonly Sample[])[]): string[] {
  const medianOf = (program: number, of: (sample: Sample) => number): number =>
    median(samples.map((round) => round[program]).filter((sample) => sample !== undefined).map(of))
  const ratioOf = (of: (sample: Sample) => number): number =>
    median(samples.map(([ours, peer]) => (ours === undefined || peer === undefined ? 0 : of(peer) / of(ours))))
  const rows = steps.map((step) => {
    const wall = (sample: Sample) => sample.costs.get(step)?.wallSeconds ?? 0
    const cpu = (sample: Sample) => sample.costs.get(step)?.cpuSeconds ?? 0
    const peak = (sample: Sample) => (sample.costs.get(step)?.peakBytes ?? 0) / MEBIBYTE
    const target = workload.targets[step]
    const isShort = target !== undefined && ratioOf(wall) < target
    const isBig = medianOf(0, peak) > PEAK_MEBIBYTES_MAX
    return `| ${[
      workload.name, step,
      `${medianOf(0, wall).toFixed(2)} / ${medianOf(1, wall).toFixed(2)}`,
      `${ratioOf(wall).toFixed(2)}${target === undefined ? '' : ` (${target})`}${isShort ? ' short' : ''}`,
      `${medianOf(0, cpu).toFixed(2)} / ${medianOf(1, cpu).toFixed(2)}`,
      ratioOf(cpu).toFixed(2),
      `${medianOf(0, peak).toFixed(0)} / ${medianOf(1, peak).toFixed(0)}${isBig ? ' big' : ''}`,
    ].join(' | ')} |`
  })
  if (!steps.includes('1 % changed')) return rows
  const stored = (sample: Sample) => sample.storedBytes / MEBIBYTE
  const storedRatio = 1 / ratioOf(stored)
  const verdict = storedRatio > STORED_RATIO_MAX ? ' big' : ''
  rows.push(`| ${workload.name} | repository | ${medianOf(0, stored).toFixed(0)} / ${medianOf(1, stored).toFixed(0)} MiB | ${storedRatio.toFixed(3)} times the size (${STORED_RATIO_MAX})${verdict} | | | |`)
  return rows
}

const top = fs.mkdtempSync(join(values.folder, 'opencbr-bench-'))
try {
  const newest = resticBinaries().toSorted((a, b) => resticVersion(a).localeCompare(resticVersion(b), 'en', { numeric: true })).at(-1)
  assert(newest !== undefined)
  const ours = openCbr(join(top, 'compiled'))
  const programs: Program[] = [ours, stockRestic(newest, join(top, 'cache'))]
  const rows: string[] = []
  for (const workload of workloadsIn(top)) {
    process.stderr.write(`${workload.name} is being made\n`)
    workload.make()
    const samples: Sample[][] = []
    for (let round = 0; round < rounds; round += 1) {
      const directories = programs.map(() => fs.mkdtempSync(join(top, 'round-')))
      for (const directory of directories) await ours.init(join(directory, 'repository'))
      samples.push(await runRound(programs, workload, round, directories))
      // Some file systems are slow to make files just after many others were removed, and that would be counted.
      if (!workload.hasManyFiles) for (const directory of directories) fs.rmSync(directory, { recursive: true })
    }
    rows.push(...tabulate(workload, samples))
  }
  console.log(`Medians of ${rounds} rounds on ${os.availableParallelism()} processors, ${ours.name} / ${programs[1]?.name}; times: how many times as much the latter takes, and the target.\n`)
  console.log('| workload | step | wall, s | times | processor, s | times | peak, MiB |\n|---|---|---|---|---|---|---|')
  console.log(rows.join('\n'))
} finally {
  fs.rmSync(top, { recursive: true, force: true })
}
