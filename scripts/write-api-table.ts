/** Writes the tables of docs/api.md from what the server of this checkout says of its operations. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unsupportedOperations } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'
import { writeApiTables, type DescribedPaths } from '../test/support/api-table.ts'

const page = join(import.meta.dirname, '../docs/api.md')

await using service = await startTestService({ agent: 'none' })
const { body } = await service.call<DescribedPaths>('GET', '/openapi.json')
writeFileSync(page, writeApiTables(readFileSync(page, 'utf8'), body, unsupportedOperations))
