import {
  BackupMetadata, BackupParams, BackupResponse, ListBackupsQuery, ListBackupsResponse, RestoreBackupAnswer, RestoreBackupBody,
  UpdateBackupRequest,
} from '@opencbr/contract'
import {
  deleteBackup, metadataToWire, openBackupLists, restoreBackup, showBackup, showMetadata,
  shownBackupToWire, updateBackup, type MakeBackupPage,
} from '../../backups/index.ts'
import type { Deps } from '../../deps.ts'
import { accepted, listRoute, noContent, ok, okTagged, projectOf, route, type Route } from '../route.ts'

export function backupRoutes(deps: Deps, makePage: MakeBackupPage): Route[] {
  const answerList = openBackupLists(deps.reads, makePage)
  return [
    listRoute({
      operationId: 'listBackups',
      path: '/v3/:project_id/backups',
      access: { kind: 'project', action: 'cbr:backups:list' },
      summary: 'List backups',
      schemas: { query: ListBackupsQuery, response: { 200: ListBackupsResponse } },
      async list(call) {
        const { body, tag } = await answerList(call.projectId, call.query, call.backupsRevision)
        const answer = okTagged(body, tag, call)
        if (answer.body === undefined) body.letGo()
        return answer
      },
    }),
    route({
      operationId: 'showBackup',
      method: 'GET',
      path: '/v3/:project_id/backups/:backup_id',
      access: { kind: 'project', action: 'cbr:backups:get' },
      summary: 'Show a backup',
      schemas: { params: BackupParams, response: { 200: BackupResponse } },
      handle: async (call) => ok({ backup: shownBackupToWire(await showBackup(deps, projectOf(call).id, call.params.backup_id)) }),
    }),
    route({
      operationId: 'updateBackup',
      method: 'PUT',
      path: '/v3/:project_id/backups/:backup_id',
      access: { kind: 'project', action: 'cbr:backups:update' },
      summary: 'Change name and description of a backup',
      schemas: { params: BackupParams, body: UpdateBackupRequest, response: { 200: BackupResponse } },
      handle: async (call) => ok({
        backup: shownBackupToWire(await updateBackup(deps, projectOf(call).id, call.params.backup_id, call.body)),
      }),
    }),
    route({
      operationId: 'deleteBackup',
      method: 'DELETE',
      path: '/v3/:project_id/backups/:backup_id',
      access: { kind: 'project', action: 'cbr:backups:delete' },
      summary: 'Delete a backup',
      schemas: { params: BackupParams },
      async handle(call) {
        await deleteBackup(deps, { projectId: projectOf(call).id, requestId: call.requestId }, call.params.backup_id)
        return noContent
      },
    }),
    route({
      operationId: 'restoreBackup',
      method: 'POST',
      path: '/v3/:project_id/backups/:backup_id/restore',
      access: { kind: 'project', action: 'cbr:backups:restore' },
      summary: 'Restore a backup',
      schemas: { params: BackupParams, body: RestoreBackupBody, response: { 202: RestoreBackupAnswer } },
      async handle(call) {
        const caller = { projectId: projectOf(call).id, requestId: call.requestId }
        return accepted({ job_id: await restoreBackup(deps, caller, call.params.backup_id, call.body.restore) })
      },
    }),
    route({
      operationId: 'showMetadata',
      method: 'GET',
      path: '/v3/:project_id/backups/:backup_id/metadata',
      access: { kind: 'project', action: 'cbr:backups:get' },
      summary: 'Show what is known of the source of a backup',
      schemas: { params: BackupParams, response: { 200: BackupMetadata } },
      handle: async (call) => ok(metadataToWire(await showMetadata(deps, projectOf(call).id, call.params.backup_id))),
    }),
  ]
}
