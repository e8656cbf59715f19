/** Verifications as commands start, follow and show them. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Verification } from '@opencbr/contract'
import type { Command } from 'commander'
import type { Api } from './api.ts'
import { wholeNumber } from './command.ts'
import { CommandFailure, exitCodes } from './exit-codes.ts'
import { printLine, printNote, printRecord, printTable, safeText, showTime } from './output.ts'
import { addWaitOptions, type WaitFlags } from './wait-options.ts'

const POLL_MS_MIN = 100
const POLL_MS_MAX = 2000
const STEP_PERCENT = 10

export interface VerifyFlags extends WaitFlags {
  readonly level: string
  readonly sample?: number
}

export function addVerifyOptions(command: Command): Command {
  return addWaitOptions(command
    .option('--level <level>', 'structure: everything is there; data: and all content is what it should be; drill: a restore for practice works (backups only)', 'data')
    .option('--sample <percent>', 'read only this share of the content, chosen anew each time', wholeNumber('--sample')))
}

/** Starts a verification below a path of the API, and waits for its end if that was asked for. */
export async function startVerification(api: Api, path: string, { level, sample, wait, timeout }: VerifyFlags): Promise<Verification> {
  const order = sample === undefined ? { level } : { level: 'sample', sample_percent: sample }
  const { verification } = await api.call<{ verification: Verification }>('POST', `${path}/verify`, { body: { verification: order } })
  if (wait === true) return waitForVerification(api, verification.id, timeout)
  printNote(`To see how far it is and what it finds: opencbr verification show ${verification.id}`)
  return verification
}

export async function getVerification(api: Api, id: string): Promise<Verification> {
  return (await api.call<{ verification: Verification }>('GET', `/x/v1/{project_id}/verifications/${encodeURIComponent(id)}`)).verification
}

/** Throws a `CommandFailure`: `taskFailed` unless it ended in success, `stillRunning` at the timeout. */
export async function waitForVerification(api: Api, id: string, timeoutSeconds: number | undefined): Promise<Verification> {
  const deadline = timeoutSeconds === undefined ? Infinity : performance.now() + timeoutSeconds * 1000
  const comeBack = `The work goes on. To wait for it again: opencbr verification show ${id} --wait`
  const onInterrupt = (): void => {
    printNote(`\n${comeBack}`)
    process.exit(exitCodes.interrupted.code)
  }
  process.once('SIGINT', onInterrupt)
  try {
    let pauseMs = POLL_MS_MIN
    let told = ''
    for (;;) {
      const now = await getVerification(api, id)
      const share = now.status === 'running' ? ` ${Math.floor(now.progress / STEP_PERCENT) * STEP_PERCENT} %` : ''
      const text = `verify: ${now.status}${share}`
      if (text !== told) printNote(text)
      told = text
      if (now.status === 'success') return now
      if (now.status === 'failed') {
        throw new CommandFailure('taskFailed', safeText(`The verification ${id} failed: ${now.error_info.message}`), { answer: { verification: now } })
      }
      if (performance.now() >= deadline) throw new CommandFailure('stillRunning', `The time is up after ${timeoutSeconds} s. ${comeBack}`)
      await delay(pauseMs)
      pauseMs = Math.min(pauseMs * 1.5, POLL_MS_MAX)
    }
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}

export function describeVerification(verification: Verification): void {
  printRecord([
    ['id', verification.id],
    ['what', verification.backup_id === null ? `${verification.scope} ${verification.vault_id}` : `backup ${verification.backup_id}`],
    ['level', verification.sample_percent === null ? verification.level : `${verification.level} of ${verification.sample_percent} %`],
    ['status', verification.status === 'running' ? `running, ${verification.progress} %` : verification.status],
    ['whole', verification.whole],
    ['snapshots', verification.snapshots],
    ['packs read', verification.packs === 0 ? null : `${verification.packs_read} of ${verification.packs}`],
    ['bytes read', verification.bytes_read],
    ['findings', verification.findings_count],
    ['error', verification.error_info.message],
    ['created', showTime(verification.created_at)],
    ['started', showTime(verification.started_at)],
    ['ended', showTime(verification.ended_at)],
  ])
  const findings = verification.findings ?? []
  if (findings.length === 0) return
  printLine()
  printTable(findings, [
    { title: 'severity', value: (finding) => finding.severity },
    { title: 'where', value: (finding) => finding.path ?? (finding.pack_id === null ? finding.snapshot_id : `pack ${finding.pack_id}`) },
    { title: 'what', value: (finding) => finding.message },
  ], '')
}
