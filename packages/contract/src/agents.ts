/** File agents: machines whose directories are protected together. */
import { Type, type Static } from 'typebox'

const NullableText = (description: string) => Type.Union([Type.String(), Type.Null()], { description })
const Time = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

const AgentPath = Type.Object({
  id: Type.String(),
  agent_id: Type.String(),
  dir_path: Type.String({ description: 'Absolute path on the host.' }),
  status: Type.Enum(['available', 'remove'], {
    type: 'string', description: 'remove: taken out while a backup is reading it; gone when that has ended.',
  }),
  exclude_paths: NullableText('Comma-separated directories left out.'),
})

export const Agent = Type.Object({
  agent_id: Type.String(),
  agent_type: NullableText('cloud or native.'),
  agent_version: NullableText('Three numbers.'),
  host_ip: Type.String(),
  host_name: Type.String(),
  host_nickname: NullableText('Display name.'),
  host_os: Type.String(),
  status: Type.String({ description: 'normal: its directories can be read here. offline: it is of another machine. uninstall: taken out of service.' }),
  paths: Type.Array(AgentPath, { description: 'By path.' }),
  created_at: Time('Registration.'),
  updated_at: Time('Last change.'),
  last_active_time: Time('Last call or backup of it.'),
})
export type Agent = Static<typeof Agent>

export const ListAgentsQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
  status: Type.Optional(Type.String({ description: 'normal, offline or uninstall.' })),
  agent_id: Type.Optional(Type.Array(Type.String(), { description: 'May be repeated.' })),
})
export type ListAgentsQuery = Static<typeof ListAgentsQuery>

export const ListAgentsAnswer = Type.Object({
  agents: Type.Array(Agent),
  count: Type.Integer({ minimum: 0, description: 'Agents that match the filters, whatever the page.' }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})

export const AgentParams = Type.Object({
  project_id: Type.String(),
  agent_id: Type.String({ description: 'Agent id.' }),
})

export const RegisterAgentBody = Type.Object({
  agent: Type.Object({
    agent_id: Type.String({ description: 'A UUID that the agent keeps.' }),
    agent_type: Type.Optional(Type.Enum(['cloud', 'native'], { type: 'string', description: 'cloud for a cloud server, native for a machine elsewhere.' })),
    agent_version: Type.Optional(Type.String({ maxLength: 64, pattern: String.raw`((\d){1,3}\.){2}(\d){1,3}$`, description: 'Three numbers.' })),
    host_ip: Type.String({ minLength: 1, maxLength: 255 }),
    host_name: Type.String({ minLength: 1, maxLength: 255 }),
    host_nickname: Type.Optional(Type.String({ maxLength: 255 })),
    host_os: Type.String({ minLength: 1, maxLength: 255 }),
  }),
})
export type RegisterAgentBody = Static<typeof RegisterAgentBody>

export const UpdateAgentBody = Type.Object({
  agent: Type.Object({
    status: Type.Enum(['uninstall'], { type: 'string', description: 'Takes the agent out of service; registering it again puts it back.' }),
  }),
})

export const AgentAnswer = Type.Object({ agent: Agent })

const Directory = Type.String({
  minLength: 1, maxLength: 4096,
  pattern: String.raw`(^[a-zA-Z]:(\\)+[(\\)+\S|*\S]?.*$|(^//.|^/|^[a-zA-Z])?:?/.+(/$)?)`,
  description: 'Absolute path, Windows or Unix style.',
})

export const PATHS_PER_CALL_MAX = 256

export const AddAgentPathBody = Type.Object({
  add_path: Type.Array(Directory, { minItems: 1, maxItems: PATHS_PER_CALL_MAX, description: 'Directories; existence is not checked.' }),
  exclude_path: Type.Optional(Type.Array(Type.Object({
    path_name: Type.Optional(Type.String({ description: 'One of the directories.' })),
    exclude_path_name: Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: PATHS_PER_CALL_MAX, description: 'Directories inside it that are left out.' })),
  }), { maxItems: PATHS_PER_CALL_MAX })),
})
export type AddAgentPathBody = Static<typeof AddAgentPathBody>

export const AddAgentPathAnswer = Type.Object({
  added: Type.Array(Type.String()),
  existed: Type.Array(Type.String({ description: 'Already there; their directories left out are those of this call, when it names any.' })),
})

export const RemoveAgentPathBody = Type.Object({
  remove_path: Type.Array(Type.String({ maxLength: 4096 }), { minItems: 1, maxItems: PATHS_PER_CALL_MAX }),
})
export type RemoveAgentPathBody = Static<typeof RemoveAgentPathBody>

export const RemoveAgentPathAnswer = Type.Object({
  removed: Type.Array(Type.String()),
  not_existed: Type.Array(Type.String()),
})

export const CheckAgentBody = Type.Object({
  agent_status: Type.Array(Type.Object({
    resource_id: Type.String({ description: 'Server id.' }),
    resource_type: Type.Enum(['OS::Nova::Server', 'OS::Ironic::BareMetalServer'], {
      type: 'string', description: 'OS::Nova::Server or OS::Ironic::BareMetalServer.',
    }),
    resource_name: Type.Optional(Type.String()),
  }), { maxItems: 1000, description: 'Servers to check.' }),
})
export type CheckAgentBody = Static<typeof CheckAgentBody>

export const CheckAgentAnswer = Type.Object({
  agent_status: Type.Array(Type.Object({
    resource_id: Type.String(),
    installed: Type.Boolean({ description: 'True when an agent with this id is in service.' }),
    version: NullableText('Agent version.'),
    is_old: Type.Union([Type.Boolean(), Type.Null()], { description: 'Whether it is older than this server.' }),
    code: NullableText('Error code when it is registered and cannot be reached.'),
    message: NullableText('Why it cannot be reached.'),
  })),
})
