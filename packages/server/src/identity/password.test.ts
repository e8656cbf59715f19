import assert from 'node:assert/strict'
import { argon2Sync } from 'node:crypto'
import { test } from 'node:test'
import { hashPassword, verifyPassword } from './password.ts'

const bare = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')

test('a password verifies against its own hash only', async () => {
  const stored = await hashPassword('correct horse')
  assert.match(stored, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  assert.equal(await verifyPassword('correct horse', stored), true)
  assert.equal(await verifyPassword('correct horsf', stored), false)
  assert.equal(await verifyPassword('', stored), false)
  assert.notEqual(await hashPassword('correct horse'), stored)
})

test('one password in two Unicode forms is one password', async () => {
  assert.equal(await verifyPassword('cafe\u0301', await hashPassword('caf\u00e9')), true)
})

test('without a user no password is right', async () => {
  assert.equal(await verifyPassword('anything', undefined), false)
})

test('a hash made elsewhere with other costs verifies', async () => {
  const salt = Buffer.from('somesalt')
  const hash = argon2Sync('argon2id', { message: 'password', nonce: salt, memory: 256, passes: 3, parallelism: 2, tagLength: 24 })
  const stored = `$argon2id$v=19$m=256,t=3,p=2$${bare(salt)}$${bare(hash)}`
  assert.equal(await verifyPassword('password', stored), true)
  assert.equal(await verifyPassword('passwore', stored), false)
})
