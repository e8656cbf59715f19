import assert from 'node:assert/strict'
import { test } from 'node:test'
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

test('a checkpoint follows its backups while they run, and what happens to them later does not count', () => {
  assert.equal(judgeCheckpoint(['waiting_protect', 'error']), 'protecting')
  assert.equal(judgeCheckpoint(['protecting', 'available']), 'protecting')
  assert.equal(judgeCheckpoint(['available', 'error']), 'error')
  assert.equal(judgeCheckpoint(['available', 'restoring', 'waiting_delete']), 'available')
})
