import type { Readable } from 'node:stream'
import type { DownloadBackupQuery } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { ProjectId } from '../ids.ts'
import { decodePath, encodeName, encodePath } from './file-path.ts'
import { namesTag, parseRange } from './range.ts'
import { getReadableBackup } from './readable-backup.ts'
import { asReadFailure } from './read-failure.ts'

export interface Download {
  readonly status: 200 | 206 | 304 | 416
  readonly headers: Readonly<Record<string, string>>
  /** Undefined for 304 and 416. */
  readonly stream: Readable | undefined
}

export interface DownloadHeaders {
  readonly range: string | undefined
  readonly ifRange: string | undefined
  readonly ifNoneMatch: string | undefined
}

const contentTypes = { file: 'application/octet-stream', zip: 'application/zip', tar: 'application/x-tar' } as const
const suffixes = { file: '', zip: '.zip', tar: '.tar' } as const

/** A file, or a directory as an archive that is made while it is sent; or the part of either that is wanted. */
export async function downloadFiles(
  deps: Pick<Deps, 'db' | 'config' | 'secrets' | 'reader'>, projectId: ProjectId, id: string,
  query: DownloadBackupQuery, wanted: DownloadHeaders,
): Promise<Download> {
  const path = decodePath('path', query.path ?? '/')
  const { backup, place } = await getReadableBackup(deps, projectId, id)
  const open = (header: string | undefined) => deps.reader.open({ place, path, form: query.format, range: parseRange(header) })
    .catch((error: unknown) => { throw asReadFailure(error, backup.id, encodePath(path)) })
  let { opened, stream } = await open(wanted.range)
  // The part is of another content than the client has the rest of.
  if (wanted.ifRange !== undefined && wanted.range !== undefined && wanted.ifRange.trim() !== tagOf(opened.digest)) {
    stream.destroy();
    ({ opened, stream } = await open(undefined))
  }
  const { form, size, range } = opened
  const modifiedAt = new Date(opened.mtime)
  const name = opened.name.length === 0 ? backup.name : encodeName(opened.name)
  const headers: Record<string, string> = {
    'content-type': contentTypes[form],
    'content-disposition': disposition(name + suffixes[form]),
    'x-content-type-options': 'nosniff',
    'cache-control': 'private, no-cache',
    etag: tagOf(opened.digest),
    ...(form === 'file' && !Number.isNaN(modifiedAt.getTime()) ? { 'last-modified': modifiedAt.toUTCString() } : {}),
  }
  if (namesTag(wanted.ifNoneMatch, tagOf(opened.digest))) {
    stream.destroy()
    return { status: 304, headers, stream: undefined }
  }
  headers['accept-ranges'] = 'bytes'
  // An archive that is wanted whole: how long it will be shows when it has been made.
  if (size === undefined) return { status: 200, headers, stream }
  if (range === undefined) {
    stream.destroy()
    return { status: 416, headers: { ...headers, 'content-range': `bytes */${size}` }, stream: undefined }
  }
  headers['content-length'] = String(range.end - range.start)
  const isPart = range.end - range.start !== size
  if (isPart) headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${size}`
  return { status: isPart ? 206 : 200, headers, stream }
}

function tagOf(digest: string): string {
  return `"${digest}"`
}

/** RFC 6266: a plain name for old clients, and the whole one in UTF-8. */
function disposition(name: string): string {
  const plain = name.replaceAll(/[^\w. ()+,=@-]/g, '_')
  const encoded = encodeURIComponent(name.toWellFormed()).replaceAll(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`
}
