import { inspectPath, type PathRefusal } from '@opencbr/agent'
import type { DeclareResourceBody } from '@opencbr/contract'
import { pathRulesOf } from '../config.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type ProjectId, type ResourceId } from '../ids.ts'
import { readTags } from '../tag.ts'
import { nameFromPath } from './resource.ts'
import { findResourceByPath, insertResource, type ResourceRow } from './resource-store.ts'

const reasons: Record<PathRefusal, string> = {
  not_absolute: 'it must be an absolute path',
  not_normal: 'it must not contain ..',
  nothing_allowed: 'the operator allows no directories; start the server with --allow-path DIR',
  outside: 'it does not lead into a directory that the operator allows',
  missing: 'it does not exist',
  unreadable: 'the server may not read it',
  not_a_directory: 'it is not a directory, which OS::Sfs::Turbo needs',
  not_a_disk: 'it is neither a file nor a block device, which OS::Cinder::Volume needs',
  forbidden: 'it is, holds or lies in the data directory of the server',
}

/** Declares a path as something that may be protected. The path is resolved once: links that change later lead nowhere else. */
export async function declareResource(
  { db, clock, config }: Pick<Deps, 'db' | 'clock' | 'config'>, projectId: ProjectId, wanted: DeclareResourceBody['resource'],
): Promise<ResourceRow> {
  const inspected = await inspectPath(wanted.path, wanted.type, pathRulesOf(config, projectId))
  if ('refused' in inspected) throw new Failure('parameter.invalid', { field: 'resource.path', reason: reasons[inspected.refused] })
  const tags = readTags('resource.tags', wanted.tags ?? [])
  const now = clock.now()
  const row = {
    id: newUuid<ResourceId>(),
    project_id: projectId,
    type: wanted.type,
    name: wanted.name ?? nameFromPath(wanted.path),
    path: inspected.realPath,
    size_bytes: inspected.sizeBytes,
    created_at: now,
    updated_at: now,
  }
  await db.transaction().execute(async (tx) => {
    const same = await findResourceByPath(tx, projectId, row.type, row.path)
    if (same !== undefined) {
      throw new Failure('parameter.invalid', { field: 'resource.path', reason: `it is declared already, as resource ${same.id}` })
    }
    await insertResource(tx, row, tags)
  })
  return { ...row, vault_id: null, tags }
}
