package meteringtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// Hours of a backend that reports every hour, through throttling, an outage, a
// dropped connection and the buyer's last hour, pass in no time.
func TestHoursInNoTime(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.InMemory = true })
		defer srv.Close()
		require.Equal(t, "http://metering.test", srv.URL)
		srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
		buyer := srv.Subscribe("prod-1", account)
		client := metering.NewFromConfig(srv.Config())
		report := func(quantity int32) (metering.UsageRecordResultStatus, error) {
			hour := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
			out, err := client.BatchMeterUsage(t.Context(), &metering.BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: []metering.UsageRecord{
				{Timestamp: hour, CustomerAWSAccountId: buyer.CustomerAWSAccountId, Dimension: "users", Quantity: quantity},
			}})
			if err != nil {
				return "", err
			}
			return out.Results[0].Status, nil
		}
		for hour := range 48 {
			switch hour {
			case 5:
				srv.FailNext(2, "ThrottlingException")
			case 9:
				srv.Inject(meteringtest.Fault{Times: 1, DropAfter: true})
			}
			status, err := report(int32(hour))
			require.NoError(t, err)
			require.Equal(t, metering.StatusSuccess, status)
			time.Sleep(time.Hour) // the bubble's clock
		}
		require.Len(t, srv.Records(), 48)
		require.Equal(t, 48+2+1, srv.RequestCount())

		srv.SetOutage(true)
		_, err := report(1)
		require.ErrorIs(t, err, metering.ErrInternalServiceError)
		srv.SetOutage(false)

		srv.Unsubscribe(buyer)
		time.Sleep(meteringtest.FinalRecords - time.Second)
		status, err := report(1)
		require.NoError(t, err)
		require.Equal(t, metering.StatusSuccess, status)
		time.Sleep(time.Second)
		status, err = report(1)
		require.NoError(t, err)
		require.Equal(t, metering.StatusCustomerNotSubscribed, status)
	})
	require.Less(t, time.Since(began), 10*time.Second)
}

// A client's own errors tell what the service does, with the client's words.
func TestClientSeesCauses(t *testing.T) {
	role := aws.Credentials{AccessKeyID: "ASIAOLD", SecretAccessKey: "s", SessionToken: "t", CanExpire: true, Expires: time.Now().Add(time.Hour)}
	srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.Credentials = []aws.Credentials{role} })
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	call := func(cfg aws.Config) error {
		_, err := metering.NewFromConfig(cfg).RegisterUsage(t.Context(), &metering.RegisterUsageRequest{ProductCode: "prod-1", PublicKeyVersion: 1})
		return err
	}
	require.NoError(t, call(srv.Config()))

	wrong := srv.Config()
	wrong.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		c := role
		c.SecretAccessKey = "wrong"
		return c, nil
	})
	var refusal *metering.Error
	require.ErrorAs(t, call(wrong), &refusal)
	require.Equal(t, "InvalidSignatureException", refusal.Code)

	wrong = srv.Config()
	wrong.Region = "eu-west-1"
	require.ErrorAs(t, call(wrong), &refusal)
	require.Contains(t, refusal.Message, "valid region")

	srv.Advance(time.Hour)
	err := call(srv.Config())
	require.ErrorIs(t, err, metering.ErrExpiredCredentials)
	require.NotErrorIs(t, err, metering.ErrExpiredToken)
}

// 1,000 clients at once, over connections in memory, report the hours of 1,000
// buyers and all of them the same hour of one more.
func TestThousandClients(t *testing.T) { synctest.Test(t, testThousandClients) } // so that retries do not wait

func testThousandClients(t *testing.T) {
	const clients = 1000
	srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.InMemory = true })
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	shared := srv.Subscribe("prod-1", "999999999999").CustomerAWSAccountId
	hour := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	srv.Inject(meteringtest.Fault{Probability: 0.05, DropAfter: true})

	var wg sync.WaitGroup
	var failed, won atomic.Int64
	for i := range clients {
		own := srv.Subscribe("prod-1", fmt.Sprintf("%012d", i)).CustomerAWSAccountId
		wg.Go(func() {
			client := metering.NewFromConfig(srv.Config())
			in := &metering.BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: []metering.UsageRecord{
				{Timestamp: hour, CustomerAWSAccountId: own, Dimension: "users", Quantity: 1},
				{Timestamp: hour, CustomerAWSAccountId: shared, Dimension: "users", Quantity: int32(i)},
			}}
			var out *metering.BatchMeterUsageResult
			err := errors.New("not called")
			for range 5 {
				if out, err = client.BatchMeterUsage(t.Context(), in); err == nil {
					break
				}
			}
			if err != nil || out.Results[0].Status != metering.StatusSuccess {
				failed.Add(1)
				return
			}
			if out.Results[1].Status == metering.StatusSuccess {
				won.Add(1)
			}
			if i%10 == 0 { // each is a copy of the list
				srv.Records()
				srv.Refused()
				srv.Requests()
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed.Load())
	require.Equal(t, int64(1), won.Load(), "the first one wins")
	require.Len(t, srv.Records(), clients+1)
	require.GreaterOrEqual(t, srv.RequestCount(), clients)
}
