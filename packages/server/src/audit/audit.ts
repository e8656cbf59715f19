import type { AuditCredential, AuditOutcome, AuditRecord } from '@opencbr/contract'
import type { Micros } from '../clock.ts'

/** What is known of a call when it is let in. */
export interface AuditEntry {
  readonly requestId: string
  readonly calledAt: Micros
  readonly operation: string
  readonly action: string | null
  readonly user: { readonly id: string, readonly name: string, readonly domainId: string } | null
  readonly projectId: string | null
  readonly credential: AuditCredential
  readonly accessKey: string | null
  readonly address: string
  readonly targets: AuditRecord['targets']
}

/** The same, and what became of it. */
export interface EndedAuditEntry extends AuditEntry {
  readonly outcome: AuditOutcome
  readonly status: number | null
  readonly errorCode: string | null
}

export function outcomeOf(status: number): AuditOutcome {
  if (status === 401 || status === 403) return 'denied'
  return status < 400 ? 'success' : 'failure'
}

const TEXT_MAX = 256

/** Callers choose some of what is recorded: nothing in it may be long, or be refused by a database. */
export function boundAuditText(text: string): string {
  return text.slice(0, TEXT_MAX).replaceAll(/[\p{Cc}\p{Cs}]/gu, '\u{FFFD}')
}
