/** Values that are text in the catalogue, and one of the contract's on the wire. */
import { Type } from 'typebox'

/** Which engine a vault's flavour stands for: the cloud's fixed ids, the same on every installation. */
export const ProviderId = Type.Unsafe<string>({
  type: 'string',
  enum: [
    '0daac4c5-6707-4851-97ba-169e36266b66', 'd1603440-187d-4516-af25-121250c7cc97', '3f3c3220-245c-4805-b811-758870015881',
    'a13639de-00be-4e94-af30-26912d75e4a2', '86a80900-71bf-4961-956a-d52df944f84a',
  ],
  description: 'Backup engine: server, disk, SFS Turbo, hybrid VMware or workspace.',
})

export const KnownResourceType = Type.Unsafe<string>({
  type: 'string',
  enum: [
    'OS::Nova::Server', 'OS::Cinder::Volume', 'OS::Ironic::BareMetalServer', 'OS::Native::Server', 'OS::Sfs::Turbo',
    'OS::Workspace::DesktopV2',
  ],
  description: 'Kind of protected resource.',
})

/** The last one follows the others: no source names the product for desktops. */
export const SpecCode = Type.Unsafe<string>({
  type: 'string',
  enum: [
    'vault.backup.server.normal', 'vault.backup.volume.normal', 'vault.backup.turbo.normal', 'vault.backup.database.normal',
    'vault.backup.rds.normal', 'vault.hybrid.server.normal', 'vault.replication.server.normal', 'vault.backup.workspace.normal',
  ],
  description: 'Product by which the cloud would sell the vault.',
})
