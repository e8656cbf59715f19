import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatTable, safeText, showMegabytes, showTime } from './output.ts'

test('columns line up, also beside names whose characters take two places', () => {
  const rows = [{ name: 'web', size: 5 }, { name: '备份-一', size: 12345 }]
  assert.deepEqual(formatTable(rows, [
    { title: 'name', value: (row) => row.name },
    { title: 'size', value: (row) => row.size, align: 'right' },
    { title: 'last', value: () => 'x' },
  ]), [
    'NAME      SIZE  LAST',
    'web          5  x',
    '备份-一  12345  x',
  ])
})

test('a cell without a value is a dash, and truth is yes or no', () => {
  const [, line] = formatTable([0], [
    { title: 'a', value: () => null },
    { title: 'b', value: () => '' },
    { title: 'c', value: () => true },
    { title: 'd', value: () => false },
    { title: 'e', value: (row) => row },
  ])
  assert.equal(line, '-  -  yes  no  0')
})

test('a name cannot steer the terminal or begin a line', () => {
  assert.equal(safeText('a\u001B[31mred\u001B[0m'), 'ared')
  assert.equal(safeText('one\ntwo\u2028three\rfour\u0007'), 'one�two�three�four�')
})

test('times lose what people do not read, sizes keep their meaning', () => {
  assert.equal(showTime('2026-01-15T08:30:15.123456'), '2026-01-15 08:30:15')
  assert.equal(showTime(null), '-')
  assert.equal(showMegabytes(10_239), '10239 MB')
  assert.equal(showMegabytes(20_480), '20.0 GB')
})
