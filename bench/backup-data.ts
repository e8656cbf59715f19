/** Data to back up, the same bytes on every machine: a folder of small files, and a half-empty disk. */
import { createCipheriv } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'

const MEBIBYTE = 1 << 20
const FILES_PER_FOLDER = 50

/** Bytes that nothing can compress. */
function noise(length: number, seed: number): Buffer {
  const key = Buffer.alloc(32)
  key.writeUInt32LE(seed, 0)
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

const WORDS = 'the of and to in is that for it was on are as with his they at be this from have or by one had not but what all were'.split(' ')

/** Text of common words, which compresses to about a third. */
function text(length: number, seed: number): Buffer {
  const choice = noise(length, seed)
  const words: string[] = []
  let bytes = 0
  for (let at = 0; bytes <= length; at += 1) {
    const number = choice[at] ?? 0
    const word = number < 40 ? number.toString(36) + (choice[at + 1] ?? 0).toString(36) : (WORDS[number % WORDS.length] ?? '')
    words.push(word)
    bytes += word.length + 1
  }
  return Buffer.from(words.join(' ')).subarray(0, length)
}

/** Files from a few bytes to 200 KiB, 10 KiB on average, half of them text; 50 in each folder. */
export function makeFolder(directory: string, files: number): void {
  const sizes = noise(files * 2, 1)
  for (let number = 0; number < files; number += 1) {
    const folder = join(directory, `part ${Math.floor(number / FILES_PER_FOLDER / 20)}`, `folder ${Math.floor(number / FILES_PER_FOLDER)}`)
    if (number % FILES_PER_FOLDER === 0) fs.mkdirSync(folder, { recursive: true })
    // The exponent is uniform, so that small files are many and big ones few.
    const size = Math.floor(2 ** (4 + (sizes.readUInt16LE(number * 2) / 65_536) * 13.65))
    fs.writeFileSync(join(folder, `file ${number}`), number % 2 === 0 ? text(size, number) : noise(size, number))
  }
}

/** A disk image of which half is holes, a quarter text and a quarter noise, in stretches of 8 MiB. */
export function makeImage(path: string, mebibytes: number): void {
  const file = fs.openSync(path, 'wx')
  try {
    fs.ftruncateSync(file, mebibytes * MEBIBYTE)
    const page = text(MEBIBYTE, 7)
    for (let at = 0; at < mebibytes; at += 1) {
      const stretch = Math.floor(at / 8) % 4
      if (stretch >= 2) continue
      // Different in every MiB, so that nothing is stored only once.
      const bytes = stretch === 0 ? Buffer.concat([noise(4096, at), page.subarray(4096)]) : noise(MEBIBYTE, 1_000_000 + at)
      fs.writeSync(file, stretch === 0 ? rotated(bytes, at * 997) : bytes, 0, MEBIBYTE, at * MEBIBYTE)
    }
  } finally {
    fs.closeSync(file)
  }
}

function rotated(bytes: Buffer, by: number): Buffer {
  const at = by % bytes.length
  return Buffer.concat([bytes.subarray(at), bytes.subarray(0, at)])
}
