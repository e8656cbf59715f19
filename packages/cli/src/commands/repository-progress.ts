import { printNote } from '../output.ts'

const REDRAW_MS = 200
const LOG_MS = 30_000

export interface ProgressLine extends Disposable {
  /** The text is only made when it will be shown. */
  show(text: () => string): void
}

/** Progress on stderr: one line that is drawn again and again on a terminal, a line now and then elsewhere. */
export function openProgress(): ProgressLine {
  const terminal = process.stderr.isTTY === true
  let shownAt = terminal ? -Infinity : performance.now()
  let isOpen = false
  return {
    show(text) {
      const now = performance.now()
      if (now - shownAt < (terminal ? REDRAW_MS : LOG_MS)) return
      shownAt = now
      if (!terminal) {
        printNote(text())
        return
      }
      process.stderr.write(`\r\u001B[2K${text().slice(0, (process.stderr.columns || 80) - 1)}`)
      isOpen = true
    },
    [Symbol.dispose]() {
      if (isOpen) process.stderr.write('\r\u001B[2K')
    },
  }
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** `1.5 GiB` */
export function showBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit] ?? ''}`
}

/** `37 %` of a total that may not be known. */
export function showShare(done: number, total: number | undefined): string {
  if (total === undefined || total === 0) return ''
  return ` ${Math.min(100, Math.floor((100 * done) / total))} %`
}
