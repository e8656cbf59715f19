#!/usr/bin/env node
import { join } from 'node:path'
import { handOver, root } from './hand-over.mjs'

await handOver(join(root, 'packages', 'cli', 'src', 'main.ts'), process.argv.slice(2))
