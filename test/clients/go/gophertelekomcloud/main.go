// Drives a server with gophertelekomcloud, unmodified: the first project by password or by access key (the only
// argument), the second one by the other. The server is found through the catalogue. The release has no calls for
// lists of vaults and for sharing, so these go through its client without them. The last line of standard output is a report.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/backups"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/checkpoint"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/policies"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/tags"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/tasks"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/vaults"
	commontags "github.com/opentelekomcloud/gophertelekomcloud/openstack/common/tags"
)

func told(name string) string { return os.Getenv("OPENCBR_TEST_" + name) }

// must ends the program when a call was refused.
func must[T any](answer T, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

func done(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%+v is not %+v", found, expected))
	}
}

func missing(err error) {
	var answer golangsdk.ErrDefault404
	if !errors.As(err, &answer) {
		panic(fmt.Sprintf("it was not refused with 404: %v", err))
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

func connect(which string, byKey bool) *golangsdk.ServiceClient {
	var options golangsdk.AuthOptionsProvider = golangsdk.AuthOptions{
		IdentityEndpoint: told("URL") + "/v3", Username: told(which + "_USER"), Password: told(which + "_PASSWORD"),
		DomainName: told("DOMAIN"), TenantName: told(which + "_PROJECT_NAME"), AllowReauth: true,
	}
	if byKey {
		options = golangsdk.AKSKAuthOptions{
			IdentityEndpoint: told("URL") + "/v3", AccessKey: told(which + "_ACCESS_KEY"), SecretKey: told(which + "_SECRET_KEY"),
			Domain: told("DOMAIN"), ProjectName: told(which + "_PROJECT_NAME"), Region: told("REGION"),
		}
	}
	provider := must(openstack.AuthenticatedClient(options))
	return must(openstack.NewCBRService(provider, golangsdk.EndpointOpts{Region: told("REGION")}))
}

func newVault(client *golangsdk.ServiceClient, name string) *vaults.Vault {
	return must(vaults.Create(client, vaults.CreateOpts{
		Name: name, Description: "of the lab", Resources: []vaults.ResourceCreate{}, Tags: []commontags.ResourceTag{{Key: "team", Value: "lab"}},
		Billing: &vaults.BillingCreate{ConsistentLevel: "crash_consistent", ObjectType: "disk", ProtectType: "backup", Size: 10},
	}))
}

func main() {
	byKey := os.Args[1] == "access-key"
	client, other := connect("FIRST", byKey), connect("SECOND", !byKey)
	image, target := told("IMAGE_ID"), told("TARGET_ID")

	// Vaults and tags. What the first answer shows, a later one shows too.
	vault := newVault(client, "disks")
	equal(must(vaults.Get(client, vault.ID)), vault)
	equal(must(vaults.AssociateResources(client, vault.ID, vaults.AssociateResourcesOpts{Resources: []vaults.ResourceCreate{{ID: image, Type: "OS::Cinder::Volume"}}})), []string{image})
	changed := must(vaults.Update(client, vault.ID, vaults.UpdateOpts{Name: "discs", Billing: &vaults.BillingUpdate{Size: 20}}))
	equal([]any{changed.Name, changed.Billing.Size, len(changed.Resources)}, []any{"discs", 20, 1})
	equal(must(vaults.Get(client, vault.ID)), changed)
	spare := newVault(client, "spare")
	var listed struct{ Vaults []vaults.Vault }
	_, err := client.Get(client.ServiceURL("vaults")+"?name=discs&limit=10", &listed, nil)
	done(err)
	equal([]any{len(listed.Vaults), listed.Vaults[0].ID}, []any{1, vault.ID})
	done(tags.CreateVaultTags(client, vault.ID, []commontags.ResourceTag{{Key: "stage", Value: "live"}, {Key: "cost", Value: "1"}}).ExtractErr())
	done(tags.DeleteVaultTag(client, vault.ID, []commontags.ResourceTag{{Key: "cost", Value: "1"}}).ExtractErr())
	equal(len(must(tags.ShowVaultTag(client, vault.ID).Extract())), 2)
	equal(len(must(tags.ShowVaultProjectTag(client).Extract())), 2)
	found := must(tags.ShowVaultResourceInstances(client, tags.ResourceInstancesRequest{Action: tags.Filter, Tags: []commontags.ListedTag{{Key: "stage", Values: []string{"live"}}}}))
	equal([]any{found.TotalCount, found.Resources[0].ResourceID}, []any{1, vault.ID})

	// Policy.
	enabled, pattern := false, "FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=14;BYMINUTE=00"
	policy := must(policies.Create(client, policies.CreateOpts{
		Name: "weekly", Enabled: &enabled, OperationType: "backup",
		OperationDefinition: &policies.PolicyODCreate{MaxBackups: 5, Timezone: "UTC+01:00"},
		Trigger:             &policies.Trigger{Properties: policies.TriggerProperties{Pattern: []string{pattern}}},
	}))
	equal(must(policies.Get(client, policy.ID)), policy)
	equal(policy.Trigger.Properties.Pattern, []string{pattern})
	for range 2 {
		must(vaults.BindPolicy(client, vault.ID, vaults.BindPolicyOpts{PolicyID: policy.ID}))
	}
	bound := must(policies.List(client, policies.ListOpts{VaultID: vault.ID}))
	equal([]any{len(bound), bound[0].AssociatedVaults[0].VaultID}, []any{1, vault.ID})
	equal(must(policies.Update(client, policy.ID, policies.UpdateOpts{Name: "weeks"})).Name, "weeks")
	must(vaults.UnbindPolicy(client, vault.ID, vaults.BindPolicyOpts{PolicyID: policy.ID}))
	done(policies.Delete(client, policy.ID))

	// Backups, filters and pages.
	var checkpoints []string
	for _, name := range []string{"run-1", "run-2"} {
		made := must(checkpoint.Create(client, checkpoint.CreateOpts{VaultID: vault.ID, Parameters: checkpoint.CheckpointParam{Name: name, Incremental: true}}))
		checkpoints = append(checkpoints, made.ID)
		until("checkpoint "+made.ID, func() bool { return must(checkpoint.Get(client, made.ID)).Status == "available" })
	}
	second := must(backups.List(client, backups.ListOpts{CheckpointID: checkpoints[1], VaultID: vault.ID, Status: "available"}))
	equal([]any{len(second), second[0].Name, second[0].ResourceID}, []any{1, "run-2", image})
	equal(*must(backups.Get(client, second[0].ID)), second[0])
	all := must(backups.List(client, backups.ListOpts{Sort: "name:asc"}))
	equal(len(all), 2)
	next := must(backups.List(client, backups.ListOpts{Sort: "name:asc", Limit: "1", Marker: all[0].ID}))
	equal([]any{len(next), next[0].ID}, []any{1, second[0].ID})
	equal(len(must(backups.List(client, backups.ListOpts{Limit: "1", Offset: "2"}))), 0)

	// Restore; the list of tasks is read by the library's client, as its own call looks for another name.
	done(backups.RestoreBackup(client, second[0].ID, backups.RestoreBackupOpts{VolumeID: target}))
	var restores struct {
		Logs []tasks.OperationLog `json:"operation_logs"`
	}
	_, err = client.Get(client.ServiceURL("operation-logs")+"?operation_type=restore", &restores, nil)
	done(err)
	equal(len(restores.Logs), 1)
	until("a restore", func() bool { return must(tasks.Get(client, restores.Logs[0].ID)).Status == "success" })

	// Sharing.
	receiver := told("SECOND_PROJECT_ID")
	members := client.ServiceURL("backups", second[0].ID, "members")
	_, err = client.Post(members, map[string]any{"members": []string{receiver}}, nil, &golangsdk.RequestOpts{OkCodes: []int{200}})
	done(err)
	received := newVault(other, "received")
	_, err = other.Put(other.ServiceURL("backups", second[0].ID, "members", receiver),
		map[string]any{"status": "accepted", "vault_id": received.ID}, nil, &golangsdk.RequestOpts{OkCodes: []int{200}})
	done(err)
	equal(must(backups.Get(other, second[0].ID)).Name, "run-2")
	_, err = backups.Get(other, all[0].ID)
	missing(err)
	_, err = client.Delete(client.ServiceURL("backups", second[0].ID, "members", receiver), nil)
	done(err)
	_, err = backups.Get(other, second[0].ID)
	missing(err)

	// What goes.
	done(vaults.Delete(other, received.ID))
	done(backups.Delete(client, all[0].ID))
	until("a deleted backup", func() bool { _, err := backups.Get(client, all[0].ID); return err != nil })
	_, err = checkpoint.Get(client, checkpoints[0])
	missing(err)
	done(vaults.Delete(client, spare.ID))
	until("a deleted vault", func() bool { _, err := vaults.Get(client, spare.ID); return err != nil })
	fmt.Println(string(must(json.Marshal(map[string]string{"vault_id": vault.ID, "backup_id": second[0].ID}))))
}
