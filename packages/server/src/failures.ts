/**
 * Everything that can go wrong at the API's edge, with the cloud's status and code
 * (`packages/contract`, error codes). Texts tell a person what to do; facts are fields that the text
 * names and that others may read.
 */
type Facts = Readonly<Record<string, string | number>>

interface FailureKind {
  readonly status: number
  /** The last part of the cloud's code: `6105` is BackupService.6105. */
  readonly code: string
  readonly text: (facts: Facts) => string
}

export const failures = {
  'checkpoint.nothing_to_back_up': { status: 400, code: '0001', text: (f) => `There is nothing to back up: ${f['reason']}.` },
  'replication.backup_kind': { status: 400, code: '1002', text: (f) => `The backup ${f['backupId']} cannot be replicated: only an available one that was made here can be.` },
  'replication.servers_only': { status: 400, code: '1003', text: (f) => `The backup ${f['backupId']} is of type ${f['resourceType']}; only backups of servers are replicated.` },
  'restore.target_too_small': { status: 400, code: '2001', text: (f) => `The target ${f['target']} is smaller than the backup.` },
  'restore.source_busy': { status: 400, code: '2002', text: (f) => `The resource ${f['resourceId']} is being backed up; restore when that has finished.` },
  'restore.backup_status': { status: 400, code: '2005', text: (f) => `The backup ${f['backupId']} is ${f['status']}; only an available one can be restored.` },
  'restore.already_running': { status: 400, code: '2010', text: (f) => `The target ${f['target']} is being restored already.` },
  'restore.disk_busy': { status: 400, code: '2011', text: (f) => `The disk ${f['resourceId']} cannot be restored to now: ${f['reason']}.` },
  'migration.not_found': { status: 404, code: '4001', text: () => 'No migration was ever started: there is no older service to move from.' },
  'policy.not_found': { status: 404, code: '6000', text: (f) => `The policy ${f['policyId']} does not exist.` },
  'policy.too_many': { status: 400, code: '6001', text: (f) => `There may be at most ${f['max']} ${f['type']} policies.` },
  'policy.not_bound': { status: 404, code: '6002', text: (f) => `The policy ${f['policyId']} is not bound to vault ${f['vaultId']}.` },
  'policy.region_fixed': { status: 400, code: '6003', text: (f) => `The destination_region of policy ${f['policyId']} is fixed while it is bound to vault ${f['vaultId']}.` },
  'vault.too_many_resources': { status: 400, code: '6100', text: (f) => `A vault holds at most ${f['max']} resources.` },
  'vault.size_out_of_range': { status: 400, code: '6101', text: (f) => `Invalid vault.billing.size provided: ${f['reason']}.` },
  'vault.resource_kind_misfit': { status: 400, code: '6102', text: (f) => `A vault for ${f['objectType']} does not take resource ${f['resourceId']} of type ${f['resourceType']}.` },
  'vault.resource_elsewhere': { status: 400, code: '6103', text: (f) => `The resource ${f['resourceId']} is in vault ${f['vaultId']} already.` },
  'resource.in_vault': { status: 400, code: '6103', text: (f) => `The resource ${f['resourceId']} is in vault ${f['vaultId']}: take it out first.` },
  'vault.resource_named_twice': { status: 400, code: '6104', text: (f) => `The resource ${f['resourceId']} is named twice.` },
  'vault.not_found': { status: 404, code: '6105', text: (f) => `The vault ${f['vaultId']} does not exist.` },
  'order.not_found': { status: 400, code: '6109', text: (f) => `There is no order for the ${f['subject']}: this server sells nothing.` },
  'vault.cannot_be_changed': { status: 400, code: '6110', text: (f) => `${f['reason']}` },
  'vault.cannot_be_deleted': { status: 400, code: '6111', text: (f) => `The vault ${f['vaultId']} cannot be deleted: ${f['reason']}.` },
  'vault.wrong_status': { status: 400, code: '6112', text: (f) => `The vault ${f['vaultId']} is ${f['status']}.` },
  'vault.busy': { status: 400, code: '6112', text: (f) => `A task is waiting or running in vault ${f['vaultId']}; delete it when that has finished, or cancel it.` },
  'vault.status_forbids_backup': { status: 400, code: '6113', text: (f) => `The vault ${f['vaultId']} is ${f['status']}; backups need an available one.` },
  'vault.over_capacity': { status: 400, code: '6114', text: (f) => `The vault ${f['vaultId']} holds more than its size: enlarge it or delete backups.` },
  'vault.kind_unsupported': { status: 400, code: '6116', text: (f) => `Invalid ${f['field']} provided: ${f['value']} is not offered here.` },
  'policy.target_unverified': { status: 400, code: '6118', text: (f) => `The destination vault ${f['vaultId']} cannot be checked: ${f['reason']}.` },
  'policy.target_takes_no_replicas': { status: 400, code: '6119', text: (f) => `The destination vault ${f['vaultId']} is not a replication vault.` },
  'policy.target_not_found': { status: 400, code: '6120', text: (f) => `The destination vault ${f['vaultId']} does not exist.` },
  'vault.target_not_found': { status: 400, code: '6120', text: (f) => `The vault ${f['vaultId']} to move to does not exist.` },
  'replication.target_unknown': { status: 400, code: '6120', text: (f) => `The vault ${f['vaultId']} in region ${f['region']} is not known: this server has no second region.` },
  'vault.kind_forbids_backup': { status: 400, code: '6124', text: (f) => `The vault ${f['vaultId']} is not a backup vault.` },
  'vault.backup_running': { status: 400, code: '6125', text: (f) => `A backup is running in vault ${f['vaultId']}; wait until it has finished.` },
  'vault.resource_restoring': { status: 400, code: '6125', text: (f) => `The resource ${f['resourceId']} in vault ${f['vaultId']} is being restored; wait until that has finished.` },
  'policy.vault_misfit': { status: 400, code: '6127', text: (f) => `The policy ${f['policyId']} does not fit vault ${f['vaultId']}: ${f['reason']}.` },
  'replication.vault_kind': { status: 400, code: '6128', text: (f) => `The vault ${f['vaultId']} is for ${f['objectType']}; only vaults for servers are replicated.` },
  'vault.target_full': { status: 400, code: '6129', text: (f) => `The vault ${f['vaultId']} has not enough room: ${f['needed']} MB are needed, and ${f['available']} MB are free.` },
  'vault.resources_being_removed': { status: 400, code: '6134', text: (f) => `Resources are being removed from vault ${f['vaultId']}.` },
  'vault.resource_not_inside': { status: 400, code: '6135', text: (f) => `The resource ${f['resourceId']} is not in vault ${f['vaultId']}.` },
  'policy.vault_hybrid': { status: 400, code: '6136', text: (f) => `The vault ${f['vaultId']} is a hybrid one, and takes no backup policy.` },
  'backup.not_found': { status: 404, code: '6200', text: (f) => `The backup ${f['backupId']} does not exist.` },
  'backup.path_not_found': { status: 404, code: '6200', text: (f) => `The backup ${f['backupId']} holds nothing at ${f['path']}.` },
  'backup.status_forbids_delete': { status: 400, code: '6201', text: (f) => `The backup ${f['backupId']} is ${f['status']}; only available ones and those in error can be deleted.` },
  'backup.is_child': { status: 400, code: '6201', text: (f) => `The backup ${f['backupId']} is a part of backup ${f['parentId']} and goes with it: delete that one.` },
  'restore.vault_status': { status: 400, code: '6202', text: (f) => `The vault ${f['vaultId']} is ${f['status']}; restoring needs an available or locked one.` },
  'vault.backups_in_progress': { status: 400, code: '6203', text: (f) => `Work is in progress in vault ${f['vaultId']}: ${f['reason']}.` },
  'backup.used_by_image': { status: 400, code: '6204', text: (f) => `The backup ${f['backupId']} is used by image ${f['imageId']}.` },
  'backup.status_forbids_metadata': { status: 400, code: '6206', text: (f) => `The backup ${f['backupId']} is ${f['status']}; metadata needs an available one.` },
  'backup.status_forbids_reading': { status: 400, code: '6206', text: (f) => `The backup ${f['backupId']} is ${f['status']}; only an available one can be read or verified.` },
  'backup.unreadable': { status: 400, code: '6206', text: (f) => `The backup ${f['backupId']} cannot be read: ${f['reason']}.` },
  'backup.in_use': { status: 400, code: '6216', text: (f) => `The backup ${f['backupId']} is in use.` },
  'checkpoint.not_found': { status: 404, code: '6217', text: (f) => `The restore point ${f['checkpointId']} does not exist.` },
  'backup.locked': { status: 400, code: '6220', text: (f) => `The backup ${f['backupId']} is automatic and its vault is locked; it leaves by retention only, ${f['until']}.` },
  'resource.not_found': { status: 404, code: '6302', text: (f) => `The resource ${f['resourceId']} does not exist.` },
  'agent.not_found': { status: 404, code: '6302', text: (f) => `The agent ${f['agentId']} does not exist.` },
  'checkpoint.resource_not_inside': { status: 404, code: '6302', text: (f) => `The resource ${f['resourceId']} is not in vault ${f['vaultId']}.` },
  'project.not_found': { status: 404, code: '6302', text: (f) => `The project ${f['projectId']} does not exist.` },
  'domain.not_found': { status: 404, code: '6302', text: (f) => `The domain ${f['domainName']} does not exist.` },
  'operation_log.not_found': { status: 404, code: '6500', text: () => 'Operation log does not exist.' },
  'verification.not_found': { status: 404, code: '6500', text: (f) => `The verification ${f['verificationId']} does not exist.` },
  'vault.too_many_tags': { status: 400, code: '6600', text: (f) => `A vault carries at most ${f['max']} tags.` },
  'tag.not_found': { status: 404, code: '6601', text: (f) => `The vault ${f['vaultId']} has no tag with the key ${f['key']}.` },
  'member.servers_only': { status: 400, code: '6700', text: (f) => `The backup ${f['backupId']} is of type ${f['resourceType']}; only backups of servers are shared here.` },
  'member.too_many': { status: 400, code: '6701', text: (f) => `The backup ${f['backupId']} is shared with at most ${f['max']} projects.` },
  'member.backup_status': { status: 400, code: '6702', text: (f) => `The backup ${f['backupId']} is ${f['status']}; only an available one is shared.` },
  'member.exists': { status: 400, code: '6703', text: (f) => `The backup ${f['backupId']} is shared with project ${f['projectId']} already.` },
  'member.bad_receiver': { status: 400, code: '6704', text: (f) => `The project ${f['projectId']} cannot receive the backup: ${f['reason']}.` },
  'member.not_found': { status: 404, code: '6705', text: (f) => `The backup ${f['backupId']} is not shared with project ${f['projectId']}.` },
  'member.bad_update': { status: 400, code: '6706', text: (f) => `The share cannot be changed so: ${f['reason']}.` },
  'member.refused': { status: 400, code: '6707', text: (f) => `The backup ${f['backupId']} cannot be shared: ${f['reason']}.` },
  'member.encrypted': { status: 400, code: '6709', text: (f) => `The backup ${f['backupId']} is of encrypted disks and cannot be shared.` },
  'member.used_by_image': { status: 400, code: '6710', text: (f) => `The share of backup ${f['backupId']} is used by image ${f['imageId']}.` },
  'member.vault_status': { status: 400, code: '6712', text: (f) => `The vault ${f['vaultId']} is ${f['status']}; sharing needs an available one.` },
  'member.vault_kind': { status: 400, code: '6713', text: (f) => `The vault ${f['vaultId']} is for ${f['objectType']} and cannot take the backup, which needs one for ${f['expected']}.` },
  'member.second_hand': { status: 400, code: '6714', text: (f) => `The backup ${f['backupId']} was received and is not shared on.` },
  'restore.disk_not_found': { status: 404, code: '7000', text: (f) => `The disk ${f['resourceId']} does not exist.` },
  'vault.cannot_be_synced': { status: 400, code: '7300', text: (f) => `There is nothing to take over into ${f['what']}: this server has no hybrid storage.` },
  'parameter.invalid': { status: 400, code: '9900', text: (f) => `Invalid ${f['field']} provided: ${f['reason']}.` },
  'operation.not_supported': { status: 400, code: '9900', text: (f) => `${f['operation']} is not supported here: ${f['reason']}.` },
  'not_supported': { status: 400, code: '9900', text: (f) => `Invalid ${f['field']} provided: not supported here: ${f['reason']}.` },
  'policy.of_organization': { status: 400, code: '9900', text: (f) => `Invalid policy_id provided: the policy ${f['policyId']} comes from an organization policy of the domain, and is changed and deleted through that one.` },
  'task.cannot_be_cancelled': { status: 400, code: '9900', text: (f) => `Invalid task_id provided: the task ${f['taskId']} cannot be cancelled: ${f['reason']}.` },
  'task.cannot_be_retried': { status: 400, code: '9900', text: (f) => `Invalid task_id provided: the task ${f['taskId']} cannot be retried: ${f['reason']}.` },
} as const satisfies Record<string, FailureKind>

export type FailureCode = keyof typeof failures

export class Failure extends Error {
  override name = 'Failure'
  readonly code: FailureCode
  readonly facts: Facts
  constructor(code: FailureCode, facts: Facts = {}, options?: ErrorOptions) {
    super(failures[code].text(facts), options)
    this.code = code
    this.facts = facts
  }
}
