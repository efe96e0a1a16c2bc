package meteringtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

func TestMaxBatchBytes(t *testing.T) {
	s := newService(t, func(o *meteringtest.Options) { o.MaxBatchBytes = 1 << 20 })
	in := asJSON(t, batch(record(s.Subscribe("prod-1", account))))
	size := func(n int) string { return in + strings.Repeat(" ", n-len(in)) }
	require.Equal(t, 200, s.do("BatchMeterUsage", size(1<<20-1), nil).status)
	require.Equal(t, "com.amazon.coral.validate#ValidationException", s.do("BatchMeterUsage", size(1<<20), nil).code())
}

func TestRegistrationTokenOptions(t *testing.T) {
	s := newService(t, func(o *meteringtest.Options) { o.RegistrationTokenOnce = true })
	in := object{"RegistrationToken": s.RegistrationToken(s.Subscribe("prod-1", account))}
	require.Equal(t, account, s.call("ResolveCustomer", in).json["CustomerAWSAccountId"])
	s.refused("ExpiredTokenException", "ResolveCustomer", in)

	s = newService(t, func(o *meteringtest.Options) { o.RegistrationTokenLifetime = time.Hour })
	in = object{"RegistrationToken": s.RegistrationToken(s.Subscribe("prod-1", account))}
	s.clock.Advance(time.Hour - time.Second)
	require.Equal(t, 200, s.call("ResolveCustomer", in).status)
	s.clock.Advance(time.Second)
	s.refused("ExpiredTokenException", "ResolveCustomer", in)
}

func twoAccounts(o *meteringtest.Options) {
	o.Credentials = []aws.Credentials{
		{AccessKeyID: "pod-1", SecretAccessKey: "s", AccountID: "111111111111"},
		{AccessKeyID: "pod-2", SecretAccessKey: "s", AccountID: "222222222222"},
	}
}

func TestSellerAccount(t *testing.T) {
	s := newService(t, twoAccounts)
	s.AddProduct(meteringtest.Product{ProductCode: "own-1", SellerAccountID: "111111111111", Dimensions: []string{"users"}})
	buyer := s.Subscribe("own-1", account)
	resolve := object{"RegistrationToken": s.RegistrationToken(buyer)}
	usage := with(batch(record(buyer)), "ProductCode", "own-1")
	require.Equal(t, "com.amazonaws.marketplacemetering#InvalidTokenException", s.as("pod-2", "ResolveCustomer", resolve).code())
	require.Equal(t, "com.amazonaws.marketplacemetering#InvalidProductCodeException", s.as("pod-2", "BatchMeterUsage", usage).code())
	require.Empty(t, s.Records())
	require.Equal(t, 200, s.as("pod-1", "ResolveCustomer", resolve).status)
	require.Equal(t, 200, s.as("pod-1", "BatchMeterUsage", usage).status)
	require.Len(t, s.Records(), 1)
}

// TestClientTokenOfAnotherAccount: a token means nothing outside its account.
func TestClientTokenOfAnotherAccount(t *testing.T) {
	s := newService(t, twoAccounts)
	in := with(usage(), "ClientToken", "t-1")
	first, other := s.as("pod-1", "MeterUsage", in), s.as("pod-2", "MeterUsage", in)
	require.Equal(t, 200, first.status)
	require.Equal(t, 200, other.status)
	require.NotEqual(t, first.json, other.json)
	require.Len(t, s.Records(), 2)
}

// TestClientTokenAfterTheWindow: the answer to a call that was made in time is
// given again when its hour is closed.
func TestClientTokenAfterTheWindow(t *testing.T) {
	s := newService(t)
	in := with(usage(), "ClientToken", "t-1")
	id := s.meter(in)
	s.clock.Advance(24 * time.Hour)
	require.Equal(t, id, s.meter(in))
	s.refused("TimestampOutOfBoundsException", "MeterUsage", with(usage(), "ClientToken", "t-2"))
}

func TestFaultEnds(t *testing.T) {
	s := newService(t)
	end := s.Inject(meteringtest.Fault{Code: "ThrottlingException"})
	for range 3 {
		s.refused("ThrottlingException", "MeterUsage", usage())
	}
	end()
	s.meter(usage())
	end()
	require.Panics(t, func() { s.Inject(meteringtest.Fault{Code: "X", DropAfter: true}) })
}

func TestFaultsAddUp(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	s.Inject(meteringtest.Fault{Times: 1, OmitSuccess: 1})
	s.Inject(meteringtest.Fault{Times: 1, OmitSuccess: 1, Unprocessed: 1})
	var records []object
	for i := range 4 {
		records = append(records, with(record(buyer), "Timestamp", start.Add(-time.Duration(i)*time.Hour).Unix()))
	}
	a := s.call("BatchMeterUsage", batch(records...))
	require.Len(t, a.json["Results"], 1)
	require.Len(t, a.json["UnprocessedRecords"], 1)
	require.Len(t, s.Records(), 3)
}

// TestListsAreCopies: what a test keeps does not change under it.
func TestListsAreCopies(t *testing.T) {
	s := newService(t, func(o *meteringtest.Options) { o.KeepRecords = 2 })
	buyer := s.Subscribe("prod-1", account)
	report := func(i int) {
		s.call("BatchMeterUsage", batch(with(record(buyer), "Timestamp", start.Add(-time.Duration(i)*time.Hour).Unix())))
	}
	report(0)
	report(1)
	kept := s.Records()
	first := kept[0]
	for i := 2; i < 12; i++ {
		report(i)
	}
	require.Equal(t, first, kept[0])
	require.Len(t, s.Records(), 2)
}

func TestDryRunIsNotRefused(t *testing.T) {
	s := newService(t)
	s.refused("DryRunOperation", "MeterUsage", with(usage(), "DryRun", true))
	require.Empty(t, s.Refused())
	s.SetPermitted("MeterUsage", false)
	s.refused("UnauthorizedException", "MeterUsage", with(usage(), "DryRun", true))
	require.Len(t, s.Refused(), 1)
}

func TestOfferedAgain(t *testing.T) {
	s := newService(t)
	in := object{"RegistrationToken": s.RegistrationToken(s.Subscribe("prod-1", account))}
	s.SetOffered("ResolveCustomer", false)
	s.refused("DisabledApiException", "ResolveCustomer", in)
	s.SetOffered("ResolveCustomer", true)
	require.Equal(t, 200, s.call("ResolveCustomer", in).status)
}

func TestNilBody(t *testing.T) {
	s := newService(t)
	req, err := http.NewRequest(http.MethodPost, "http://metering.test/", nil)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	require.Equal(t, http.StatusNotFound, w.Code)
}

// TestTooManyRecords: they are counted, not read.
func TestTooManyRecords(t *testing.T) {
	s := newService(t)
	a := s.do("BatchMeterUsage", `{"ProductCode":"prod-1","UsageRecords":[`+strings.Repeat("{},", 300_000)+`{}]}`, nil)
	require.Contains(t, a.json["message"], "1 validation error detected: Value at 'usageRecords'")
}

// TestCloseWaits: work that was begun is done, or not, when Close returns.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.InMemory = true })
		srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
		srv.Inject(meteringtest.Fault{Latency: time.Hour})
		client := metering.NewFromConfig(srv.Config(), func(o *metering.Options) { o.Retryer = aws.NopRetryer{} })
		failed := make(chan error)
		go func() {
			_, err := client.MeterUsage(t.Context(), &metering.MeterUsageRequest{ProductCode: "prod-1", Timestamp: time.Now(), UsageDimension: "users"})
			failed <- err
		}()
		synctest.Wait()
		srv.Close()
		require.Len(t, srv.Records(), 1)
		require.ErrorIs(t, <-failed, metering.ErrUnconfirmed)
	})
}

// TestClientTokenLength: it is counted in characters, not bytes.
func TestClientTokenLength(t *testing.T) {
	s := newService(t)
	s.meter(with(usage(), "ClientToken", strings.Repeat("ü", 64)))
	s.invalid("'clientToken'", "MeterUsage", with(usage(), "ClientToken", strings.Repeat("ü", 65)))
}

func TestDropAfterRefusal(t *testing.T) {
	s := newService(t)
	s.Inject(meteringtest.Fault{Times: 1, DropAfter: true})
	_, _, err := s.attempt(batch(with(record(s.Subscribe("prod-1", account)), "Dimension", "seats")))
	require.Error(t, err, "what would have been refused is dropped too")
	require.Empty(t, s.Records())
}
