/** Orders. This server sells nothing: whatever is ordered is refused with the cloud's own codes, and the reason. */
import { ChangeChargeModeBody, ChangeOrderBody, OrderParams, OrderVaultBody, UpdateOrderBody } from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { Failure } from '../../failures.ts'
import { showVault } from '../../vaults/index.ts'
import { projectOf, route, type Route } from '../route.ts'

const NO_SALES = 'this server sells nothing, so vaults are post_paid'

export function billingRoutes(deps: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'createPostPaidVault',
      method: 'POST',
      path: '/v3/:project_id/vaults/order',
      access: { kind: 'project', action: 'cbr:vaults:create' },
      summary: 'Order a vault: refused, create it instead',
      schemas: { body: OrderVaultBody },
      async handle() {
        throw new Failure('not_supported', { field: 'vault.billing.charging_mode', reason: `${NO_SALES}: create them without an order` })
      },
    }),
    route({
      operationId: 'changeVaultChargeMode',
      method: 'POST',
      path: '/v3/:project_id/vaults/change-charge-mode',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Switch vaults to a subscription: refused',
      schemas: { body: ChangeChargeModeBody },
      async handle(call) {
        for (const id of call.body.vault_ids) await showVault(deps.db, projectOf(call).id, id)
        throw new Failure('not_supported', { field: 'charging_mode', reason: NO_SALES })
      },
    }),
    route({
      operationId: 'changeOrder',
      method: 'POST',
      path: '/v3/:project_id/orders/change',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Change the order of a vault: there is none',
      schemas: { body: ChangeOrderBody },
      async handle(call) {
        throw new Failure('order.not_found', { subject: `vault ${'resource_id' in call.body ? call.body.resource_id : call.body.resourceId}` })
      },
    }),
    route({
      operationId: 'updateOrder',
      method: 'PUT',
      path: '/v3/:project_id/orders/:order_id',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Update an order: there is none',
      schemas: { params: OrderParams, body: UpdateOrderBody },
      async handle(call) {
        throw new Failure('order.not_found', { subject: `id ${call.params.order_id}` })
      },
    }),
  ]
}
