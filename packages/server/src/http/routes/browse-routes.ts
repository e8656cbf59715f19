import { DownloadBackupQuery, ListBackupFilesAnswer, ListBackupFilesQuery } from '@opencbr/contract'
import { Type } from 'typebox'
import { downloadFiles, listFiles } from '../../browse/index.ts'
import type { Deps } from '../../deps.ts'
import { ok, projectOf, route, type Route } from '../route.ts'

const BackupIdParams = Type.Object({ project_id: Type.String(), backup_id: Type.String({ description: 'Backup id.' }) })

export function browseRoutes(deps: Pick<Deps, 'db' | 'config' | 'secrets' | 'reader'>): Route[] {
  return [
    route({
      operationId: 'listBackupFiles',
      method: 'GET',
      path: '/x/v1/:project_id/backups/:backup_id/files',
      access: { kind: 'project', action: 'cbr:backups:listFiles' },
      summary: 'List a directory of a backup',
      schemas: { params: BackupIdParams, query: ListBackupFilesQuery, response: { 200: ListBackupFilesAnswer } },
      async handle(call) {
        return ok(await listFiles(deps, projectOf(call).id, call.params.backup_id, call.query))
      },
    }),
    route({
      operationId: 'downloadBackup',
      method: 'GET',
      path: '/x/v1/:project_id/backups/:backup_id/download',
      access: { kind: 'project', action: 'cbr:backups:getContent' },
      summary: 'Download a file of a backup, or a directory as zip or tar',
      schemas: { params: BackupIdParams, query: DownloadBackupQuery },
      async handle(call) {
        const { status, headers, stream } = await downloadFiles(deps, projectOf(call).id, call.params.backup_id, call.query, {
          range: single(call.headers['range']),
          ifRange: single(call.headers['if-range']),
          ifNoneMatch: single(call.headers['if-none-match']),
        })
        if (status === 416) {
          const { 'content-type': _type, 'content-disposition': _disposition, ...rest } = headers
          return { status, headers: rest, body: { error_code: 'BackupService.9900', error_msg: 'Invalid Range provided: it lies outside the file.' } }
        }
        return { status, headers, ...(stream === undefined ? {} : { stream }) }
      },
    }),
  ]
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}
