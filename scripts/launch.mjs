/**
 * Every npm script starts here: `node scripts/launch.mjs [--development] FILE [ARGUMENT…]`.
 *
 * Makes sure that the dependencies are installed as the lockfile says, then hands FILE (relative to
 * the checkout) over to the project's own Node. A fresh clone therefore needs no step before
 * `npm start`. It has to run on Node 20, without any dependency. `--development` asks for the
 * development dependencies too, even where the environment would leave them out.
 */
import { readFileSync, statSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { join, resolve } from 'node:path'
import { endLike, findNode, handOver, root, runPassingSignals } from '../packages/cli/bin/hand-over.mjs'

const args = process.argv.slice(2)
const development = args[0] === '--development'
if (development) args.shift()
const file = args.shift()
if (file === undefined) {
  process.stderr.write('Usage: node scripts/launch.mjs [--development] FILE [ARGUMENT…]\n')
  process.exit(2)
}

while (!isInstalled()) await takeTurn(install)
await handOver(resolve(root, file), args)

/**
 * Compares what npm recorded of the installed tree with the lockfile, package by package. Times of
 * files would not do: a checkout of another branch changes them without changing what is needed.
 */
function isInstalled() {
  const wanted = readPackages(join(root, 'package-lock.json'))
  const present = readPackages(join(root, 'node_modules', '.package-lock.json'))
  if (wanted === undefined) fail(`${join(root, 'package-lock.json')} cannot be read.`)
  if (present === undefined || findNode() === undefined) return false
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith('node_modules/')) return true
    const found = present[path]
    // Optional packages are those of other platforms, and may be missing; development packages
    // are missing on purpose on a machine that only serves.
    if (found === undefined) return entry.optional === true || (entry.dev === true && !development)
    return found.version === entry.version && found.link === entry.link
  })
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}

/**
 * Runs an action in one process at a time for this checkout; a process that finds another one at it
 * waits until that one is done or dead, and then returns without acting. The lock is a socket in
 * Linux's abstract namespace: the kernel gives the name to one process and takes it back when the
 * process ends, however it ends, so no stale lock can stay behind.
 */
async function takeTurn(action) {
  const { dev, ino } = statSync(root)
  const name = `\0opencbr-install-${process.getuid()}-${dev}-${ino}`
  const waiting = new Set()
  const server = createServer((socket) => {
    waiting.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => waiting.delete(socket))
  })
  const taken = await new Promise((done, failed) => {
    server.once('listening', () => done(true))
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? done(false) : failed(error)))
    server.listen(name)
  })
  if (!taken) {
    process.stderr.write('Another command is installing the dependencies; waiting for it …\n')
    await new Promise((done) => {
      const socket = connect(name)
      socket.on('error', () => {})
      socket.on('close', done)
      socket.resume()
    })
    return
  }
  // The winner may have finished between our look at the tree and our taking the name.
  if (!isInstalled()) await action()
  server.close()
  for (const socket of waiting) socket.destroy()
}

async function install() {
  const startedAt = performance.now()
  process.stderr.write('Installing the dependencies (npm ci); this happens once …\n')
  // Run by npm, we use that same npm; run directly, the one on the path.
  const viaNode = /\.c?js$/.test(process.env.npm_execpath ?? '')
  const npm = viaNode ? [process.execPath, process.env.npm_execpath] : ['npm']
  const options = ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--include=optional', '--loglevel=error']
  if (development) options.push('--include=dev')
  let output = ''
  const ended = await runPassingSignals(
    npm[0],
    [...npm.slice(1), ...options],
    { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] },
    (child) => {
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    },
  ).catch((error) => fail(`npm cannot be started: ${error.message}`))
  if (ended.signal !== null) endLike(ended)
  if (ended.code !== 0) {
    // The reason stands at the top; below it npm explains all of its options.
    const reason = output.trim().split('\n').slice(0, 20).join('\n')
    fail(`${reason}\nThe dependencies could not be installed: npm ci ended with code ${ended.code}.`)
  }
  if (!isInstalled()) {
    fail(
      findNode() === undefined
        ? `npm has no Node 26 for ${process.platform}-${process.arch}. Install Node 26 or newer and run this with it.`
        : `npm ci ended well, but ${join(root, 'node_modules')} is not what package-lock.json describes.`,
    )
  }
  process.stderr.write(`Installed in ${((performance.now() - startedAt) / 1000).toFixed(1)} s.\n`)
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
