import {
  ListVerificationsAnswer, ListVerificationsQuery, SetScrubBody, VaultParams, VaultScrubAnswer, VerificationAnswer, VerificationParams, VerifyBody,
} from '@opencbr/contract'
import { Type } from 'typebox'
import type { Deps } from '../../deps.ts'
import {
  listedVerificationToWire, listVerifications, scrubToWire, setScrub, showScrub, showVerification, unsetScrub, verificationToWire,
  verifyBackup, verifyVault,
} from '../../verify/index.ts'
import { accepted, noContent, ok, projectOf, route, type Call, type Route } from '../route.ts'

const BackupIdParams = Type.Object({ project_id: Type.String(), backup_id: Type.String({ description: 'Backup id.' }) })

function callerOf(call: Call<unknown, unknown, unknown>) {
  return { projectId: projectOf(call).id, requestId: call.requestId }
}

export function verifyRoutes(deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>): Route[] {
  return [...verificationRoutes(deps), ...scrubRoutes(deps)]
}

function verificationRoutes(deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>): Route[] {
  return [
    route({
      operationId: 'verifyBackup',
      method: 'POST',
      path: '/x/v1/:project_id/backups/:backup_id/verify',
      access: { kind: 'project', action: 'cbr:backups:verify' },
      summary: 'Verify that a backup is whole, in the background',
      schemas: { params: BackupIdParams, body: VerifyBody, response: { 202: VerificationAnswer } },
      async handle(call) {
        const row = await verifyBackup(deps, callerOf(call), call.params.backup_id, call.body.verification)
        return accepted({ verification: verificationToWire(row) })
      },
    }),
    route({
      operationId: 'verifyVault',
      method: 'POST',
      path: '/x/v1/:project_id/vaults/:vault_id/verify',
      access: { kind: 'project', action: 'cbr:vaults:verify' },
      summary: 'Verify that a vault is whole, in the background',
      schemas: { params: VaultParams, body: VerifyBody, response: { 202: VerificationAnswer } },
      async handle(call) {
        const row = await verifyVault(deps, callerOf(call), call.params.vault_id, call.body.verification)
        return accepted({ verification: verificationToWire(row) })
      },
    }),
    route({
      operationId: 'listVerifications',
      method: 'GET',
      path: '/x/v1/:project_id/verifications',
      access: { kind: 'project', action: 'cbr:verifications:list' },
      summary: 'List verifications, newest first',
      schemas: { query: ListVerificationsQuery, response: { 200: ListVerificationsAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await listVerifications(deps.db, projectOf(call).id, call.query)
        return ok({ verifications: rows.map(listedVerificationToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'showVerification',
      method: 'GET',
      path: '/x/v1/:project_id/verifications/:verification_id',
      access: { kind: 'project', action: 'cbr:verifications:get' },
      summary: 'Show how far a verification is, and what it found',
      schemas: { params: VerificationParams, response: { 200: VerificationAnswer } },
      async handle(call) {
        return ok({ verification: verificationToWire(await showVerification(deps.db, projectOf(call).id, call.params.verification_id)) })
      },
    }),
  ]
}

function scrubRoutes(deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>): Route[] {
  return [
    route({
      operationId: 'showVaultScrub',
      method: 'GET',
      path: '/x/v1/:project_id/vaults/:vault_id/scrub',
      access: { kind: 'project', action: 'cbr:vaults:get' },
      summary: 'Show whether and how often all packs of a vault are read',
      schemas: { params: VaultParams, response: { 200: VaultScrubAnswer } },
      async handle(call) {
        return ok({ scrub: scrubToWire(await showScrub(deps.db, projectOf(call).id, call.params.vault_id)) })
      },
    }),
    route({
      operationId: 'setVaultScrub',
      method: 'PUT',
      path: '/x/v1/:project_id/vaults/:vault_id/scrub',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Have all packs of a vault read within some days, a share each day',
      schemas: { params: VaultParams, body: SetScrubBody, response: { 200: VaultScrubAnswer } },
      async handle(call) {
        return ok({ scrub: scrubToWire(await setScrub(deps, projectOf(call).id, call.params.vault_id, call.body.scrub)) })
      },
    }),
    route({
      operationId: 'unsetVaultScrub',
      method: 'DELETE',
      path: '/x/v1/:project_id/vaults/:vault_id/scrub',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Stop reading the packs of a vault',
      schemas: { params: VaultParams },
      async handle(call) {
        await unsetScrub(deps, projectOf(call).id, call.params.vault_id)
        return noContent
      },
    }),
  ]
}
