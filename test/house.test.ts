/**
 * Holds the direction of imports: storage ← engine ← agent ← server, contract and storage import
 * nothing of ours, and inside the server the layers of docs/architecture.md.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '..')

const mayImport: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  storage: [],
  engine: ['storage'],
  agent: ['storage', 'engine'],
  server: ['contract', 'storage', 'engine', 'agent'],
  cli: ['contract', 'storage', 'engine', 'server'],
  testkit: ['contract', 'server', 'agent', 'engine', 'storage'],
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(/^(?:import|export)\b[^'"]*?from '([^']+)'|\bimport\('([^']+)'\)/gm)]
    .map((match) => match[1] ?? match[2] ?? '')
}

test('packages import one way', () => {
  const wrong: string[] = []
  let seen = 0
  for (const [name, allowed] of Object.entries(mayImport)) {
    for (const file of sourceFiles(join(root, 'packages', name, 'src'))) {
      if (file.endsWith('.test.ts')) continue
      for (const specifier of importsOf(file)) {
        seen += 1
        const ours = /^@opencbr\/([a-z]+)/.exec(specifier)?.[1]
        const leaves = specifier.startsWith('.') && relative(join(root, 'packages', name), resolve(dirname(file), specifier)).startsWith('..')
        if (leaves || (ours !== undefined && !allowed.includes(ours))) wrong.push(`${relative(root, file)} imports ${specifier}`)
      }
    }
  }
  assert.ok(seen > 100, `only ${seen} imports were found: the reader of imports is broken`)
  assert.deepEqual(wrong, [])
})

/** Lower may not import higher. What is not named here is composition and may import everything. */
const layers: readonly (readonly string[])[] = [
  ['clock.ts', 'ids.ts', 'config.ts', 'failures.ts', 'secrets.ts', 'tag.ts', 'enterprise-projects.ts'],
  ['db', 'deps.ts'],
  ['jobs', 'servers', 'operations', 'events', 'identity', 'resources', 'audit'],
  ['agents', 'backups', 'checkpoints', 'vaults', 'policies', 'organization-policies', 'tags', 'protectables', 'populate', 'members', 'features'],
  ['verify', 'browse', 'webhooks'],
  ['agent-host', 'reader-host', 'scheduler'],
  ['tasks'],
  ['http'],
]

function layerOf(path: string): number {
  return layers.findIndex((names) => names.includes(path.split('/')[0] ?? ''))
}

test('inside the server, lower layers do not import higher ones, and nouns are entered through their index', () => {
  const base = join(root, 'packages/server/src')
  const wrong: string[] = []
  for (const file of sourceFiles(base)) {
    if (file.endsWith('.test.ts')) continue
    const from = relative(base, file)
    for (const specifier of importsOf(file).filter((each) => each.startsWith('.'))) {
      const to = relative(base, resolve(dirname(file), specifier))
      const [fromFolder, toFolder] = [from.split('/')[0] ?? '', to.split('/')[0] ?? '']
      if (fromFolder === toFolder) continue
      if (layerOf(from) !== -1 && layerOf(to) > layerOf(from)) wrong.push(`${from} imports ${to}, which lies higher`)
      const isNoun = layers.slice(2, 5).some((names) => names.includes(toFolder))
      if (isNoun && !/^[a-z-]+\/(index|identity)\.ts$/.test(to)) wrong.push(`${from} enters ${to} beside its index`)
    }
  }
  assert.deepEqual(wrong, [])
})
