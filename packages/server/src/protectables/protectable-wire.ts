import type { Protectable } from '@opencbr/contract'
import { statusOf, type AgentView } from '../agents/index.ts'
import { formatTime } from '../clock.ts'
import { sizeInGb } from '../resources/index.ts'
import { vaultToWire } from '../vaults/index.ts'
import { PROTECTABLE_STATUS, type ProtectableView } from './list-protectables.ts'

export function protectableToWire({ resource, vault, agent }: ProtectableView): Protectable {
  const { id, name, type } = resource
  const size = sizeInGb(resource.size_bytes)
  const refusal = type === 'OS::Native::Server' ? judgeAgent(agent) : undefined
  const status = refusal?.status ?? PROTECTABLE_STATUS
  return {
    id,
    name,
    type,
    size,
    status,
    // The cloud says true of a resource that sits in a vault, too; the vault is how one sees it.
    protectable: {
      result: refusal === undefined,
      code: refusal?.code ?? '',
      reason: refusal?.reason ?? '',
      message: refusal?.reason ?? null,
      vault: vault === undefined ? null : { ...vaultToWire(vault), updated_at: formatTime(vault.vault.updated_at), version: null },
    },
    detail: {
      id, name, status, size, tags: resource.tags.map(({ key, value }) => `${key}=${value}`), ...(agent === undefined ? {} : describeHost(agent)),
    },
    children: [],
  }
}

/** Why a server cannot be backed up now. */
function judgeAgent(view: AgentView | undefined): { status: string, code: string, reason: string } | undefined {
  const status = view === undefined ? 'uninstall' : statusOf(view.agent)
  if (status !== 'normal') return { status, code: 'BackupService.7101', reason: `The agent of the server is ${status}.` }
  const hasPaths = view?.paths.some((path) => path.status === 'available') === true
  return hasPaths ? undefined : { status: PROTECTABLE_STATUS, code: 'BackupService.7108', reason: 'The agent has no directories to back up.' }
}

function describeHost({ agent, paths }: AgentView) {
  return {
    agent_id: agent.id,
    host_ip: agent.host_ip,
    host_name: agent.host_name,
    host_os: agent.host_os,
    paths: paths.filter((path) => path.status === 'available').map((path) => path.dir_path),
  }
}
