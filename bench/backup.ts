/**
 * `backup.ts [--quick] [--rounds N] [--files N] [--mebibytes N] [--folder DIR]`: what backing up and restoring costs,
 * beside stock restic in the same run.
 *
 * Two workloads, a folder of many small files and a half-empty disk image; three steps of each: the
 * first backup into an empty repository, a second one of the unchanged source, and a restore. Every
 * step is a whole process, opening the repository included. Both programs work on repositories that
 * were made alike, so that the cost of opening them is the same; which of them begins alternates from
 * round to round. The table shows medians, and how many times as much restic takes.
 *
 * All data lies in a temporary directory, by default where the system has them, and is removed in the
 * end. The newest restic of OPENCBR_TEST_RESTIC is the peer, or the one on PATH.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compareTrees, firstDifference } from '../test/support/compare-trees.ts'
import { resticBinaries, resticVersion } from '../test/support/restic.ts'
import { makeFolder, makeImage } from './backup-data.ts'
import { measureRun, type Cost } from './measured-run.ts'

const PASSWORD = 'benchmark'
const MEBIBYTE = 1 << 20
const ENGINE = join(import.meta.dirname, 'engine-run.ts')

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    files: { type: 'string' },
    mebibytes: { type: 'string' },
    folder: { type: 'string', default: os.tmpdir() },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
const files = Number(values.files ?? (values.quick ? 2000 : 20_000))
const mebibytes = Number(values.mebibytes ?? (values.quick ? 128 : 1024))

type Step = 'first backup' | 'unchanged' | 'restore'
const STEPS: readonly Step[] = ['first backup', 'unchanged', 'restore']

interface Workload {
  readonly name: string
  readonly source: string
  readonly kind: 'tree' | 'image'
}

interface Program {
  readonly name: string
  run(step: Step, workload: Workload, repository: string, destination: string): Promise<Cost>
  /** Where the restored source lies below the destination. */
  restored(workload: Workload, destination: string): string
}

const ours: Program = {
  name: 'opencbr',
  run(step, { kind, source }, repository, destination) {
    const command = step === 'restore' ? `restore-${kind}` : `backup-${kind}`
    const target = kind === 'tree' ? destination : join(destination, 'image')
    return measureRun(process.execPath, [ENGINE, command, repository, source, target], { OPENCBR_BENCH_PASSWORD: PASSWORD })
  },
  restored: ({ kind }, destination) => (kind === 'tree' ? destination : join(destination, 'image')),
}

function stockRestic(binary: string, cache: string): Program {
  return {
    name: `restic ${resticVersion(binary)}`,
    run(step, { kind, source }, repository, destination) {
      const sparse = kind === 'image' ? ['--sparse'] : []
      const commandLine = step === 'restore' ? ['restore', 'latest', '--target', destination, ...sparse] : ['backup', source]
      return measureRun(binary, ['--quiet', ...commandLine], {
        RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: PASSWORD, RESTIC_CACHE_DIR: cache,
      })
    },
    restored: ({ source }, destination) => join(destination, source),
  }
}

interface Sample {
  readonly costs: Map<Step, Cost>
  readonly storedBytes: number
}

/**
 * What a round makes stays until the end of the run: some file systems are slow to make files just
 * after many others were removed, and that would be counted.
 */
async function runRound(program: Program, workload: Workload, directory: string): Promise<Sample> {
  const repository = join(directory, 'repository')
  const destination = join(directory, 'destination')
  fs.mkdirSync(destination, { recursive: true })
  await measureRun(process.execPath, [ENGINE, 'init', repository], { OPENCBR_BENCH_PASSWORD: PASSWORD })
  const costs = new Map<Step, Cost>()
  for (const step of STEPS) {
    // What an earlier step left to be written must not slow this one down.
    spawnSync('sync')
    costs.set(step, await program.run(step, workload, repository, destination))
  }
  const restored = program.restored(workload, destination)
  if (workload.kind === 'tree') assert.deepEqual(compareTrees(workload.source, restored).slice(0, 5), [])
  else assert.equal(firstDifference(workload.source, restored), undefined)
  return { costs, storedBytes: bytesBelow(repository) }
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

const top = fs.mkdtempSync(join(values.folder, 'opencbr-bench-'))
try {
  const folder = join(top, 'folder')
  const image = join(top, 'disk.img')
  makeFolder(folder, files)
  makeImage(image, mebibytes)
  const workloads: Workload[] = [
    { name: `${files} files`, source: folder, kind: 'tree' }, { name: `${mebibytes} MiB image`, source: image, kind: 'image' },
  ]
  const newest = resticBinaries().toSorted((a, b) => resticVersion(a).localeCompare(resticVersion(b), 'en', { numeric: true })).at(-1)
  assert(newest !== undefined)
  const programs = [ours, stockRestic(newest, join(top, 'cache'))]
  const rows: Record<string, string>[] = []
  for (const workload of workloads) {
    const samples = new Map(programs.map((program) => [program, [] as Sample[]]))
    for (let round = 0; round < rounds; round += 1) {
      for (const program of round % 2 === 0 ? programs : programs.toReversed()) {
        process.stderr.write(`${workload.name}, round ${round + 1} of ${rounds}, ${program.name}\n`)
        samples.get(program)?.push(await runRound(program, workload, fs.mkdtempSync(join(top, 'round-'))))
      }
    }
    rows.push(...tabulate(workload, programs, samples))
  }
  console.log(`\nMedians of ${rounds} rounds on ${os.availableParallelism()} processors; 'times' is how many times as much ${programs[1]?.name} takes.`)
  console.table(rows)
} finally {
  fs.rmSync(top, { recursive: true, force: true })
}

function tabulate(workload: Workload, programs: readonly Program[], samples: ReadonlyMap<Program, readonly Sample[]>): Record<string, string>[] {
  const measures: [name: string, unit: string, digits: number, of: (sample: Sample, step: Step) => number][] = [
    ['wall', 's', 2, ({ costs }, step) => costs.get(step)?.wallSeconds ?? 0],
    ['cpu', 's', 2, ({ costs }, step) => costs.get(step)?.cpuSeconds ?? 0],
    ['peak', 'MiB', 0, ({ costs }, step) => (costs.get(step)?.peakBytes ?? 0) / MEBIBYTE],
    ['stored', 'MiB', 0, ({ storedBytes }, step) => (step === 'unchanged' ? storedBytes / MEBIBYTE : 0)],
  ]
  return STEPS.map((step) => {
    const row: Record<string, string> = { workload: workload.name, step }
    for (const [name, unit, digits, of] of measures) {
      const [our = 0, peer = 0] = programs.map((program) => median((samples.get(program) ?? []).map((sample) => of(sample, step))))
      row[`${name} (${unit})`] = our === 0 ? '' : `${our.toFixed(digits)} / ${peer.toFixed(digits)}`
      row[`${name} times`] = our === 0 ? '' : (peer / our).toFixed(2)
    }
    return row
  })
}
