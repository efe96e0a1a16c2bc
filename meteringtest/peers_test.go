package meteringtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// These tests hold the simulated service against programs that know the real
// one: the AWS CLI, boto3 and openssl; and the client against moto, another
// simulation. Where a peer is not on the PATH they skip, and say so.

// peer finds a program, or skips the test. Peers are slow to start, so their
// tests run beside one another.
func peer(t *testing.T, name string) string {
	t.Helper()
	t.Parallel()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not on this machine", name)
	}
	return path
}

// peerEnv is an environment in which AWS's tools find these credentials, and
// nothing of this machine's.
func peerEnv(t *testing.T, secret string, more ...string) []string {
	none := filepath.Join(t.TempDir(), "none")
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "AWS_") {
			env = append(env, setting)
		}
	}
	return append(append(env,
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY="+secret, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_MAX_ATTEMPTS=1", "AWS_PAGER=", "NO_PROXY=127.0.0.1",
	), more...)
}

// peerService has a product and a buyer. Its clock is the machine's, by which
// the peers sign.
func peerService(t *testing.T) (*meteringtest.Server, meteringtest.Buyer) {
	srv := meteringtest.NewServer()
	t.Cleanup(srv.Close)
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	return srv, srv.Subscribe("prod-1", "123456789012")
}

func lastHour() time.Time { return time.Now().UTC().Truncate(time.Hour).Add(-time.Hour) }

func TestAWSCLI(t *testing.T) {
	cli := peer(t, "aws")
	version, err := exec.Command(cli, "--version").CombinedOutput()
	require.NoError(t, err)
	t.Logf("%s", bytes.TrimSpace(version))

	// One chain of calls for each operation, with members that every version
	// of the CLI knows: neither LicenseArn nor ClientToken.
	type call struct {
		args string
		want string // in what the CLI prints
	}
	chains := map[string]func(buyer meteringtest.Buyer, token string) []call{
		"ResolveCustomer": func(_ meteringtest.Buyer, token string) []call {
			return []call{
				{"resolve-customer --registration-token " + token, `"CustomerAWSAccountId": "123456789012"`},
				{"resolve-customer --registration-token unknown", "(InvalidTokenException)"},
				{"resolve-customer --registration-token=", "(ValidationException)"},
			}
		},
		"BatchMeterUsage": func(buyer meteringtest.Buyer, _ string) []call {
			records := "batch-meter-usage --product-code prod-1 --usage-records Timestamp=" + lastHour().Format(time.RFC3339) +
				",Quantity=12,CustomerIdentifier=" + buyer.CustomerIdentifier
			return []call{
				{records + ",Dimension=users", `"Status": "Success"`},
				{records + ",Dimension=seats", "(InvalidUsageDimensionException)"},
				{"batch-meter-usage --product-code prod,1 --usage-records []", "(ValidationException)"},
			}
		},
		"MeterUsage": func(meteringtest.Buyer, string) []call {
			usage := "meter-usage --usage-dimension users --timestamp " + lastHour().Format(time.RFC3339)
			return []call{
				{usage + " --product-code prod-1 --usage-quantity 12", `"MeteringRecordId": "`},
				{usage + " --product-code prod-1 --usage-quantity 13", "(DuplicateRequestException)"},
				{usage + " --product-code prod,1 --usage-quantity 12", "(ValidationException)"},
				{usage + " --product-code prod-1 --usage-quantity 12 --dry-run", "(DryRunOperation)"},
			}
		},
		"RegisterUsage": func(meteringtest.Buyer, string) []call {
			return []call{
				{"register-usage --product-code prod-1 --nonce n-1 --public-key-version 1", `"Signature": "`},
				{"register-usage --product-code prod-1 --nonce n-1 --public-key-version 2", "(InvalidPublicKeyVersionException)"},
				{"register-usage --product-code prod,1 --nonce n-1 --public-key-version 1", "(ValidationException)"},
			}
		},
	}
	for operation, chain := range chains {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			srv, buyer := peerService(t)
			run := func(c call, secret string) {
				cmd := exec.Command(cli, append([]string{"meteringmarketplace", "--output", "json", "--endpoint-url", srv.URL}, strings.Fields(c.args)...)...)
				cmd.Env = peerEnv(t, secret)
				out, err := cmd.CombinedOutput()
				text := secrets.ReplaceAllString(strings.TrimSpace(string(out)), `${1}…"`)
				t.Logf("aws meteringmarketplace %s\n%s", strings.Fields(c.args)[0], text)
				require.Contains(t, text, c.want)
				require.Equal(t, strings.HasPrefix(c.want, "("), err != nil)
			}
			calls := chain(buyer, srv.RegistrationToken(buyer))
			for _, c := range calls {
				run(c, "test")
			}
			run(call{calls[0].args, "(InvalidSignatureException)"}, "wrong")
			srv.FailNext(1, "ThrottlingException")
			run(call{calls[0].args, "(ThrottlingException)"}, "test")
		})
	}
}

// secrets finds what a log should not show.
var secrets = regexp.MustCompile(`("Signature": ")[^"]*"`)

// boto3Script prints what each call gives, as a line of JSON.
const boto3Script = `
import boto3, botocore, botocore.config, datetime, json, sys
url, token, account, hour = sys.argv[1:]
when = datetime.datetime.fromtimestamp(float(hour), datetime.timezone.utc)
once = botocore.config.Config(retries={"total_max_attempts": 1})
right = boto3.client("meteringmarketplace", endpoint_url=url, config=once)
wrong = boto3.client("meteringmarketplace", endpoint_url=url, config=once, aws_secret_access_key="wrong", aws_access_key_id="test")
elsewhere = boto3.client("meteringmarketplace", endpoint_url=url, config=once, region_name="eu-west-1")
unchecked = boto3.client("meteringmarketplace", endpoint_url=url, config=botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False))
def show(name, call, **args):
    try:
        out = call(**args)
        meta = out.pop("ResponseMetadata")
        print(json.dumps({"name": name, "status": meta["HTTPStatusCode"], "id": meta["RequestId"], "out": out}, default=str), flush=True)
    except botocore.exceptions.ClientError as e:
        meta = e.response["ResponseMetadata"]
        print(json.dumps({"name": name, "status": meta["HTTPStatusCode"], "id": meta["RequestId"], "code": e.response["Error"]["Code"]}), flush=True)
record = dict(Timestamp=when, CustomerAWSAccountId=account, Dimension="users", Quantity=10, UsageAllocations=[
    dict(AllocatedUsageQuantity=4, Tags=[dict(Key="team", Value="blue")]), dict(AllocatedUsageQuantity=6)])
show("resolve", right.resolve_customer, RegistrationToken=token)
show("batch", right.batch_meter_usage, ProductCode="prod-1", UsageRecords=[record])
show("batch stranger", right.batch_meter_usage, ProductCode="prod-1", UsageRecords=[dict(record, CustomerAWSAccountId="999999999999")])
show("batch sum", right.batch_meter_usage, ProductCode="prod-1", UsageRecords=[dict(record, Quantity=11)])
show("batch not valid", unchecked.batch_meter_usage, ProductCode="prod 1", UsageRecords=[record])
show("batch wrong type", unchecked.batch_meter_usage, ProductCode=7, UsageRecords=[record])
show("meter", right.meter_usage, ProductCode="prod-1", Timestamp=when, UsageDimension="users", UsageQuantity=3)
show("meter again", right.meter_usage, ProductCode="prod-1", Timestamp=when, UsageDimension="users", UsageQuantity=4)
show("meter dry", right.meter_usage, ProductCode="prod-1", Timestamp=when, UsageDimension="users", DryRun=True, UsageQuantity=3)
show("register", right.register_usage, ProductCode="prod-1", PublicKeyVersion=1, Nonce="n-1")
show("wrong secret", wrong.register_usage, ProductCode="prod-1", PublicKeyVersion=1)
show("wrong region", elsewhere.register_usage, ProductCode="prod-1", PublicKeyVersion=1)
`

func TestBoto3(t *testing.T) {
	python := peer(t, "python3")
	if exec.Command(python, "-c", "import boto3").Run() != nil {
		t.Skip("python3 on this machine has no boto3")
	}
	srv, buyer := peerService(t)
	cmd := exec.Command(python, "-c", boto3Script, srv.URL, srv.RegistrationToken(buyer), buyer.CustomerAWSAccountId, fmt.Sprint(lastHour().Unix()))
	cmd.Env = peerEnv(t, "test")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)

	type line struct {
		Name, ID, Code string
		Status         int
		Out            json.RawMessage
	}
	got := map[string]line{}
	for text := range strings.Lines(string(out)) {
		var l line
		require.NoError(t, json.Unmarshal([]byte(text), &l))
		require.NotEmpty(t, l.ID, l.Name)
		got[l.Name] = l
	}
	for name, want := range map[string]string{
		"resolve":        `"CustomerAWSAccountId": "123456789012"`,
		"batch":          `"Status": "Success"`,
		"batch stranger": `"Status": "CustomerNotSubscribed"`,
		"meter":          `"MeteringRecordId": "`,
		"register":       `"Signature": "`,
	} {
		require.Equal(t, 200, got[name].Status, name)
		require.Contains(t, string(got[name].Out), want, name)
	}
	for name, code := range map[string]string{
		"batch sum":        "InvalidUsageAllocationsException",
		"batch not valid":  "ValidationException",
		"batch wrong type": "SerializationException",
		"meter again":      "DuplicateRequestException",
		"meter dry":        "DryRunOperation",
		"wrong secret":     "InvalidSignatureException",
		"wrong region":     "InvalidSignatureException",
	} {
		require.Equal(t, code, got[name].Code, name)
		require.Equal(t, 400, got[name].Status, name)
	}
	require.Len(t, srv.Records(), 2)
	require.Len(t, srv.Records()[0].UsageAllocations, 2)
}

// TestOpenSSL lets openssl verify a signature that was made here.
func TestOpenSSL(t *testing.T) {
	openssl := peer(t, "openssl")
	srv, _ := peerService(t)
	out, err := metering.NewFromConfig(srv.Config()).RegisterUsage(context.Background(), &metering.RegisterUsageRequest{ProductCode: "prod-1", PublicKeyVersion: 1, Nonce: "n-1"})
	require.NoError(t, err)
	signed, signature := cutLast(out.Signature, ".")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	require.NoError(t, err)

	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	verify := func(signature []byte) (string, error) {
		out, err := exec.Command(openssl, "dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest",
			"-verify", file("key.pem", srv.PublicKey("prod-1", 1)), "-signature", file("signature", signature), file("signed", []byte(signed))).CombinedOutput()
		return string(out), err
	}
	text, err := verify(raw)
	require.NoError(t, err, text)
	require.Contains(t, text, "Verified OK")
	raw[len(raw)/2] ^= 1
	_, err = verify(raw)
	require.Error(t, err)
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	return s[:i], s[i+len(sep):]
}

// TestMoto calls moto's server, which knows BatchMeterUsage alone, and no
// licences.
func TestMoto(t *testing.T) {
	moto := peer(t, "moto_server")
	cmd := exec.Command(moto, "-p", "0")
	cmd.Env = peerEnv(t, "test", "PYTHONUNBUFFERED=1")
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	cmd.Stdout = cmd.Stderr
	require.NoError(t, cmd.Start())
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	url := ""
	for lines := bufio.NewScanner(log); url == "" && lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), "Running on "); ok {
			url = strings.TrimSpace(after)
		}
	}
	require.NotEmpty(t, url, "moto_server did not start")

	client := metering.New(metering.Options{
		Region:       "us-east-1",
		BaseEndpoint: url,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
	records := []metering.UsageRecord{
		{Timestamp: lastHour(), CustomerIdentifier: "customer-1", Dimension: "users", Quantity: 12},
		{Timestamp: lastHour(), CustomerIdentifier: "customer-2", Dimension: "users", Quantity: 0},
	}
	out, err := client.BatchMeterUsage(context.Background(), &metering.BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: records})
	require.NoError(t, err)
	require.Empty(t, out.Missing(records))
	for i, result := range out.Results {
		t.Logf("%s %d %s", result.UsageRecord.CustomerIdentifier, result.UsageRecord.Quantity, result.Status)
		require.True(t, records[i].Timestamp.Equal(result.UsageRecord.Timestamp))
		require.Contains(t, []metering.UsageRecordResultStatus{metering.StatusSuccess, metering.StatusCustomerNotSubscribed, metering.StatusDuplicateRecord}, result.Status)
	}
}
