/** Compressed answers, for clients that ask for them (RFC 9110, 12.5.3). The work is done outside the event loop. */
import { promisify } from 'node:util'
import { constants, gzip, zstdCompress } from 'node:zlib'

export type Encoding = 'zstd' | 'gzip'

/** What fits into one packet gets there no sooner. */
const BYTES_MIN = 1400

/** The encoding that the client likes best of those here; undefined when the body is sent as it is. */
export function chooseEncoding(accepted: string | undefined, bytes: number): Encoding | undefined {
  if (accepted === undefined || bytes < BYTES_MIN) return undefined
  const qualities = new Map(accepted.toLowerCase().split(',').map((each) => {
    const [name = '', ...parameters] = each.split(';').map((part) => part.trim())
    const quality = parameters.find((part) => part.startsWith('q='))?.slice(2)
    return [name, quality === undefined ? 1 : Number(quality)] as const
  }))
  const qualityOf = (name: string): number => qualities.get(name) ?? qualities.get('*') ?? 0
  const identity = qualities.get('identity') ?? 0
  const [byZstd, byGzip] = [qualityOf('zstd'), qualityOf('gzip')]
  if (!(Math.max(byZstd, byGzip) > 0) || identity > Math.max(byZstd, byGzip)) return undefined
  return byZstd >= byGzip ? 'zstd' : 'gzip'
}

const zstdAsync = promisify(zstdCompress)
const gzipAsync = promisify(gzip)

/** At the level that costs least: lists of records shrink to a tenth at any. */
export function compress(encoding: Encoding, bytes: Uint8Array): Promise<Uint8Array> {
  return encoding === 'zstd' ? zstdAsync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }) : gzipAsync(bytes, { level: 1 })
}
