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
// over a real socket; its clients share the machine's cores.
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

// TestMillionRecords accepts a million records with a bound. The race detector
// makes it slow, and its memory is no measure: then it takes fewer.
func TestMillionRecords(t *testing.T) {
	n, most := 1_000_000, uint64(200<<20)
	if raceDetector || testing.Short() {
		n = 50_000
	}
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
	for sent := 0; sent < n; {
		if sent%25_000 == 0 {
			clock = clock.Add(time.Hour)
		}
		buyer := svc.Subscribe("prod-1", fmt.Sprintf("%012d", sent/1000%25))
		var body bytes.Buffer
		for i := range 25 {
			fmt.Fprintf(&body, `,{"Timestamp":%d,"CustomerAWSAccountId":%q,"Dimension":%q,"Quantity":%d}`, clock.Unix(), buyer.CustomerAWSAccountId, dimensions[(sent+i)%1000], i)
		}
		req := signed(t, "http://metering.test", "BatchMeterUsage", `{"ProductCode":"prod-1","UsageRecords":[`+body.String()[1:]+`]}`)
		svc.ServeHTTP(discard{http.Header{}}, req)
		sent += 25
	}
	grown := heap() - before
	require.Len(t, svc.Records(), 1000)
	require.Empty(t, svc.Refused(), "all were accepted")
	t.Logf("%d records: %d MB, %d bytes for each", n, grown>>20, grown/uint64(n))
	require.Less(t, grown, most)
	runtime.KeepAlive(svc)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
