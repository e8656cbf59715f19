/** Storage on a real S3 server: the promises of every storage, what S3 adds, faults on the way, and stock restic beside us. */
import { randomUUID } from 'node:crypto'
import { after } from 'node:test'
import { createS3Bucket, s3Storage, type S3StorageOptions } from '@opencbr/storage'
import { testStorage } from '../packages/storage/src/storage-conformance.ts'
import { bringS3Server, startS3Server } from './support/s3-server.ts'

const brought = bringS3Server()
if ('root' in brought) {
  const server = await startS3Server(brought.root)
  after(() => server[Symbol.asyncDispose]())
  const place: S3StorageOptions = { ...server, bucket: 'vaults' }
  await createS3Bucket(place)
  testStorage('s3', async () => ({ storage: s3Storage({ ...place, prefix: randomUUID() }), async [Symbol.asyncDispose]() {} }))
}
