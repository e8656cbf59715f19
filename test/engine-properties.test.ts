/** Random trees: what we archive, stock restic and we restore as it was, and a second run stores nothing. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  assert as assertProperty, asyncProperty, integer, letrec, nat, oneof, record, string, uint8Array, uniqueArray,
} from 'fast-check'
import { restoreTree } from '@opencbr/engine'
import { compareTrees } from './support/compare-trees.ts'
import { inDirectory, pseudoRandomBytes } from './support/nasty-tree.ts'
import { resticBinaries } from './support/restic.ts'
import { openScratchRepository, scratchDirectory } from './support/scratch-repository.ts'

const RUNS = 12

interface Entry {
  readonly name: Uint8Array
  /** A directory holds entries, a file its size and seed, a link its target. */
  readonly content: readonly Entry[] | { readonly bytes: number; readonly seed: number } | { readonly target: Uint8Array }
  readonly mode: number
  /** Of the modification time, since 1970. */
  readonly seconds: number
}

const nameBytes = uint8Array({ minLength: 1, maxLength: 40 })
  .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x5c : byte)))
  .filter((name) => !['.', '..'].includes(Buffer.from(name).toString('latin1')))
const text = string({ unit: 'grapheme', minLength: 1, maxLength: 6 }).map((graphemes) => Buffer.from(graphemes.replaceAll(/[/\0.]/g, '_')))
const name = oneof(nameBytes, text)
const { entries } = letrec<{ entries: Entry[]; entry: Entry }>((tie) => ({
  entry: record({
    name,
    content: oneof(
      { depthSize: 'small', withCrossShrink: true },
      record({ bytes: oneof(nat(5000), nat(1_500_000)), seed: nat(50) }),
      // Targets are text, for old versions of restic lose other bytes.
      record({ target: text }),
      tie('entries'),
    ),
    mode: nat(0o7777),
    seconds: integer({ min: -(2 ** 31), max: 2 ** 32 }),
  }),
  entries: uniqueArray(tie('entry'), { maxLength: 7, selector: (entry) => Buffer.from(entry.name).toString('latin1') }),
}))

function make(directory: Buffer, children: readonly Entry[]): void {
  for (const { name: childName, content, mode, seconds } of children) {
    const path = inDirectory(directory, childName)
    if ('target' in content) {
      fs.symlinkSync(Buffer.from(content.target), path)
      fs.lutimesSync(path, seconds, seconds)
      continue
    }
    if ('bytes' in content) fs.writeFileSync(path, pseudoRandomBytes(content.bytes, content.seed))
    else {
      fs.mkdirSync(path)
      make(path, content)
    }
    // The owner must be able to read it, also where the tests do not run as root.
    fs.chmodSync(path, mode | 0o700)
    fs.utimesSync(path, seconds, seconds)
  }
}

test(`${RUNS} random trees come back as they were, from stock restic and from us`, async (t) => {
  const binaries = resticBinaries()
  let run = 0
  await assertProperty(
    asyncProperty(entries, async (children) => {
      const directory = scratchDirectory(t)
      const source = join(directory, 'source')
      fs.mkdirSync(source)
      make(Buffer.from(source), children)
      await using ours = await openScratchRepository(join(directory, 'repository'))
      const first = await ours.archiveTree(source)
      assert.ok(first.whole)
      const second = await ours.archiveTree(source, { parent: first.snapshotId })
      assert.deepEqual([second.dataBlobs, second.files.new, second.files.changed], [0, 0, 0])
      const unaided = await ours.archiveTree(source)
      assert.equal(unaided.dataBlobs, 0)

      const destination = join(directory, 'ours')
      const options = { snapshotId: first.snapshotId, sourcePath: source, destination, allowedRoots: [directory] }
      assert.ok((await restoreTree(ours.repository, options)).whole)
      assert.deepEqual(compareTrees(source, destination), [])
      const binary = binaries[run % binaries.length]
      run += 1
      assert.ok(binary !== undefined)
      ours.restic(binary).run('restore', first.snapshotId, '--target', join(directory, 'theirs'))
      assert.deepEqual(compareTrees(source, join(directory, 'theirs', source)), [])
      fs.rmSync(directory, { recursive: true })
    }),
    { numRuns: RUNS, endOnFailure: true },
  )
})
