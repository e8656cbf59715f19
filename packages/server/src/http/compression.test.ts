import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { chooseEncoding, compress } from './compression.ts'

test('the client chooses, and what is small stays as it is', () => {
  const cases: readonly (readonly [string | undefined, ReturnType<typeof chooseEncoding>])[] = [
    [undefined, undefined], ['', undefined], ['gzip', 'gzip'], ['GZIP', 'gzip'], ['gzip, deflate, br', 'gzip'], ['gzip, deflate, br, zstd', 'zstd'],
    ['zstd;q=0.5, gzip;q=0.9', 'gzip'], ['*', 'zstd'], ['identity', undefined], ['gzip;q=0', undefined], ['gzip;q=0.2, identity;q=0.9', undefined],
    ['br', undefined], ['gzip;q=x', undefined],
  ]
  for (const [accepted, expected] of cases) assert.equal(chooseEncoding(accepted, 5000), expected, String(accepted))
  assert.equal(chooseEncoding('gzip', 100), undefined)
})

test('both encodings give the bytes back', async () => {
  const bytes = Buffer.from(JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, name: 'ä' }))))
  assert.deepEqual(zstdDecompressSync(await compress('zstd', bytes)), bytes)
  assert.deepEqual(gunzipSync(await compress('gzip', bytes)), bytes)
})
