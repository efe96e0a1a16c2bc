package meteringtest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// benchService has 25 buyers, and a request with a record for each of them.
func benchService(b *testing.B) (*meteringtest.Server, string) {
	srv := meteringtest.NewServer()
	b.Cleanup(srv.Close)
	srv.AddProduct(meteringtest.Product{ProductCode: "new-1", Dimensions: []string{"users"}, ConcurrentAgreements: true})
	records := make([]object, 25)
	for i := range records {
		buyer := srv.Subscribe("new-1", fmt.Sprintf("%012d", i))
		records[i] = with(record(buyer), "Timestamp", time.Now().Unix())
	}
	return srv, asJSON(b, licensed(records...))
}

// BenchmarkBatchMeterUsage is 25 records a request, the signature verified,
// over a real socket; its clients share the machine's cores. The records are the
// same each time, so that all but the first are looked up and not stored.
func BenchmarkBatchMeterUsage(b *testing.B) {
	srv, body := benchService(b)
	req := signed(b, srv.URL, "BatchMeterUsage", body)
	client := srv.Client()
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Do(again(req, body))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				b.Error(resp.Status, err)
			}
			resp.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkServeHTTP is the same without the network and its client.
func BenchmarkServeHTTP(b *testing.B) {
	srv, body := benchService(b)
	req := signed(b, srv.URL, "BatchMeterUsage", body)
	b.ReportAllocs()
	for b.Loop() {
		srv.ServeHTTP(discard{http.Header{}}, again(req, body))
	}
	require.Empty(b, srv.Requests()[0].Code)
}

// again is the request once more: a signature is good for 5 minutes.
func again(req *http.Request, body string) *http.Request {
	r := *req
	r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
	return &r
}

// TestMemoryPerRecord takes a tenth of BenchmarkMillionRecords, and less under
// the race detector, which makes it slow.
func TestMemoryPerRecord(t *testing.T) {
	n := 100_000
	if raceDetector {
		n = 20_000
	}
	grown := acceptRecords(t, n)
	t.Logf("%d records: %d bytes for each", n, grown/uint64(n))
	require.Less(t, grown/uint64(n), uint64(200))
}

// BenchmarkMillionRecords tells the memory that a service takes which has
// accepted a million records and keeps a thousand.
func BenchmarkMillionRecords(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		grown := acceptRecords(b, n)
		require.Less(b, grown, uint64(200<<20))
		b.ReportMetric(float64(grown)/(1<<20), "MiB")
	}
}

// acceptRecords returns by how many bytes the heap has grown.
func acceptRecords(tb testing.TB, n int) uint64 {
	clock := time.Now()
	svc := meteringtest.NewService(func(o *meteringtest.Options) {
		o.KeepRecords = 1000
		o.Now = func() time.Time { return clock }
	})
	dimensions := make([]string, 1000)
	for i := range dimensions {
		dimensions[i] = fmt.Sprintf("dimension-%03d", i)
	}
	svc.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: dimensions})
	before := heap()
	for sent := 0; sent < n; sent += 25 {
		if sent%25_000 == 0 {
			clock = clock.Add(time.Hour)
		}
		buyer := svc.Subscribe("prod-1", fmt.Sprintf("%012d", sent/1000%25))
		var body bytes.Buffer
		for i := range 25 {
			fmt.Fprintf(&body, `,{"Timestamp":%d,"CustomerAWSAccountId":%q,"Dimension":%q,"Quantity":%d}`, clock.Unix(), buyer.CustomerAWSAccountId, dimensions[(sent+i)%1000], i)
		}
		req := signed(tb, "http://metering.test", "BatchMeterUsage", `{"ProductCode":"prod-1","UsageRecords":[`+body.String()[1:]+`]}`)
		svc.ServeHTTP(discard{http.Header{}}, req)
	}
	grown := heap() - before
	require.Len(tb, svc.Records(), 1000)
	require.Empty(tb, svc.Refused(), "all were accepted")
	runtime.KeepAlive(svc)
	return grown
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
