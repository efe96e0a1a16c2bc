package metering_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// TestAgainstTheService runs the client against the simulated service, which
// reads and writes its JSON by other code, over a real socket.
func TestAgainstTheService(t *testing.T) {
	for name, duplicates := range map[string]bool{"identical is Success": false, "identical is DuplicateRecord": true} {
		t.Run(name, func(t *testing.T) { testAgainstTheService(t, duplicates) })
	}
}

func testAgainstTheService(t *testing.T, duplicates bool) {
	ctx := context.Background()
	now := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)
	hour := now.Truncate(time.Hour).Add(-time.Hour)
	srv := meteringtest.NewServer(func(o *meteringtest.Options) {
		o.Now = func() time.Time { return now }
		o.DuplicateIdentical = duplicates
	})
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users", "GB-hours"}})
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-2", Dimensions: []string{"users"}, ConcurrentAgreements: true})
	buyer, licensee := srv.Subscribe("prod-1", "123456789012"), srv.Subscribe("prod-2", "210987654321")
	client := newClient(srv)

	t.Run("ResolveCustomer", func(t *testing.T) {
		for _, want := range []meteringtest.Buyer{buyer, licensee} {
			token := srv.RegistrationToken(want)
			for range 2 {
				got, err := client.ResolveCustomer(ctx, &metering.ResolveCustomerRequest{RegistrationToken: token})
				require.NoError(t, err)
				require.NotEmpty(t, got.ResponseMetadata.RequestId)
				require.Equal(t, want, meteringtest.Buyer{ProductCode: got.ProductCode, CustomerIdentifier: got.CustomerIdentifier, CustomerAWSAccountId: got.CustomerAWSAccountId, LicenseArn: got.LicenseArn})
			}
		}
		_, err := client.ResolveCustomer(ctx, &metering.ResolveCustomerRequest{RegistrationToken: "unknown"})
		require.ErrorIs(t, err, metering.ErrInvalidToken)
		token := srv.RegistrationToken(buyer)
		now = now.Add(meteringtest.RegistrationTokenLifetime)
		_, err = client.ResolveCustomer(ctx, &metering.ResolveCustomerRequest{RegistrationToken: token})
		now = now.Add(-meteringtest.RegistrationTokenLifetime)
		require.ErrorIs(t, err, metering.ErrExpiredToken)
		require.NotErrorIs(t, err, metering.ErrExpiredCredentials)
	})

	t.Run("BatchMeterUsage", func(t *testing.T) {
		record := metering.UsageRecord{
			Timestamp: hour.Add(time.Minute + 123*time.Millisecond), CustomerAWSAccountId: buyer.CustomerAWSAccountId, Dimension: "users", Quantity: 10,
			UsageAllocations: []metering.UsageAllocation{
				{AllocatedUsageQuantity: 3, Tags: []metering.Tag{{Key: "team", Value: "blue"}, {Key: "env", Value: ""}}},
				{AllocatedUsageQuantity: 7},
			},
		}
		stranger := metering.UsageRecord{Timestamp: hour, CustomerAWSAccountId: "999999999999", Dimension: "users"}
		send := func(records ...metering.UsageRecord) []metering.UsageRecordResult {
			out, err := client.BatchMeterUsage(ctx, &metering.BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: records})
			require.NoError(t, err)
			require.Empty(t, out.UnprocessedRecords)
			require.Empty(t, out.Missing(records))
			for i, result := range out.Results {
				require.Equal(t, records[i], result.UsageRecord, "each record comes back as it was sent")
			}
			return out.Results
		}
		first := send(record, stranger)
		require.Equal(t, metering.StatusSuccess, first[0].Status)
		require.Equal(t, metering.StatusCustomerNotSubscribed, first[1].Status)

		again := send(record)
		require.Equal(t, first[0].MeteringRecordId, again[0].MeteringRecordId)
		if duplicates {
			require.Equal(t, metering.StatusDuplicateRecord, again[0].Status)
		} else {
			require.Equal(t, metering.StatusSuccess, again[0].Status)
		}
		other := record
		other.Quantity, other.UsageAllocations = 11, nil
		require.Equal(t, metering.StatusDuplicateRecord, send(other)[0].Status)

		licensed := metering.UsageRecord{Timestamp: hour, CustomerAWSAccountId: licensee.CustomerAWSAccountId, LicenseArn: licensee.LicenseArn, Dimension: "users", Quantity: 1}
		out, err := client.BatchMeterUsage(ctx, &metering.BatchMeterUsageRequest{UsageRecords: []metering.UsageRecord{licensed}})
		require.NoError(t, err)
		require.Equal(t, metering.StatusSuccess, out.Results[0].Status)

		stored := srv.Records()
		require.Len(t, stored, 2, "what was refused or sent again is not stored")
		require.Equal(t, record.Timestamp, stored[0].Timestamp)
		require.Equal(t, record.Quantity, stored[0].Quantity)
		require.Len(t, stored[0].UsageAllocations, 2)
		require.Equal(t, []meteringtest.Tag{{Key: "team", Value: "blue"}, {Key: "env", Value: ""}}, stored[0].UsageAllocations[0].Tags)
	})

	t.Run("MeterUsage", func(t *testing.T) {
		report := metering.MeterUsageRequest{ProductCode: "prod-1", Timestamp: hour, UsageDimension: "GB-hours", UsageQuantity: 7, ClientToken: metering.NewClientToken()}
		before := len(srv.Records())
		require.NoError(t, client.CanMeter(ctx, &report))
		require.Len(t, srv.Records(), before)
		first, err := client.MeterUsage(ctx, &report)
		require.NoError(t, err)
		again, err := client.MeterUsage(ctx, &report)
		require.NoError(t, err)
		require.Equal(t, first.MeteringRecordId, again.MeteringRecordId)

		report.UsageQuantity = 8
		_, err = client.MeterUsage(ctx, &report)
		require.ErrorIs(t, err, metering.ErrIdempotencyConflict)
		report.ClientToken = ""
		_, err = client.MeterUsage(ctx, &report)
		require.ErrorIs(t, err, metering.ErrDuplicateRequest)
		require.Len(t, srv.Records(), before+1)

		report.Timestamp = now.Add(-7 * time.Hour)
		require.ErrorIs(t, client.CanMeter(ctx, &report), metering.ErrTimestampOutOfBounds)
	})

	t.Run("RegisterUsage", func(t *testing.T) {
		in := &metering.RegisterUsageRequest{ProductCode: "prod-1", PublicKeyVersion: 1, Nonce: "n-1"}
		out, err := client.RegisterUsage(ctx, in)
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(out.Signature, "."), "a JWT")
		require.True(t, out.PublicKeyRotationTimestamp.IsZero())
		_, err = client.RegisterUsage(ctx, &metering.RegisterUsageRequest{ProductCode: "prod-1", PublicKeyVersion: 2})
		require.ErrorIs(t, err, metering.ErrInvalidPublicKeyVersion)
		srv.SetEntitled("prod-1", false)
		_, err = client.RegisterUsage(ctx, in)
		require.ErrorIs(t, err, metering.ErrCustomerNotEntitled)
		srv.SetEntitled("prod-1", true)
	})

	t.Run("faults", func(t *testing.T) {
		in := &metering.BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: []metering.UsageRecord{
			{Timestamp: hour.Add(-time.Hour), CustomerIdentifier: buyer.CustomerIdentifier, Dimension: "users", Quantity: 1},
		}}
		srv.FailNext(1, "ThrottlingException")
		srv.FailNext(1, "InternalServiceErrorException")
		out, err := client.BatchMeterUsage(ctx, in)
		require.NoError(t, err)
		require.Equal(t, 2, out.ResponseMetadata.RetryAttempts)
		requests := srv.Requests()[srv.RequestCount()-3:]
		for i, r := range requests {
			require.Equal(t, i+1, r.Attempt)
			require.Equal(t, requests[0].InvocationId, r.InvocationId)
		}
		srv.FailNext(3, "ThrottlingException")
		_, err = client.BatchMeterUsage(ctx, in)
		require.ErrorIs(t, err, metering.ErrThrottling)
		require.NotErrorIs(t, err, metering.ErrUnconfirmed)
		srv.FailNext(3, "InternalServiceErrorException")
		_, err = client.BatchMeterUsage(ctx, in)
		require.ErrorIs(t, err, metering.ErrInternalServiceError)
		require.ErrorIs(t, err, metering.ErrUnconfirmed)
	})
}

// newClient retries without waiting.
func newClient(srv *meteringtest.Server) *metering.Client {
	return metering.NewFromConfig(srv.Config(), func(o *metering.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	})
}

// manyCalls is how many calls TestEarlyAnswers makes; .ci/run makes 20,000.
var manyCalls = flag.Int("metering.calls", 200, "calls of TestEarlyAnswers")

// TestEarlyAnswers calls a server in another process that answers as soon as
// it has the header of a request. A client that closes the request's body when
// the answer comes loses some of these calls, and more of the large ones.
func TestEarlyAnswers(t *testing.T) {
	url, arrived := startAnsweringProcess(t)
	client := metering.New(metering.Options{
		Region:       "us-east-1",
		BaseEndpoint: url,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	})
	for name, c := range map[string]struct{ calls, allocations int }{
		"12 KB":  {*manyCalls, 2},
		"900 KB": {10, 200},
	} {
		t.Run(name, func(t *testing.T) {
			in := fullRequest(c.allocations)
			before := arrived()
			retries, failures := 0, 0
			for range c.calls {
				out, err := client.BatchMeterUsage(context.Background(), in)
				if err != nil {
					failures++
					t.Log(err)
					continue
				}
				retries += out.ResponseMetadata.RetryAttempts
			}
			requests := arrived() - before
			t.Logf("%d calls: %d retries, %d failures, %d requests arrived", c.calls, retries, failures, requests)
			require.Zero(t, retries)
			require.Zero(t, failures)
			require.Equal(t, c.calls, requests)
		})
	}
}

// fullRequest has 25 records, split over so many allocations of 2 tags.
func fullRequest(allocations int) *metering.BatchMeterUsageRequest {
	in := &metering.BatchMeterUsageRequest{ProductCode: "prod-1"}
	for i := range 25 {
		r := metering.UsageRecord{
			Timestamp:            time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
			CustomerAWSAccountId: fmt.Sprintf("%012d", i),
			Dimension:            "active-users",
			Quantity:             int32(allocations),
		}
		for a := range allocations {
			r.UsageAllocations = append(r.UsageAllocations, metering.UsageAllocation{AllocatedUsageQuantity: 1, Tags: []metering.Tag{
				{Key: "BusinessUnit", Value: fmt.Sprintf("unit-%03d-%032d", i, a)},
				{Key: "Environment", Value: "production-in-the-first-region"},
			}})
		}
		in.UsageRecords = append(in.UsageRecords, r)
	}
	return in
}

// startAnsweringProcess runs this test's program again, as a server that
// answers as soon as it has a request's header.
func startAnsweringProcess(t *testing.T) (url string, arrived func() int) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), answeringProcess+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	_, err = fmt.Fscanln(out, &url)
	require.NoError(t, err)
	return url, func() (n int) {
		resp, err := http.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&n))
		return n
	}
}

const answeringProcess = "METERING_TEST_ANSWERING_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(answeringProcess) != "" {
		answerAll()
	}
	for _, setting := range os.Environ() { // not this machine's configuration
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

func answerAll() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("http://" + listener.Addr().String())
	results := make([]map[string]any, 25)
	for i, r := range fullRequest(2).UsageRecords { // about 14 KB, as an answer is
		results[i] = map[string]any{"Status": "Success", "MeteringRecordId": "35155d37-56cb-423f-8554-5c4f3e3ff56d", "UsageRecord": map[string]any{
			"Timestamp": r.Timestamp.Unix(), "Dimension": r.Dimension, "UsageAllocations": r.UsageAllocations,
		}}
	}
	body, _ := json.Marshal(map[string]any{"Results": results})
	var posts atomic.Int64
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, posts.Load())
			return
		}
		posts.Add(1)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Header().Set("X-Amzn-RequestId", "request-1")
		io.Copy(w, bytes.NewReader(body))
		w.(http.Flusher).Flush()
		io.Copy(io.Discard, r.Body) // only now
	}))
}
