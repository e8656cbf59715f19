/**
 * Walks all operations of the contract against the running service, with real backups, and holds every
 * answer, good or bad, against the contract's own schemas. An operation that is not walked fails the test.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TSchema } from 'typebox'
import { findMisfit, unsupportedOperations } from '@opencbr/server'
import type { TestAnswer } from '@opencbr/testkit'
import { ACCEPTED } from './support/accepted-differences.ts'
import { readWalkRows, renderWalkRows, writeWalkRows } from './support/api-table.ts'
import { startBackupService } from './support/backup-service.ts'
import { findUnknownMembers, readContract, readContractSchema, type ContractOperation } from './support/contract-differences.ts'
import { addTenant, type Tenant } from './support/tenants.ts'

type Json = Readonly<Record<string, unknown>>
type Caller = Pick<Tenant, 'call'>

interface CodeFile {
  readonly service: readonly { readonly code: string, readonly status: number }[]
  readonly gateway: readonly { readonly code: string, readonly status: number }[]
}

interface Input {
  /** By name: path and query parameters alike; a list is sent as a repeated parameter. */
  readonly with?: Readonly<Record<string, string | number | boolean | readonly string[]>>
  readonly body?: unknown
  readonly as?: Caller
}

/** Answered with a failure whatever is asked, as docs/api.md says, besides what the server calls unsupported. */
const ALWAYS_REFUSED = new Set([
  'copyCheckpoint', 'importCheckpoint', 'copyBackup', 'importBackup', 'showMigrateStatus',
  'createPostPaidVault', 'changeVaultChargeMode', 'changeOrder', 'updateOrder',
])
/** Without input, and for anybody: nothing can be wrong with a call of them. */
const CANNOT_FAIL = new Set(['listApiVersions', 'showV3Version'])
/** Without input but the project: what can be wrong is the credentials. */
const FAIL_BY_CREDENTIALS_ONLY = new Set(['showSummary', 'showVaultProjectTag', 'showReplicationCapabilities', 'listProjects'])
/** Codes that the contract has, but not in its list for the operation. Of agents it says nothing about unknown ones. */
const CODES_BESIDES: Readonly<Record<string, readonly string[]>> = {
  showAgent: ['6302'], updateAgent: ['6302'], unregisterAgent: ['6302'], addAgentPath: ['6302'], removeAgentPath: ['6302'],
}

const { service: serviceCodes, gateway: gatewayCodes } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../packages/contract/test-data/error-codes.json'), 'utf8')) as CodeFile
const STATUS_OF_CODE = new Map([
  ...serviceCodes.map(({ code, status }) => [`BackupService.${code}`, status] as const), ...gatewayCodes.map(({ code, status }) => [code, status] as const),
])

const PAGE = join(import.meta.dirname, '../docs/api.md')

class Walk {
  /** Of each operation, what it was answered: statuses of success, codes of refusal. */
  readonly outcomes = new Map<string, Set<string>>()
  readonly operations = new Map(readContract().map((each) => [each.operationId, each]))
  readonly succeeded = new Set<string>()
  readonly failed = new Set<string>()
  readonly turnedAway = new Set<string>()
  readonly #errorForm = readContractSchema('ErrorResponse')
  readonly #gatewayForm = readContractSchema('GatewayError')
  readonly #owner: Caller

  constructor(owner: Caller) {
    this.#owner = owner
  }

  /** Calls an operation that succeeds; answers the body, which has the contract's form. */
  async ok<Body = Json>(operationId: string, input: Input = {}): Promise<Body> {
    const operation = this.#get(operationId)
    const answer = await this.#call<Body>(operation, input)
    const what = `${operationId}: ${answer.status} ${JSON.stringify(answer.body)}`
    assert.ok(Object.hasOwn(operation.responses, String(answer.status)) && answer.status < 400, what)
    const schema = operation.responses[answer.status]
    if (schema === null || schema === undefined) assert.equal(answer.body, undefined, what)
    else {
      assert.match(answer.headers.get('content-type') ?? '', /^application\/json\b/)
      assert.equal(findMisfit(schema as TSchema, answer.body), undefined, what)
      const unknown = findUnknownMembers(schema, answer.body, `${operationId} ${answer.status}`).map((place) => `${place}: not in the contract`)
      assert.deepEqual(unknown.filter((difference) => !ACCEPTED.some(([pattern]) => pattern.test(difference))), [], what)
    }
    this.succeeded.add(operationId)
    this.note(operationId, String(answer.status))
    return answer.body
  }

  /** Calls an operation that is refused with a code that the contract has, and in the contract's form. */
  async refused(operationId: string, code: string, input: Input = {}): Promise<void> {
    const operation = this.#get(operationId)
    const answer = await this.#call<{ error_code: string }>(operation, input)
    const what = `${operationId} was to be refused with ${code}: ${answer.status} ${JSON.stringify(answer.body)}`
    this.#checkError(this.#errorForm, answer, `BackupService.${code}`, what)
    const known = [...operation.errorCodes.map((each) => each.replace('BackupService.', '')), '9900', ...CODES_BESIDES[operationId] ?? []]
    // Where the contract lists none, it says nothing of them.
    assert.ok(operation.errorCodes.length === 0 || known.includes(code), `${operationId} has no ${code} in the contract`)
    this.failed.add(operationId)
    this.note(operationId, code)
  }

  note(operationId: string, outcome: string): void {
    const outcomes = this.outcomes.get(operationId) ?? new Set()
    this.outcomes.set(operationId, outcomes.add(outcome))
  }

  /** Calls every operation that is not for anybody without credentials and with an unknown token. */
  async turnAway(): Promise<void> {
    for (const operation of this.operations.values()) {
      if (['listApiVersions', 'showApiVersion', 'showV3Version'].includes(operation.operationId)) continue
      for (const token of ['', 'unknown']) {
        const answer = await this.#owner.call<{ error_code: string }>(
          operation.method, operation.path.replaceAll(/\{(?!project_id)\w+\}/g, randomUUID()), operation.body === undefined ? undefined : {},
          { headers: { 'x-auth-token': token } })
        this.#checkError(this.#gatewayForm, answer, 'APIGW.0301', `${operation.operationId} without credentials: ${answer.status} ${JSON.stringify(answer.body)}`)
      }
      this.turnedAway.add(operation.operationId)
    }
  }

  #checkError(form: Json, { status, body }: TestAnswer<{ error_code: string }>, code: string, what: string): void {
    assert.equal(findMisfit(form as TSchema, body), undefined, what)
    assert.deepEqual(findUnknownMembers(form, body), [], what)
    assert.equal(body.error_code, code, what)
    assert.equal(STATUS_OF_CODE.get(code), status, `${what}; the contract has this status for the code`)
  }

  #get(operationId: string): ContractOperation {
    const operation = this.operations.get(operationId)
    assert.ok(operation !== undefined, `${operationId} is no operation of the contract`)
    return operation
  }

  async #call<Body>(operation: ContractOperation, { with: values = {}, body, as = this.#owner }: Input): Promise<TestAnswer<Body>> {
    const { operationId, method, path, parameters } = operation
    const query = new URLSearchParams()
    let target = path
    for (const [name, value] of Object.entries(values)) {
      const parameter = parameters.find((each) => each.name === name)
      assert.ok(parameter !== undefined, `${operationId} has no parameter ${name}`)
      if (parameter.in === 'path') target = target.replace(`{${name}}`, encodeURIComponent(String(value)))
      else for (const each of [value].flat()) query.append(name, String(each))
    }
    return as.call<Body>(method, query.size === 0 ? target : `${target}?${query.toString()}`, body)
  }
}

const billing = { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }
const turbo = (id: string) => ({ id, type: 'OS::Sfs::Turbo' })
const daily = { properties: { pattern: ['FREQ=DAILY;BYHOUR=3;BYMINUTE=15'] } }

test('every operation of the contract is walked, and every answer has the contract\'s form', async () => {
  await using world = await startBackupService()
  const { service, steps, root } = world
  const receiver = await addTenant(service, 'receiver', { ownDomain: true })
  const walk = new Walk(service)
  const unknown = randomUUID()
  const gone = { vault: { vault_id: unknown }, backup: { backup_id: unknown }, policy: { policy_id: unknown } }

  // What a client asks first.
  await walk.ok('listApiVersions')
  for (const api_version of ['vbs', 'csbs', 'cbr']) await walk.ok('showApiVersion', { with: { api_version } })
  const noVersion = await service.call<{ error_code: string }>('GET', '/nothing')
  assert.deepEqual([noVersion.status, noVersion.body.error_code], [404, 'APIGW.0101'])
  walk.note('showApiVersion', 'APIGW.0101')
  walk.failed.add('showApiVersion')
  await walk.ok('showV3Version')
  await walk.ok('listFeatures')
  await walk.ok('listFeatures', { with: { limit: 1, offset: 1 } })
  await walk.refused('listFeatures', '9900', { with: { limit: 0 } })
  await walk.ok('showFeature', { with: { feature_key: 'replication.source_region' } })
  await walk.refused('showFeature', '9900', { with: { feature_key: 'nothing' } })
  await walk.ok('showReplicationCapabilities')
  await walk.ok('listProjects')
  await walk.ok('listDomainProjects', { with: { domain_name: service.bootstrap.domain_name } })
  await walk.refused('listDomainProjects', '6302', { with: { domain_name: 'nobody' } })
  await walk.refused('showMigrateStatus', '4001')

  // What can be protected.
  const ids: string[] = []
  for (const name of ['mail', 'wiki', 'fading']) {
    await fs.mkdir(join(root, name))
    await fs.writeFile(join(root, name, 'file'), `${name} `.repeat(100))
    ids.push(await steps.declare(join(root, name)))
  }
  const [mail = '', wiki = '', fading = ''] = ids
  const { instances } = await walk.ok<{ instances: Json[] }>('listProtectable', { with: { protectable_type: 'turbo' } })
  assert.equal(instances.length, 3)
  for (const protectable_type of ['server', 'disk']) await walk.ok('listProtectable', { with: { protectable_type, limit: 1 } })
  await walk.refused('listProtectable', '9900', { with: { protectable_type: 'turbo', limit: 'many' } })
  await walk.ok('showProtectable', { with: { protectable_type: 'turbo', instance_id: mail } })
  await walk.refused('showProtectable', '6302', { with: { protectable_type: 'turbo', instance_id: unknown } })

  // Policies.
  const make = (policy: object) => walk.ok<{ policy: { id: string } }>('createPolicy', { body: { policy } })
  const { policy: { id: policyId } } = await make({
    name: 'nightly', operation_type: 'backup', trigger: daily,
    operation_definition: { max_backups: 30, day_backups: 7, week_backups: 4, month_backups: 12, year_backups: 1, timezone: 'UTC+08:00' },
  })
  const { policy: { id: otherPolicyId } } = await make({
    name: 'weekly', enabled: false, operation_type: 'backup', trigger: { properties: { pattern: ['FREQ=WEEKLY;BYDAY=MO,SU;BYHOUR=14;BYMINUTE=00'] } },
    operation_definition: { retention_duration_days: 90 },
  })
  await make({ name: 'far', operation_type: 'replication', operation_definition: { destination_region: 'far', destination_project_id: 'p' }, trigger: daily })
  await walk.refused('createPolicy', '9900', { body: { policy: { name: 'n', operation_type: 'backup', operation_definition: {}, trigger: { properties: { pattern: ['FREQ=HOURLY'] } } } } })
  await walk.ok('updatePolicy', { with: { policy_id: otherPolicyId }, body: { policy: { name: 'sundays', operation_definition: { max_backups: 5 } } } })
  await walk.refused('updatePolicy', '6000', { with: gone.policy, body: { policy: { name: 'n' } } })

  const organization = {
    name: 'all', description: 'for everybody', effective_scope: 'root', policy_name: 'all-nightly', policy_enabled: true, operation_type: 'backup',
    policy_operation_definition: { max_backups: 3 }, policy_trigger: daily,
  }
  const { policy: { id: organizationPolicyId } } = await walk.ok<{ policy: { id: string } }>('createOrganizationPolicy', { body: { policy: organization } })
  const all = { organization_policy_id: organizationPolicyId }
  const none = { organization_policy_id: unknown }
  await walk.refused('createOrganizationPolicy', '9900', { body: { policy: { ...organization, name: '' } } })
  await walk.ok('listOrganizationPolicies', { with: { operation_type: 'backup' } })
  await walk.refused('listOrganizationPolicies', '9900', { with: { operation_type: 'nothing' } })
  await walk.ok('showOrganizationPolicy', { with: all })
  await walk.refused('showOrganizationPolicy', '6000', { with: none })
  await walk.ok('updateOrganizationPolicy', { with: all, body: { policy: { policy_name: 'all-weekly', policy_enabled: false } } })
  await walk.refused('updateOrganizationPolicy', '6000', { with: none, body: { policy: { policy_name: 'n' } } })
  await walk.ok('listOrganizationPolicyDetail', { with: all })
  await walk.refused('listOrganizationPolicyDetail', '6000', { with: none })
  await walk.ok('deleteOrganizationPolicy', { with: all })
  await walk.refused('deleteOrganizationPolicy', '6000', { with: all })

  // Vaults, with all that can be said of one.
  const { vault: { id: vaultId } } = await walk.ok<{ vault: { id: string } }>('createVault', { body: { vault: {
    name: 'first', description: 'walked', resources: [turbo(mail), turbo(fading)], billing, backup_policy_id: policyId, tags: [{ key: 'team', value: 'db' }, { key: 'bare' }],
    auto_bind: false, bind_rules: { tags: [{ key: 'bound', value: 'yes' }] }, auto_expand: true, threshold: 70, smn_notify: false, backup_name_prefix: 'walk',
  } } })
  const { vault: { id: targetId } } = await walk.ok<{ vault: { id: string } }>('createVault', { body: { vault: { name: 'target', resources: [], billing } } })
  const { vault: { id: serverVaultId } } = await walk.ok<{ vault: { id: string } }>('createVault', {
    body: { vault: { name: 'servers', resources: [], billing: { ...billing, consistent_level: 'app_consistent', object_type: 'server' } } },
  })
  for (const [code, change] of [
    ['9900', { name: 'a/b' }], ['6101', { billing: { ...billing, size: 0 } }], ['6104', { resources: [turbo(wiki), turbo(wiki)] }], ['6103', { resources: [turbo(mail)] }],
    ['6102', { resources: [{ id: wiki, type: 'OS::Cinder::Volume' }] }], ['6000', { backup_policy_id: unknown }],
    ['6116', { billing: { ...billing, object_type: 'vmware' } }], ['6600', { tags: Array.from({ length: 21 }, (_, n) => ({ key: `k${n}` })) }],
  ] as const) await walk.refused('createVault', code, { body: { vault: { name: 'bad', resources: [], billing, ...change } } })
  await walk.ok('showVault', { with: { vault_id: vaultId } })
  await walk.refused('showVault', '6105', { with: gone.vault })
  await walk.refused('showVault', '9900', { with: { vault_id: 'x' } })
  await walk.ok('listVault')
  await walk.ok('listVault', { with: { name: 'first', object_type: 'turbo', policy_id: policyId, resource_ids: mail, limit: 1, offset: 0, id: [vaultId, targetId] } })
  await walk.refused('listVault', '9900', { with: { limit: 0 } })
  await walk.refused('listVault', '9900', { with: { object_type: 'nothing' } })
  await walk.ok('updateVault', { with: { vault_id: vaultId }, body: { vault: { name: 'renamed', billing: { size: 20 }, threshold: 75 } } })
  await walk.refused('updateVault', '6105', { with: gone.vault, body: { vault: { name: 'n' } } })
  await walk.refused('updateVault', '9900', { with: { vault_id: vaultId }, body: { vault: { threshold: 101 } } })
  await walk.ok('batchUpdateVault', { body: { vault: { threshold: 90, smn_notify: true } } })
  await walk.refused('batchUpdateVault', '9900', { body: { vault: { threshold: 0 } } })
  const here = { external_project_id: service.projectId, region_id: 'test-1' }
  assert.equal((await walk.ok<{ count: number }>('listExternalVault', { with: here })).count, 3)
  await walk.refused('listExternalVault', '9900', { with: { region_id: 'test-1' } })
  await walk.ok('showSummary')
  await walk.ok('addVaultResource', { with: { vault_id: vaultId }, body: { resources: [{ ...turbo(wiki), name: 'wiki' }] } })
  await walk.refused('addVaultResource', '6105', { with: gone.vault, body: { resources: [turbo(wiki)] } })
  await walk.refused('addVaultResource', '9900', { with: { vault_id: vaultId }, body: {} })
  await walk.ok('setVaultResource', { with: { vault_id: vaultId }, body: { action: 'suspend', resource_ids: [wiki] } })
  await walk.ok('setVaultResource', { with: { vault_id: vaultId }, body: { action: 'unsuspend', resource_ids: [wiki] } })
  await walk.refused('setVaultResource', '6135', { with: { vault_id: vaultId }, body: { action: 'suspend', resource_ids: [unknown] } })
  await walk.ok('associateVaultPolicy', { with: { vault_id: targetId }, body: { policy_id: otherPolicyId } })
  await walk.refused('associateVaultPolicy', '6000', { with: { vault_id: targetId }, body: { policy_id: unknown } })
  await walk.ok('showPolicy', { with: { policy_id: policyId } })
  await walk.refused('showPolicy', '6000', { with: gone.policy })
  await walk.ok('listPolicies')
  await walk.ok('listPolicies', { with: { operation_type: 'backup', vault_id: vaultId } })
  await walk.refused('listPolicies', '9900', { with: { operation_type: 'nothing' } })
  await walk.ok('disassociateVaultPolicy', { with: { vault_id: targetId }, body: { policy_id: otherPolicyId } })
  await walk.refused('disassociateVaultPolicy', '6002', { with: { vault_id: targetId }, body: { policy_id: otherPolicyId } })
  await walk.ok('deletePolicy', { with: { policy_id: otherPolicyId } })
  await walk.refused('deletePolicy', '6000', { with: { policy_id: otherPolicyId } })

  // Tags.
  const vault = { vault_id: vaultId }
  await walk.ok('createVaultTags', { with: vault, body: { tag: { key: 'stage', value: 'prod' } } })
  await walk.refused('createVaultTags', '9900', { with: vault, body: { tag: { key: 'a=b' } } })
  await walk.ok('batchCreateAndDeleteVaultTags', { with: vault, body: { action: 'create', tags: [{ key: 'gone', value: 'soon' }] } })
  await walk.ok('batchCreateAndDeleteVaultTags', { with: vault, body: { action: 'delete', tags: [{ key: 'gone' }] } })
  await walk.refused('batchCreateAndDeleteVaultTags', '6105', { with: gone.vault, body: { action: 'create', tags: [{ key: 'a' }] } })
  await walk.ok('showVaultTag', { with: vault })
  await walk.refused('showVaultTag', '6105', { with: gone.vault })
  await walk.ok('showVaultProjectTag')
  const found = await walk.ok<{ resources: Json[] }>('showVaultResourceInstances', { body: { action: 'filter', tags: [{ key: 'team', values: ['db'] }] } })
  assert.equal(found.resources.length, 1)
  await walk.ok('showVaultResourceInstances', { body: { action: 'count', without_any_tag: true, matches: [{ key: 'resource_name', value: 'tar' }] } })
  await walk.refused('showVaultResourceInstances', '9900', { body: { action: 'list' } })
  await walk.ok('deleteVaultTag', { with: { ...vault, key: 'stage' } })
  await walk.refused('deleteVaultTag', '6601', { with: { ...vault, key: 'stage' } })

  // A run of which one resource fails, and what is made of it.
  await fs.rm(join(root, 'fading'), { recursive: true })
  const { checkpoint } = await walk.ok<{ checkpoint: { id: string } }>('createCheckpoint', {
    body: { checkpoint: { vault_id: vaultId, parameters: { name: 'by-hand', description: 'walked', incremental: true } } },
  })
  await walk.ok('showCheckpoint', { with: { checkpoint_id: checkpoint.id } })
  await walk.ok('listOpLogs')
  const ended = await steps.checkpointEnd(checkpoint.id)
  assert.notEqual(ended.status, 'protecting')
  await walk.refused('createCheckpoint', '6105', { body: { checkpoint: { vault_id: unknown } } })
  await walk.refused('createCheckpoint', '9900', { body: {} })
  await walk.ok('showCheckpoint', { with: { checkpoint_id: checkpoint.id } })
  await walk.refused('showCheckpoint', '6217', { with: { checkpoint_id: unknown } })
  const { backups } = await walk.ok<{ backups: { id: string, resource_id: string, status: string }[] }>('listBackups', { with: { checkpoint_id: checkpoint.id } })
  const backupOf = (resourceId: string) => backups.find((each) => each.resource_id === resourceId)
  assert.deepEqual([mail, wiki, fading].map((id) => backupOf(id)?.status), ['available', 'available', 'error'])
  const backup = { backup_id: backupOf(mail)?.id ?? '' }
  await walk.ok('listBackups', { with: { vault_id: vaultId, status: 'available', sort: 'created_at:desc,id:asc', limit: 1, own_type: 'all_granted', show_replication: true } })
  await walk.refused('listBackups', '9900', { with: { sort: 'nothing' } })
  await walk.refused('listBackups', '9900', { with: { start_time: 'yesterday' } })
  await walk.ok('showBackup', { with: backup })
  await walk.ok('showBackup', { with: { backup_id: backupOf(fading)?.id ?? '' } })
  await walk.refused('showBackup', '6200', { with: gone.backup })
  await walk.refused('showBackup', '9900', { with: { backup_id: 'x' } })
  await walk.ok('updateBackup', { with: backup, body: { backup: { name: 'kept', description: 'for good' } } })
  await walk.refused('updateBackup', '6200', { with: gone.backup, body: { backup: { name: 'n' } } })
  await walk.ok('showMetadata', { with: backup })
  await walk.refused('showMetadata', '6200', { with: gone.backup })
  const storage = await walk.ok<{ storage_usage: Json[] }>('showStorageUsage')
  assert.equal(storage.storage_usage.length, 3)
  await walk.refused('showStorageUsage', '9900', { with: { limit: 0 } })

  const { job_id: restoreId } = await walk.ok<{ job_id: string }>('restoreBackup', {
    with: backup, body: { restore: { details: { destination_path: join(root, 'back') } } },
  })
  await walk.refused('restoreBackup', '6200', { with: gone.backup, body: { restore: { details: { destination_path: join(root, 'back') } } } })
  await walk.refused('restoreBackup', '9900', { with: backup, body: { restore: { details: { destination_path: 'relative' } } } })
  assert.equal((await steps.taskEnd(restoreId)).status, 'success')
  assert.equal(await fs.readFile(join(root, 'back/file'), 'utf8'), 'mail '.repeat(100))
  await walk.ok('showOpLog', { with: { operation_log_id: restoreId } })
  await walk.refused('showOpLog', '6500', { with: { operation_log_id: unknown } })
  await walk.ok('listOpLogs', { with: { operation_type: 'restore', status: 'success', vault_id: vaultId } })
  await walk.refused('listOpLogs', '9900', { with: { status: 'nothing' } })

  // A share, from both sides.
  const share = { ...backup, member_id: receiver.projectId }
  const { vault: { id: receiving } } = await walk.ok<{ vault: { id: string } }>('createVault', { body: { vault: { name: 'receiving', resources: [], billing } }, as: receiver })
  await walk.ok('addMember', { with: backup, body: { members: [receiver.projectId] } })
  await walk.refused('addMember', '6703', { with: backup, body: { members: [receiver.projectId] } })
  await walk.refused('addMember', '6704', { with: backup, body: { members: ['f'.repeat(32)] } })
  await walk.refused('updateMemberStatus', '6105', { with: share, body: { status: 'accepted', vault_id: unknown }, as: receiver })
  await walk.ok('updateMemberStatus', { with: share, body: { status: 'accepted', vault_id: receiving }, as: receiver })
  await walk.ok('showMembersDetail', { with: backup })
  await walk.refused('showMembersDetail', '6200', { with: gone.backup })
  await walk.ok('showMemberDetail', { with: share, as: receiver })
  await walk.refused('showMemberDetail', '6705', { with: { ...backup, member_id: 'f'.repeat(32) } })
  await walk.ok('listBackups', { with: { own_type: 'shared', member_status: 'accepted' }, as: receiver })
  await walk.ok('showBackup', { with: backup, as: receiver })
  await walk.ok('showDomain', { with: { source_project_id: service.projectId }, as: receiver })
  await walk.refused('showDomain', '6302', { with: { source_project_id: 'f'.repeat(32) } })
  await walk.ok('deleteMember', { with: share })
  await walk.refused('deleteMember', '6705', { with: share })

  // Agents.
  const agent = { agent_id: randomUUID() }
  const files = join(root, 'mail')
  await walk.ok('registerAgent', { body: { agent: { ...agent, agent_type: 'native', host_ip: '127.0.0.1', host_name: hostname(), host_os: 'linux', agent_version: '1.0.0', host_nickname: 'n' } } })
  await walk.refused('registerAgent', '9900', { body: { agent } })
  await walk.ok('addAgentPath', { with: agent, body: { add_path: [files, join(root, 'wiki')], exclude_path: [{ path_name: files, exclude_path_name: [join(files, 'no')] }] } })
  await walk.refused('addAgentPath', '9900', { with: agent, body: { add_path: ['relative'] } })
  await walk.ok('listProtectable', { with: { protectable_type: 'server' } })
  await walk.ok('showProtectable', { with: { protectable_type: 'server', instance_id: agent.agent_id } })
  await walk.ok('removeAgentPath', { with: agent, body: { remove_path: [join(root, 'wiki'), '/none'] } })
  await walk.refused('removeAgentPath', '9900', { with: agent, body: {} })
  await walk.ok('showAgent', { with: agent })
  await walk.refused('showAgent', '6302', { with: { agent_id: unknown } })
  await walk.ok('listAgent')
  await walk.refused('listAgent', '9900', { with: { limit: 'x' } })
  await walk.ok('checkAgent', { body: { agent_status: [agent.agent_id, unknown].map((id) => ({ resource_id: id, resource_type: 'OS::Nova::Server', resource_name: 'n' })) } })
  await walk.refused('checkAgent', '9900', { body: { agent_status: [{}] } })
  await walk.ok('updateAgent', { with: agent, body: { agent: { status: 'uninstall' } } })
  await walk.refused('updateAgent', '9900', { with: agent, body: { agent: { status: 'nothing' } } })
  await walk.ok('unregisterAgent', { with: agent })
  await walk.refused('unregisterAgent', '6302', { with: { agent_id: unknown } })

  // What needs a second region, hybrid storage or a shop.
  const far = { destination_project_id: 'p', destination_region: 'far', destination_vault_id: unknown }
  await walk.refused('copyBackup', '1003', { with: backup, body: { replicate: far } })
  await walk.refused('copyBackup', '6200', { with: gone.backup, body: { replicate: far } })
  await walk.refused('copyCheckpoint', '6128', { body: { replicate: { vault_id: vaultId, ...far } } })
  await walk.refused('copyCheckpoint', '6120', { body: { replicate: { vault_id: serverVaultId, ...far } } })
  await walk.refused('importCheckpoint', '7300', { body: { sync: { vault_id: vaultId, auto_trigger: false } } })
  await walk.refused('importBackup', '7300', { body: { sync: [{
    backup_id: unknown, backup_name: 'n', bucket_name: 'k', created_at: 1, image_path: 'i', resource_id: 'r', resource_name: 'r', resource_type: 'OS::Native::Server',
  }] } })
  await walk.refused('createPostPaidVault', '9900', { body: { vault: { name: 'ordered', resources: [], billing } } })
  await walk.refused('changeVaultChargeMode', '9900', { body: { vault_ids: [vaultId], charging_mode: 'pre_paid', period_type: 'month', period_num: 1 } })
  await walk.refused('changeOrder', '6109', {
    body: { resource_id: vaultId, product_info: { product_id: 'p', resource_size: 10, resource_spec_code: 'vault.backup.turbo.normal' } },
  })
  await walk.refused('updateOrder', '6109', {
    with: { order_id: 'o' }, body: { resourceId: vaultId, productInfo: { productId: 'p', resourceSize: 10, resourceSpecCode: 'vault.backup.turbo.normal' } },
  })
  const unsupported = new Set(unsupportedOperations.map((each) => each.operationId))
  for (const operationId of unsupported) {
    const names = walk.operations.get(operationId)?.parameters.filter((each) => each.in === 'path' && each.name !== 'project_id').map((each) => each.name) ?? []
    await walk.refused(operationId, '9900', { with: Object.fromEntries(names.map((name) => [name, unknown])) })
  }

  // Away with it all, each in its own way.
  await walk.ok('migrateVaultResource', { with: vault, body: { destination_vault_id: targetId, resource_ids: [mail] } })
  const [migration] = (await walk.ok<{ operation_logs: { id: string }[] }>('listOpLogs', { with: { operation_type: 'copy' } })).operation_logs
  assert.equal((await steps.taskEnd(migration?.id ?? '')).status, 'success')
  await walk.refused('migrateVaultResource', '6120', { with: vault, body: { destination_vault_id: unknown, resource_ids: [wiki] } })
  await walk.ok('deleteBackup', { with: backup })
  await walk.refused('deleteBackup', '6200', { with: gone.backup })
  await walk.ok('removeVaultResource', { with: vault, body: { resource_ids: [wiki] } })
  await walk.refused('removeVaultResource', '6105', { with: gone.vault, body: { resource_ids: [wiki] } })
  const removals = await walk.ok<{ operation_logs: { id: string }[] }>('listOpLogs')
  for (const { id } of removals.operation_logs) await steps.taskEnd(id)
  await walk.ok('deleteVault', { with: vault })
  await walk.refused('deleteVault', '6105', { with: gone.vault })
  const { operation_logs: tasks } = await walk.ok<{ operation_logs: { id: string, operation_type: string, status: string }[] }>('listOpLogs')
  for (const { id } of tasks) {
    await steps.taskEnd(id)
    await walk.ok('showOpLog', { with: { operation_log_id: id } })
  }
  assert.deepEqual(new Set(tasks.map((each) => each.operation_type)), new Set(['backup', 'copy', 'delete', 'remove_resource', 'restore', 'vault_delete']))
  assert.ok(tasks.some((each) => each.status === 'failed'), 'a failed task was among those seen')

  await walk.turnAway()
  const names = [...walk.operations.keys()]
  assert.equal(names.length, 76)
  const refusedHere = new Set([...unsupported, ...ALWAYS_REFUSED])
  assert.deepEqual(names.filter((name) => walk.succeeded.has(name) === refusedHere.has(name)), [], 'each succeeds, or is always refused')
  const maySucceedOnly = new Set([...CANNOT_FAIL, ...FAIL_BY_CREDENTIALS_ONLY])
  assert.deepEqual(names.filter((name) => walk.failed.has(name) === maySucceedOnly.has(name)), [], 'each fails for bad input, but for those that take none')
  assert.equal(walk.turnedAway.size, 73)

  const rows = renderWalkRows(names, walk.outcomes)
  if (process.env['OPENCBR_WRITE_DOCS'] === 'true') await fs.writeFile(PAGE, writeWalkRows(await fs.readFile(PAGE, 'utf8'), rows))
  // OPENCBR_WRITE_DOCS=true npm test -- test/contract-walk writes the table anew.
  assert.deepEqual(readWalkRows(await fs.readFile(PAGE, 'utf8')), rows)
})
