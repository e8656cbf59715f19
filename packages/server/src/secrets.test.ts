import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openSecrets } from './secrets.ts'

const secrets = openSecrets(randomBytes(32))

test('a sealed secret opens for its purpose, and two seals of one secret differ', () => {
  const first = secrets.seal('vault-password:a', 'päss')
  assert.equal(secrets.unseal('vault-password:a', first), 'päss')
  assert.notEqual(secrets.seal('vault-password:a', 'päss'), first)
  assert.equal(secrets.unseal('empty', secrets.seal('empty', '')), '')
})

test('a sealed secret does not open for another purpose, under another key, or altered', () => {
  const sealed = secrets.seal('vault-password:a', 'secret')
  assert.throws(() => secrets.unseal('vault-password:b', sealed), /does not open/)
  assert.throws(() => openSecrets(randomBytes(32)).unseal('vault-password:a', sealed), /does not open/)
  const bytes = Buffer.from(sealed.slice(3), 'base64url')
  for (let at = 0; at < bytes.length; at += 1) {
    const altered = Buffer.from(bytes)
    altered[at] = (altered[at] ?? 0) ^ 1
    assert.throws(() => secrets.unseal('vault-password:a', `v1.${altered.toString('base64url')}`), /does not open/)
  }
  assert.throws(() => secrets.unseal('vault-password:a', 'v1.AAAA'), /no known form/)
  assert.throws(() => secrets.unseal('vault-password:a', sealed.slice(3)), /no known form/)
})

test('a master key of another length is refused', () => {
  assert.throws(() => openSecrets(randomBytes(16)), TypeError)
})
