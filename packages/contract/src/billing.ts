/** Orders, which are for vaults that are sold. They are read as the cloud reads them, and then refused: this server sells nothing. */
import { Type } from 'typebox'
import { SpecCode } from './enumerations.ts'
import { CreateVaultBody } from './vaults.ts'

const ProductId = Type.String({ minLength: 1, maxLength: 64, pattern: String.raw`^[a-zA-Z0-9_\-]*$` })
const OrderedSize = Type.Integer({ minimum: 10, maximum: 10_485_760, description: 'In GB.' })

const { vault: CreatedVault } = CreateVaultBody.properties

export const OrderVaultBody = Type.Object({
  vault: Type.Object({ ...CreatedVault.properties, name: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })) }),
})

export const ChangeChargeModeBody = Type.Object({
  vault_ids: Type.Array(Type.String(), { minItems: 1, maxItems: 60 }),
  charging_mode: Type.Optional(Type.String({ minLength: 8, maxLength: 16, pattern: String.raw`^[a-zA-Z0-9_\-]*$` })),
  period_type: Type.String({ minLength: 1, maxLength: 64, pattern: String.raw`^[a-zA-Z0-9_\-]*$`, description: 'year or month.' }),
  period_num: Type.Integer({ minimum: 1, maximum: 9 }),
  is_auto_renew: Type.Optional(Type.Boolean()),
  is_auto_pay: Type.Optional(Type.Boolean()),
  console_url: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
})

const OrderUpdate = Type.Object({
  resourceId: Type.String({ description: 'Vault.' }),
  productInfo: Type.Object({
    productId: ProductId, resourceSize: OrderedSize, resourceSizeMeasureId: Type.Optional(Type.Integer()), resourceSpecCode: SpecCode,
  }),
  promotion_info: Type.Optional(Type.String()),
  cloudServiceConsoleURL: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
})

const OrderChange = Type.Object({
  resource_id: Type.String({ description: 'Vault.' }),
  product_info: Type.Object({
    product_id: ProductId, resource_size: OrderedSize, resource_size_measure_id: Type.Optional(Type.Integer()), resource_spec_code: SpecCode,
  }),
  promotion_info: Type.Optional(Type.String()),
  is_auto_pay: Type.Optional(Type.Boolean()),
  cloud_service_console_url: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
})

/** Either spelling: the cloud's model has one and its example the other. */
export const ChangeOrderBody = Type.Union([OrderChange, OrderUpdate])
export const UpdateOrderBody = OrderUpdate

export const OrderParams = Type.Object({ project_id: Type.String(), order_id: Type.String({ description: 'Order id.' }) })
