// Drives a server with the Huawei Cloud SDK v3 for Go, unmodified, by access keys. The first client finds its
// project by name in the identity API, the second is told its id. The last line of standard output is a report.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	cbr "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cbr/v1"
	. "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cbr/v1/model"
)

func told(name string) string { return os.Getenv("OPENCBR_TEST_" + name) }

func pointer[T any](value T) *T { return &value }

// must ends the program when a call was refused.
func must[T any](answer T, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%v is not %v", found, expected))
	}
}

func refused(err error, status int, code string) {
	var refusal *sdkerr.ServiceResponseError
	if !errors.As(err, &refusal) {
		panic(fmt.Sprintf("it was not refused: %v", err))
	}
	equal(refusal.StatusCode, status)
	equal(refusal.ErrorCode, code)
	if refusal.RequestId == "" || refusal.ErrorMessage == "" {
		panic(refusal)
	}
}

func until(what string, isSo func() bool) {
	for range 600 {
		if isSo() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	panic("waited in vain: " + what)
}

func taskEnd(client *cbr.CbrClient, id string) (task OperationLog) {
	until("task "+id, func() bool {
		task = *must(client.ShowOpLog(&ShowOpLogRequest{OperationLogId: id})).OperationLog
		return task.Status != GetOperationLogStatusEnum().WAITING && task.Status != GetOperationLogStatusEnum().RUNNING
	})
	return task
}

func newVault(client *cbr.CbrClient, name string, resources []ResourceCreate, tags *[]Tag) VaultCreateResource {
	return *must(client.CreateVault(&CreateVaultRequest{Body: &VaultCreateReq{Vault: &VaultCreate{
		Name: name, Resources: resources, Tags: tags,
		Billing: &BillingCreate{
			ConsistentLevel: GetBillingCreateConsistentLevelEnum().CRASH_CONSISTENT, ObjectType: GetBillingCreateObjectTypeEnum().TURBO,
			ProtectType: GetBillingCreateProtectTypeEnum().BACKUP, Size: 10,
		},
	}}})).Vault
}

func backupNames(backups []BackupResp) (names []string) {
	for _, each := range backups {
		names = append(names, each.Name)
	}
	return names
}

func main() {
	url := told("URL")
	credentials := must(basic.NewCredentialsBuilder().WithAk(told("FIRST_ACCESS_KEY")).WithSk(told("FIRST_SECRET_KEY")).
		WithIamEndpointOverride(url).SafeBuild())
	client := cbr.NewCbrClient(must(cbr.CbrClientBuilder().WithRegion(region.NewRegion(told("REGION"), url)).WithCredential(credentials).SafeBuild()))
	otherCredentials := must(basic.NewCredentialsBuilder().WithAk(told("SECOND_ACCESS_KEY")).WithSk(told("SECOND_SECRET_KEY")).
		WithProjectId(told("SECOND_PROJECT_ID")).SafeBuild())
	other := cbr.NewCbrClient(must(cbr.CbrClientBuilder().WithEndpoints([]string{url}).WithCredential(otherCredentials).SafeBuild()))
	resourceId := told("RESOURCE_ID")

	// Vaults and tags.
	vault := newVault(client, "仓库", []ResourceCreate{}, &[]Tag{{Key: "team", Value: "a b&c"}})
	equal([]any{vault.Name, vault.ProjectId, vault.Billing.Size}, []any{"仓库", told("FIRST_PROJECT_ID"), int32(10)})
	spare := newVault(client, "spare", []ResourceCreate{}, nil)
	must(client.AddVaultResource(&AddVaultResourceRequest{VaultId: vault.Id, Body: &VaultAddResourceReq{
		Resources: []ResourceCreate{{Id: resourceId, Type: "OS::Sfs::Turbo"}}}}))
	must(client.UpdateVault(&UpdateVaultRequest{VaultId: vault.Id, Body: &VaultUpdateReq{Vault: &VaultUpdate{Name: pointer("仓库_2"), Billing: &BillingUpdate{Size: pointer(int32(20))}}}}))
	shown := must(client.ShowVault(&ShowVaultRequest{VaultId: vault.Id})).Vault
	equal([]any{shown.Name, shown.Billing.Size, len(shown.Resources), shown.Resources[0].Id}, []any{"仓库_2", int32(20), 1, resourceId})
	listed := must(client.ListVault(&ListVaultRequest{Name: pointer("仓库_2")}))
	equal([]any{*listed.Count, (*listed.Vaults)[0].Id}, []any{int32(1), vault.Id})
	equal(len(*must(client.ListVault(&ListVaultRequest{Limit: pointer(int32(1)), Offset: pointer(int32(1))})).Vaults), 1)
	equal(len(*must(client.ListVault(&ListVaultRequest{Limit: pointer(int32(1)), Offset: pointer(int32(2))})).Vaults), 0)
	must(client.BatchCreateAndDeleteVaultTags(&BatchCreateAndDeleteVaultTagsRequest{VaultId: vault.Id, Body: &BulkCreateAndDeleteVaultTagsReq{
		Action: GetBulkCreateAndDeleteVaultTagsReqActionEnum().CREATE, Tags: &[]Tag{{Key: "stage", Value: "live"}, {Key: "cost", Value: "1"}}}}))
	must(client.DeleteVaultTag(&DeleteVaultTagRequest{VaultId: vault.Id, Key: "cost"}))
	found := must(client.ShowVaultResourceInstances(&ShowVaultResourceInstancesRequest{Body: &VaultResourceInstancesReq{
		Action: "filter", Tags: &[]TagsReq{{Key: "stage", Values: []string{"live"}}}, Limit: pointer("10"), Offset: pointer("0")}}))
	equal([]any{*found.TotalCount, (*found.Resources)[0].ResourceId}, []any{int32(1), vault.Id})

	// Policy.
	pattern := "FREQ=DAILY;INTERVAL=1;BYHOUR=01;BYMINUTE=00"
	policy := must(client.CreatePolicy(&CreatePolicyRequest{Body: &PolicyCreateReq{Policy: &PolicyCreate{
		Name: "nightly", Enabled: pointer(false), OperationType: GetPolicyCreateOperationTypeEnum().BACKUP,
		OperationDefinition: &PolicyoOdCreate{RetentionDurationDays: pointer(int32(7))},
		Trigger:             &PolicyTriggerReq{Properties: &PolicyTriggerPropertiesReq{Pattern: []string{pattern}}},
	}}})).Policy
	must(client.AssociateVaultPolicy(&AssociateVaultPolicyRequest{VaultId: vault.Id, Body: &VaultAssociate{PolicyId: pointer(policy.Id)}}))
	bound := *must(client.ListPolicies(&ListPoliciesRequest{VaultId: pointer(vault.Id)})).Policies
	equal([]any{len(bound), bound[0].Id, bound[0].Trigger.Properties.Pattern}, []any{1, policy.Id, []string{pattern}})
	must(client.UpdatePolicy(&UpdatePolicyRequest{PolicyId: policy.Id, Body: &PolicyUpdateReq{Policy: &PolicyUpdate{Name: pointer("nights")}}}))
	equal(must(client.ShowPolicy(&ShowPolicyRequest{PolicyId: policy.Id})).Policy.Name, "nights")
	must(client.DisassociateVaultPolicy(&DisassociateVaultPolicyRequest{VaultId: vault.Id, Body: &VaultDissociate{PolicyId: policy.Id}}))
	must(client.DeletePolicy(&DeletePolicyRequest{PolicyId: policy.Id}))

	// Backups, filters and pages.
	for _, name := range []string{"run-1", "run-2"} {
		checkpoint := must(client.CreateCheckpoint(&CreateCheckpointRequest{Body: &VaultBackupReq{Checkpoint: &VaultBackup{
			VaultId: vault.Id, Parameters: &CheckpointParam{Name: pointer(name)}}}})).Checkpoint
		for _, task := range *must(client.ListOpLogs(&ListOpLogsRequest{VaultId: pointer(vault.Id), OperationType: pointer(GetListOpLogsRequestOperationTypeEnum().BACKUP)})).OperationLogs {
			if *task.CheckpointId == checkpoint.Id {
				equal(taskEnd(client, task.Id).Status, GetOperationLogStatusEnum().SUCCESS)
			}
		}
		equal(must(client.ShowCheckpoint(&ShowCheckpointRequest{CheckpointId: checkpoint.Id})).Checkpoint.Status.Value(), "available")
	}
	all := must(client.ListBackups(&ListBackupsRequest{VaultId: pointer(vault.Id), Status: pointer(GetListBackupsRequestStatusEnum().AVAILABLE), Sort: pointer("name:asc")}))
	equal([]any{backupNames(*all.Backups), *all.Count}, []any{[]string{"run-1", "run-2"}, int32(2)})
	first, second := (*all.Backups)[0], (*all.Backups)[1]
	equal(time.Time(*first.CreatedAt).Year() > 2000, true)
	page := must(client.ListBackups(&ListBackupsRequest{Sort: pointer("name:asc"), Limit: pointer(int32(1)), Marker: pointer(first.Id)}))
	equal(backupNames(*page.Backups), []string{"run-2"})
	equal(len(*must(client.ListBackups(&ListBackupsRequest{Limit: pointer(int32(1)), Offset: pointer(int32(2))})).Backups), 0)
	equal(backupNames(*must(client.ListBackups(&ListBackupsRequest{CheckpointId: pointer(first.CheckpointId)})).Backups), []string{"run-1"})
	equal(must(client.UpdateBackup(&UpdateBackupRequest{BackupId: second.Id, Body: &BackupUpdateReq{Backup: &BackupUpdate{Name: pointer("第二次")}}})).Backup.Name, "第二次")

	// Restore.
	destination := filepath.Join(told("WORK"), "restored")
	if err := os.Mkdir(destination, 0o755); err != nil {
		panic(err)
	}
	must(client.RestoreBackup(&RestoreBackupRequest{BackupId: second.Id, Body: &BackupRestoreReq{Restore: &BackupRestore{
		ResourceId: pointer(resourceId), Details: &RestoreDetails{DestinationPath: destination}}}}))
	restores := *must(client.ListOpLogs(&ListOpLogsRequest{OperationType: pointer(GetListOpLogsRequestOperationTypeEnum().RESTORE)})).OperationLogs
	equal(len(restores), 1)
	equal(taskEnd(client, restores[0].Id).Status, GetOperationLogStatusEnum().SUCCESS)

	// Sharing.
	receiver := told("SECOND_PROJECT_ID")
	must(client.AddMember(&AddMemberRequest{BackupId: second.Id, Body: &AddMembersReq{Members: pointer([]string{receiver})}}))
	received := newVault(other, "received", []ResourceCreate{}, nil)
	accepted := must(other.UpdateMemberStatus(&UpdateMemberStatusRequest{BackupId: second.Id, MemberId: receiver,
		Body: &UpdateMember{Status: GetUpdateMemberStatusEnum().ACCEPTED, VaultId: pointer(received.Id)}})).Member
	equal(accepted.Status, GetMemberStatusEnum().ACCEPTED)
	equal(backupNames(*must(other.ListBackups(&ListBackupsRequest{OwnType: pointer(GetListBackupsRequestOwnTypeEnum().SHARED)})).Backups), []string{"第二次"})
	equal(len(*must(client.ShowMembersDetail(&ShowMembersDetailRequest{BackupId: second.Id})).Members), 1)
	_, err := other.ShowBackup(&ShowBackupRequest{BackupId: first.Id})
	refused(err, http.StatusNotFound, "BackupService.6200")
	must(client.DeleteMember(&DeleteMemberRequest{BackupId: second.Id, MemberId: receiver}))
	must(other.DeleteVault(&DeleteVaultRequest{VaultId: received.Id}))

	// What is refused, and what goes.
	wrong := must(basic.NewCredentialsBuilder().WithAk(told("FIRST_ACCESS_KEY")).WithSk(strings.Repeat("x", 40)).WithProjectId(told("FIRST_PROJECT_ID")).SafeBuild())
	_, err = cbr.NewCbrClient(must(cbr.CbrClientBuilder().WithEndpoints([]string{url}).WithCredential(wrong).SafeBuild())).ListVault(&ListVaultRequest{})
	var refusal *sdkerr.ServiceResponseError
	equal(errors.As(err, &refusal) && refusal.StatusCode == http.StatusUnauthorized, true)
	must(client.DeleteBackup(&DeleteBackupRequest{BackupId: first.Id}))
	until("a deleted backup", func() bool { return *must(client.ListBackups(&ListBackupsRequest{})).Count == 1 })
	must(client.DeleteVault(&DeleteVaultRequest{VaultId: spare.Id}))
	until("a deleted vault", func() bool {
		_, err := client.ShowVault(&ShowVaultRequest{VaultId: spare.Id})
		if err != nil {
			refused(err, http.StatusNotFound, "BackupService.6105")
		}
		return err != nil
	})
	fmt.Println(string(must(json.Marshal(map[string]string{"vault_id": vault.Id, "backup_id": second.Id, "restored": destination}))))
}
