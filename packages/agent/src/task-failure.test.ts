import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '@opencbr/engine'
import { describeTaskFailure, SourceForbidden } from './task-failure.ts'

test('a known failure says what happened, and the facts that help', () => {
  const failure = describeTaskFailure(new Failure('source.missing', { path: '/srv/mail', pid: 7 }))
  assert.equal(failure.code, 'source.missing')
  assert.match(failure.message, /does not exist\. \(path: \/srv\/mail\)$/)
  assert.equal(describeTaskFailure(new SourceForbidden('Not here.')).code, 'source.forbidden')
})

test('of a mistake of ours a user learns only that there was one', () => {
  const failure = describeTaskFailure(new TypeError('the password is hunter2'))
  assert.equal(failure.code, 'unknown')
  assert.doesNotMatch(failure.message, /hunter2/)
  assert.equal(describeTaskFailure('text').code, 'unknown')
})
