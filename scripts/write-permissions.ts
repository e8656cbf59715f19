/** Writes docs/operating/permissions.md from what the operations and the roles of this checkout declare. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { allRoutes } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'
import { renderPermissions } from '../test/support/permission-table.ts'

await using service = await startTestService({ agent: 'none' })
writeFileSync(join(import.meta.dirname, '../docs/operating/permissions.md'), renderPermissions(allRoutes(service.service.deps)))
