package meteringtest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
)

// reportUsers is the code under test: it reports the users of the last whole
// hour, and is not satisfied before AWS has taken the record.
func reportUsers(ctx context.Context, client *metering.Client, account string, users int32) error {
	in := &metering.BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: []metering.UsageRecord{{
		Timestamp:            time.Now().UTC().Truncate(time.Hour).Add(-time.Hour),
		CustomerAWSAccountId: account,
		Dimension:            "users",
		Quantity:             users,
	}}}
	for {
		out, err := client.BatchMeterUsage(ctx, in)
		switch {
		case err == nil && len(out.Results) == 1 && out.Results[0].Status == metering.StatusSuccess:
			return nil
		case err == nil && len(out.Results) == 1:
			return fmt.Errorf("not billed: %s", out.Results[0].Status)
		case err != nil && !errors.Is(err, metering.ErrThrottling) && !errors.Is(err, metering.ErrUnconfirmed):
			return err
		}
		select {
		case <-time.After(time.Minute): // the same record again is safe
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestReportUsers is all that a seller writes to test it. It takes
// milliseconds, though a quarter of an hour passes in it.
func TestReportUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.InMemory = true })
		defer srv.Close()
		srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
		buyer := srv.Subscribe("prod-1", "123456789012")
		client := metering.NewFromConfig(srv.Config())

		// The connection breaks after AWS has billed, and AWS throttles for a while.
		srv.Inject(meteringtest.Fault{Times: 1, DropAfter: true})
		srv.FailNext(30, "ThrottlingException")
		if err := reportUsers(t.Context(), client, buyer.CustomerAWSAccountId, 12); err != nil {
			t.Fatal(err)
		}
		if billed := srv.Records(); len(billed) != 1 || billed[0].Quantity != 12 {
			t.Errorf("billed %+v", billed)
		}

		// Another quantity for the same hour is not billed, and has to be told.
		if err := reportUsers(t.Context(), client, buyer.CustomerAWSAccountId, 13); err == nil {
			t.Error("a record that AWS refused was taken for billed")
		}
	})
}

// The same over a socket, where any AWS client can be pointed at srv.URL.
func Example() {
	srv := meteringtest.NewServer()
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	buyer := srv.Subscribe("prod-1", "123456789012")
	client := metering.NewFromConfig(srv.Config())

	srv.FailNext(1, "ThrottlingException") // the client retries
	fmt.Println(reportUsers(context.Background(), client, buyer.CustomerAWSAccountId, 12))
	fmt.Println(reportUsers(context.Background(), client, buyer.CustomerAWSAccountId, 13))
	fmt.Println(reportUsers(context.Background(), client, "999999999999", 1))

	for _, r := range srv.Records() {
		fmt.Println("billed:", r.CustomerAWSAccountId, r.Dimension, r.Quantity)
	}
	for _, r := range srv.Refused() {
		fmt.Println("refused:", r.Reason, r.Record.Quantity)
	}
	// Output:
	// <nil>
	// not billed: DuplicateRecord
	// not billed: CustomerNotSubscribed
	// billed: 123456789012 users 12
	// refused: ThrottlingException 0
	// refused: DuplicateRecord 13
	// refused: CustomerNotSubscribed 1
}
