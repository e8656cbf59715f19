import { CheckpointAnswer, CreateCheckpointBody, ShowCheckpointParams } from '@opencbr/contract'
import { checkpointToWire, createCheckpoint, showCheckpoint } from '../../checkpoints/index.ts'
import type { Deps } from '../../deps.ts'
import { ok, projectOf, route, type Route } from '../route.ts'

export function checkpointRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'createCheckpoint',
      method: 'POST',
      path: '/v3/:project_id/checkpoints',
      access: { kind: 'project', action: 'cbr:vaults:backup' },
      summary: 'Back up a vault now',
      schemas: { body: CreateCheckpointBody, response: { 200: CheckpointAnswer } },
      handle: async (call) => {
        const caller = { projectId: projectOf(call).id, requestId: call.requestId }
        return ok({ checkpoint: checkpointToWire(await createCheckpoint(deps, caller, call.body.checkpoint)) })
      },
    }),
    route({
      operationId: 'showCheckpoint',
      method: 'GET',
      path: '/v3/:project_id/checkpoints/:checkpoint_id',
      access: { kind: 'project', action: 'cbr:backups:get' },
      summary: 'Show a restore point',
      schemas: { params: ShowCheckpointParams, response: { 200: CheckpointAnswer } },
      handle: async (call) => ok({
        checkpoint: checkpointToWire(await showCheckpoint(deps.db, projectOf(call).id, call.params.checkpoint_id)),
      }),
    }),
  ]
}
