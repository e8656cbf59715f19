"""Drives a server with the Huawei Cloud SDK v3 for Python, unmodified, by access keys.

The endpoint of the first client comes from the SDK's own variables, and its project by name from the identity API;
the second one is given both in code. Steps are told on standard error, the last line of standard output is a report.
"""
import json
import os
import sys
import time
import uuid

from huaweicloudsdkcbr.v1 import *  # noqa: F403
from huaweicloudsdkcbr.v1.region.cbr_region import CbrRegion
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException


def told(name):
    return os.environ["OPENCBR_TEST_" + name]


def step(text):
    print(text, file=sys.stderr, flush=True)


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def refused(call, status, code):
    try:
        call()
    except ClientRequestException as error:
        equal((error.status_code, error.error_code), (status, code))
        assert error.request_id and error.error_msg, error
        return
    raise AssertionError("it was not refused")


def until(what, look):
    for _ in range(600):
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain: " + what)


def task_end(client, task_id):
    def look():
        task = client.show_op_log(ShowOpLogRequest(operation_log_id=task_id)).operation_log
        return None if task.status in ("waiting", "running") else task
    return until("task " + task_id, look)


os.environ["HUAWEICLOUD_SDK_REGION_CBR_" + told("REGION").upper().replace("-", "_")] = told("URL")
os.environ["HUAWEICLOUD_SDK_IAM_ENDPOINT"] = told("URL")
client = CbrClient.new_builder() \
    .with_credentials(BasicCredentials(told("FIRST_ACCESS_KEY"), told("FIRST_SECRET_KEY"))) \
    .with_region(CbrRegion.value_of(told("REGION"))).build()
other = CbrClient.new_builder() \
    .with_credentials(BasicCredentials(told("SECOND_ACCESS_KEY"), told("SECOND_SECRET_KEY"), told("SECOND_PROJECT_ID"))) \
    .with_endpoint(told("URL")).build()
resource_id = told("RESOURCE_ID")


def new_vault(of, name, resources, **more):
    return of.create_vault(CreateVaultRequest(body=VaultCreateReq(vault=VaultCreate(
        name=name, resources=resources, **more,
        billing=BillingCreate(consistent_level="crash_consistent", object_type="turbo", protect_type="backup", size=10),
    )))).vault


step("vaults")
vault = new_vault(client, "办公室", [], tags=[Tag(key="team", value="a b&c:d é")], description="of the office")
equal((vault.name, vault.billing.size, vault.billing.status, vault.project_id), ("办公室", 10, "available", told("FIRST_PROJECT_ID")))
spare = new_vault(client, "spare", [])
client.add_vault_resource(AddVaultResourceRequest(vault_id=vault.id, body=VaultAddResourceReq(
    resources=[ResourceCreate(id=resource_id, type="OS::Sfs::Turbo")])))
changed = client.update_vault(UpdateVaultRequest(vault_id=vault.id, body=VaultUpdateReq(vault=VaultUpdate(
    name="办公室_2", billing=BillingUpdate(size=20), smn_notify=False)))).vault
equal((changed.name, changed.billing.size), ("办公室_2", 20))
shown = client.show_vault(ShowVaultRequest(vault_id=vault.id)).vault
equal([(each.id, each.type) for each in shown.resources], [(resource_id, "OS::Sfs::Turbo")])
equal([(each.key, each.value) for each in shown.tags], [("team", "a b&c:d é")])
listed = client.list_vault(ListVaultRequest(name="办公室_2", limit=10))
equal(([each.id for each in listed.vaults], listed.count), ([vault.id], 1))
pages = [client.list_vault(ListVaultRequest(limit=1, offset=offset)).vaults for offset in range(3)]
equal((sorted(each.id for page in pages for each in page), pages[2]), (sorted([vault.id, spare.id]), []))

step("tags")
client.create_vault_tags(CreateVaultTagsRequest(vault_id=vault.id, body=VaultTagsCreateReq(tag=Tag(key="stage", value="test"))))
client.batch_create_and_delete_vault_tags(BatchCreateAndDeleteVaultTagsRequest(vault_id=vault.id, body=BulkCreateAndDeleteVaultTagsReq(
    action="create", tags=[Tag(key="cost", value="1"), Tag(key="stage", value="live")])))
client.delete_vault_tag(DeleteVaultTagRequest(vault_id=vault.id, key="cost"))
tags = client.show_vault_tag(ShowVaultTagRequest(vault_id=vault.id)).tags
equal(sorted((each.key, each.value) for each in tags), [("stage", "live"), ("team", "a b&c:d é")])
found = client.show_vault_resource_instances(ShowVaultResourceInstancesRequest(body=VaultResourceInstancesReq(
    action="filter", tags=[TagsReq(key="stage", values=["live"])])))
equal(([each.resource_id for each in found.resources], found.total_count), ([vault.id], 1))
assert "stage" in [each.key for each in client.show_vault_project_tag(ShowVaultProjectTagRequest()).tags]

step("policy")
policy = client.create_policy(CreatePolicyRequest(body=PolicyCreateReq(policy=PolicyCreate(
    name="nightly", enabled=False, operation_type="backup", operation_definition=PolicyoODCreate(max_backups=5),
    trigger=PolicyTriggerReq(properties=PolicyTriggerPropertiesReq(pattern=["FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=01;BYMINUTE=00"])))))).policy
client.associate_vault_policy(AssociateVaultPolicyRequest(vault_id=vault.id, body=VaultAssociate(policy_id=policy.id)))
equal([each.id for each in client.list_policies(ListPoliciesRequest(vault_id=vault.id)).policies], [policy.id])
equal([each.id for each in client.list_vault(ListVaultRequest(policy_id=policy.id)).vaults], [vault.id])
client.update_policy(UpdatePolicyRequest(policy_id=policy.id, body=PolicyUpdateReq(policy=PolicyUpdate(name="nights"))))
read = client.show_policy(ShowPolicyRequest(policy_id=policy.id)).policy
equal((read.name, read.operation_definition.max_backups, read.trigger.properties.pattern),
      ("nights", 5, ["FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=01;BYMINUTE=00"]))
client.disassociate_vault_policy(DisassociateVaultPolicyRequest(vault_id=vault.id, body=VaultDissociate(policy_id=policy.id)))
client.delete_policy(DeletePolicyRequest(policy_id=policy.id))
equal(client.list_policies(ListPoliciesRequest()).policies, [])

step("backups")
for number in (1, 2):
    checkpoint = client.create_checkpoint(CreateCheckpointRequest(body=VaultBackupReq(checkpoint=VaultBackup(
        vault_id=vault.id, parameters=CheckpointParam(name=f"run-{number}", description="by the SDK"))))).checkpoint
    equal(checkpoint.vault.id, vault.id)
    logs = client.list_op_logs(ListOpLogsRequest(vault_id=vault.id, operation_type="backup")).operation_logs
    ended = [task_end(client, each.id) for each in logs if each.checkpoint_id == checkpoint.id]
    equal([(each.status, each.vault_name) for each in ended], [("success", "办公室_2")])
    equal(client.show_checkpoint(ShowCheckpointRequest(checkpoint_id=checkpoint.id)).checkpoint.status, "available")
listed = client.list_backups(ListBackupsRequest(vault_id=vault.id, status="available", resource_type="OS::Sfs::Turbo", sort="name:asc"))
equal(([each.name for each in listed.backups], listed.count, listed.offset), (["run-1", "run-2"], 2, 0))
first, second = listed.backups
equal(first.extend_info is not None and first.resource_id, resource_id)
by_offset = [client.list_backups(ListBackupsRequest(sort="name:asc", limit=1, offset=offset)).backups for offset in range(3)]
equal([[each.id for each in page] for page in by_offset], [[first.id], [second.id], []])
by_marker = client.list_backups(ListBackupsRequest(sort="name:asc", limit=1, marker=first.id)).backups
equal([each.id for each in by_marker], [second.id])
for filters in ({"checkpoint_id": second.checkpoint_id}, {"name": "run-2"}, {"start_time": second.created_at[:19] + "Z", "name": "run-2"}):
    equal([each.id for each in client.list_backups(ListBackupsRequest(**filters)).backups], [second.id])
equal(client.list_backups(ListBackupsRequest(status="error")).backups, [])
renamed = client.update_backup(UpdateBackupRequest(backup_id=second.id, body=BackupUpdateReq(backup=BackupUpdate(name="第二次")))).backup
equal(renamed.name, "第二次")
assert client.show_vault(ShowVaultRequest(vault_id=vault.id)).vault.billing.used >= 0

step("restore")
destination = os.path.join(told("WORK"), "restored")
os.mkdir(destination)
client.restore_backup(RestoreBackupRequest(backup_id=second.id, body=BackupRestoreReq(restore=BackupRestore(
    resource_id=resource_id, details=RestoreDetails(destination_path=destination)))))
restore = until("a restore", lambda: next(iter(client.list_op_logs(ListOpLogsRequest(operation_type="restore")).operation_logs), None))
restore = task_end(client, restore.id)
equal((restore.status, restore.extra_info.restore.backup_id), ("success", second.id))

step("sharing")
member = client.add_member(AddMemberRequest(backup_id=second.id, body=AddMembersReq(members=[told("SECOND_PROJECT_ID")]))).members[0]
equal((member.status, member.dest_project_id), ("pending", told("SECOND_PROJECT_ID")))
mine = new_vault(other, "received", [])
equal([each.id for each in other.list_backups(ListBackupsRequest(own_type="shared", member_status="pending")).backups], [second.id])
accepted = other.update_member_status(UpdateMemberStatusRequest(
    backup_id=second.id, member_id=told("SECOND_PROJECT_ID"), body=UpdateMember(status="accepted", vault_id=mine.id))).member
equal((accepted.status, accepted.vault_id), ("accepted", mine.id))
equal(other.show_backup(ShowBackupRequest(backup_id=second.id)).backup.name, "第二次")
equal([each.status for each in client.show_members_detail(ShowMembersDetailRequest(backup_id=second.id)).members], ["accepted"])
equal(client.show_member_detail(ShowMemberDetailRequest(backup_id=second.id, member_id=told("SECOND_PROJECT_ID"))).member.vault_id, mine.id)
refused(lambda: other.show_backup(ShowBackupRequest(backup_id=first.id)), 404, "BackupService.6200")
client.delete_member(DeleteMemberRequest(backup_id=second.id, member_id=told("SECOND_PROJECT_ID")))
refused(lambda: other.show_backup(ShowBackupRequest(backup_id=second.id)), 404, "BackupService.6200")
other.delete_vault(DeleteVaultRequest(vault_id=mine.id))

step("errors")
refused(lambda: client.show_vault(ShowVaultRequest(vault_id=str(uuid.uuid4()))), 404, "BackupService.6105")
wrong = CbrClient.new_builder().with_endpoint(told("URL")) \
    .with_credentials(BasicCredentials(told("FIRST_ACCESS_KEY"), "x" * 40, told("FIRST_PROJECT_ID"))).build()
try:
    wrong.list_vault(ListVaultRequest())
    raise AssertionError("a wrong secret was taken")
except ClientRequestException as error:
    equal(error.status_code, 401)

step("deletion")
client.delete_backup(DeleteBackupRequest(backup_id=first.id))
until("a deleted backup", lambda: True if client.list_backups(ListBackupsRequest(vault_id=vault.id)).count == 1 else None)
for log in client.list_op_logs(ListOpLogsRequest(vault_id=vault.id, limit=100)).operation_logs:
    task_end(client, log.id)
client.delete_vault(DeleteVaultRequest(vault_id=spare.id))

def gone():
    try:
        client.show_vault(ShowVaultRequest(vault_id=spare.id))
    except ClientRequestException as error:
        equal(error.status_code, 404)
        return True

until("a deleted vault", gone)
print(json.dumps({"vault_id": vault.id, "deleted_vault_id": spare.id, "backup_id": second.id, "restored": destination}))
