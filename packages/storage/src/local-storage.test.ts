import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { localStorage, removeLeftovers } from './local-storage.ts'

test('only temporary files that are old enough are removed, wherever they lie', async (t) => {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'opencbr-leftovers-'))
  t.after(() => fs.rm(directory, { recursive: true, force: true }))
  const storage = localStorage(directory)
  await storage.put('data/ab/abcd', [Buffer.from('kept')])
  await storage.put('config', [Buffer.from('kept')])
  const write = async (name: string, writtenAt: number): Promise<void> => {
    await fs.writeFile(path.join(directory, name), 'half')
    await fs.utimes(path.join(directory, name), writtenAt / 1000, writtenAt / 1000)
  }
  await write('data/ab/ef01-tmp-0123456789abcdef', 1_000_000)
  await write('config-tmp-123456', 1_000_000)
  await write('data/ab/ef02-tmp-0123456789abcdef', 3_000_000)
  await fs.symlink('/nowhere', path.join(directory, 'link-tmp-1'))
  for (const kept of ['data/ab/abcd', 'config']) await fs.utimes(path.join(directory, kept), 1000, 1000)

  await removeLeftovers(directory, 2_000_000)
  const left = await fs.readdir(directory, { recursive: true })
  assert.deepEqual(left.toSorted(), ['config', 'data', 'data/ab', 'data/ab/abcd', 'data/ab/ef02-tmp-0123456789abcdef', 'link-tmp-1'])
  assert.deepEqual(Buffer.from(await storage.get('data/ab/abcd')), Buffer.from('kept'))
  await removeLeftovers(path.join(directory, 'missing'), 2_000_000)
})
