/**
 * What the levels of zstd cost and give, for blobs of 1 MiB: CPU seconds and size of a program (Node's own) and of text (the
 * project's type declarations and documents). Run it with `node_modules/.bin/node bench/zstd-levels.ts`.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { compress } from '../packages/engine/src/crypto/zstd.ts'

const MEBIBYTE = 1 << 20
const BYTES_MAX = 64 * MEBIBYTE

function readText(): Buffer {
  const root = join(import.meta.dirname, '../node_modules')
  const files = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(?:d\.ts|md|js)$/.test(name)).toSorted()
  const parts: Buffer[] = []
  let bytes = 0
  for (const name of files) {
    if (bytes >= BYTES_MAX) break
    // Some folders are named like files.
    if (!fs.statSync(join(root, name)).isFile()) continue
    const part = fs.readFileSync(join(root, name))
    parts.push(part)
    bytes += part.length
  }
  return Buffer.concat(parts).subarray(0, BYTES_MAX)
}

const sources = { program: fs.readFileSync(process.execPath).subarray(0, BYTES_MAX), text: readText() }
process.stdout.write('| data | level | CPU s | MiB/s | MiB | of the whole |\n|---|---|---|---|---|---|\n')
for (const [name, data] of Object.entries(sources)) {
  for (const level of [1, 2, 3] as const) {
    const before = process.cpuUsage()
    let stored = 0
    for (let at = 0; at < data.length; at += MEBIBYTE) stored += compress(data.subarray(at, at + MEBIBYTE), level).length
    const { user, system } = process.cpuUsage(before)
    const seconds = (user + system) / 1e6
    const mebibytes = data.length / MEBIBYTE
    process.stdout.write(`| ${name}, ${Math.round(mebibytes)} MiB | ${level} | ${seconds.toFixed(2)} | ${Math.round(mebibytes / seconds)} `
      + `| ${(stored / MEBIBYTE).toFixed(1)} | ${((100 * stored) / data.length).toFixed(1)} % |\n`)
  }
}
