import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { scryptSync } from 'node:crypto'
import { test } from 'node:test'
import { scrypt } from './scrypt.ts'
import { prepareScryptThreads } from './scrypt-threads.ts'

test('scrypt gives what OpenSSL gives, for one and for many lanes, cheap and dear', async () => {
  const salt = Buffer.from(Array.from({ length: 64 }, (_, i) => i * 5))
  for (const [N, r, p] of [[1024, 8, 32], [1024, 8, 33], [16_384, 8, 2], [16_384, 8, 3], [16_384, 8, 8], [8192, 8, 13], [32_768, 8, 1], [2048, 4, 20], [1024, 8, 1]] as const) {
    const expected = scryptSync('pass\u{1f511}word', salt, 64, { N, r, p, maxmem: 2 ** 28 })
    assert.deepEqual(await scrypt('pass\u{1f511}word', salt, 64, { N, r, p }), expected, `${N} ${r} ${p}`)
  }
})

test('threads that were started before work for one key, and the next one gets others', async () => {
  const salt = Buffer.alloc(64, 7)
  const cost = { N: 4096, r: 8, p: 9 }
  prepareScryptThreads()
  const expected = scryptSync('password', salt, 64, { ...cost, maxmem: 2 ** 28 })
  assert.deepEqual(await scrypt('password', salt, 64, cost), expected)
  assert.deepEqual(await scrypt('password', salt, 64, cost), expected)
})

test('threads that were started and are not needed do not keep the process from ending', () => {
  const program = `import(${JSON.stringify(new URL('./scrypt-threads.ts', import.meta.url).href)}).then((threads) => threads.prepareScryptThreads())`
  const { status, signal, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '-e', program], { encoding: 'utf8', timeout: 60_000 })
  assert.deepEqual([status, signal, stderr], [0, null, ''])
})
