import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { BackupStatus, CheckpointStatus } from '../db/schema.ts'
import { judgeCheckpoint, nameBackup, nameRun } from './checkpoint.ts'

test('a run is named as the cloud names it', () => {
  const source = { given: undefined, automatic: false, vaultName: 'docs', automaticPrefix: null, random: '7c1d' }
  assert.equal(nameRun(source), 'manualbk_docs-7c1d')
  assert.equal(nameRun({ ...source, given: 'before-upgrade' }), 'before-upgrade')
  assert.equal(nameRun({ ...source, automatic: true }), 'autobk_7c1d')
  assert.equal(nameRun({ ...source, automatic: true, automaticPrefix: 'nightly-' }), 'nightly-autobk_7c1d')
})

test('several backups of a run are numbered, a single one is not', () => {
  assert.equal(nameBackup('run', 0, 1), 'run')
  assert.deepEqual([nameBackup('run', 0, 2), nameBackup('run', 1, 2)], ['run-0001', 'run-0002'])
})

test('a name that is made up is never longer than names may be, numbered or not', () => {
  const name = nameRun({ given: undefined, automatic: false, vaultName: 'v'.repeat(64), automaticPrefix: null, random: '7c1d' })
  assert.equal(nameBackup(name, 255, 256).length, 64)
})

const judge = (current: CheckpointStatus, statuses: readonly BackupStatus[], deletionFailed = false) =>
  judgeCheckpoint(current, statuses, { deletionFailed })

test('a checkpoint follows its backups while they run, and what happens to single ones later does not count', () => {
  assert.equal(judge('protecting', ['waiting_protect', 'error']), 'protecting')
  assert.equal(judge('protecting', ['protecting', 'available']), 'protecting')
  assert.equal(judge('protecting', ['available', 'error']), 'error')
  assert.equal(judge('protecting', ['available', 'restoring', 'waiting_delete']), 'available')
  assert.equal(judge('available', ['available', 'error']), 'available')
})

test('a checkpoint is deleting when all that is left of it leaves, and says so when that failed', () => {
  assert.equal(judge('available', ['waiting_delete', 'available']), 'available')
  assert.equal(judge('available', ['waiting_delete', 'deleting']), 'deleting')
  assert.equal(judge('error', ['deleting']), 'deleting')
  assert.equal(judge('deleting', ['error', 'deleting'], true), 'error-deleting')
  assert.equal(judge('deleting', ['available']), 'available')
  assert.equal(judge('deleting', ['error']), 'error')
  assert.equal(judge('error-deleting', ['error']), 'error-deleting')
  assert.equal(judge('error-deleting', ['waiting_delete']), 'deleting')
})

const backupStatuses: readonly BackupStatus[] = [
  'available', 'protecting', 'deleting', 'restoring', 'error', 'waiting_protect', 'waiting_delete', 'waiting_restore',
]

test('a checkpoint is protecting exactly while a backup is being made, and judging again changes nothing', () => {
  const current = fc.constantFrom<CheckpointStatus>('protecting', 'available', 'error', 'deleting', 'error-deleting')
  fc.assert(fc.property(current, fc.array(fc.constantFrom(...backupStatuses), { minLength: 1, maxLength: 5 }), fc.boolean(), (status, backups, failed) => {
    const judged = judge(status, backups, failed)
    assert.equal(judged === 'protecting', backups.some((each) => each === 'protecting' || each === 'waiting_protect'))
    assert.equal(judged === 'deleting', backups.every((each) => each === 'waiting_delete' || each === 'deleting'))
    assert.equal(judge(judged, backups, failed), judged)
  }))
})
