"""Shares a backup between two projects with python-otcextensions, whose command line has no commands for it."""
import json
import os

import openstack
from otcextensions import sdk


def told(name):
    return os.environ["OPENCBR_TEST_" + name]


def connect(which):
    connection = openstack.connect(
        auth_url=told("URL") + "/v3", region_name=told("REGION"), username=told(which + "_USER"), password=told(which + "_PASSWORD"),
        user_domain_name=told("DOMAIN"), project_name=told(which + "_PROJECT_NAME"), project_domain_name=told("DOMAIN"))
    sdk.register_otc_extensions(connection)
    return connection.cbr


owner, receiver = connect("FIRST"), connect("SECOND")
receiver_id, vault_id = told("SECOND_PROJECT_ID"), told("RECEIVING_VAULT_ID")
backup = owner.find_backup("shared", ignore_missing=False)
(offered,) = owner.add_members(backup=backup.id, members=[receiver_id])
assert offered.status == "pending", offered
assert [each.id for each in receiver.backups(own_type="shared", member_status="pending", limit=1)] == [backup.id]
receiver.update_member(backup=backup.id, member=receiver_id, status="accepted", vault=vault_id)
(accepted,) = owner.members(backup.id, limit=1)
assert (accepted.status, accepted.vault_id) == ("accepted", vault_id), accepted
assert receiver.get_backup(backup.id).name == "shared"
owner.delete_member(backup.id, receiver_id, ignore_missing=False)
try:
    receiver.get_backup(backup.id)
    raise AssertionError("the share is still there")
except openstack.exceptions.NotFoundException as error:
    missing = str(error)
print(json.dumps({"backup_id": backup.id, "missing": missing}))
