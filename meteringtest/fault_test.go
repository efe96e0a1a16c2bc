package meteringtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// attempt sends a request for a record of its own hour and tells what arrived.
func (s *service) attempt(in object) (status int, body string, err error) {
	s.t.Helper()
	req := signed(s.t, s.URL, "BatchMeterUsage", asJSON(s.t, in))
	resp, err := s.Client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestFaultAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  meteringtest.Fault
		status int
		body   string
		billed int
		failed bool // the caller has no whole answer
		logged meteringtest.Request
	}{
		"code":            {meteringtest.Fault{Code: "ThrottlingException"}, 400, `{"__type":"com.amazonaws.marketplacemetering#ThrottlingException","message":"The test asked for this error."}`, 0, false, meteringtest.Request{Status: 400, Code: "ThrottlingException"}},
		"code and status": {meteringtest.Fault{Code: "SlowDown", Status: 503}, 503, `{"__type":"com.amazonaws.marketplacemetering#SlowDown","message":"The test asked for this error."}`, 0, false, meteringtest.Request{Status: 503, Code: "SlowDown"}},
		"front end's":     {meteringtest.Fault{Code: "ServiceUnavailable"}, 503, `{"__type":"com.amazon.coral.service#ServiceUnavailable","message":"The test asked for this error."}`, 0, false, meteringtest.Request{Status: 503, Code: "ServiceUnavailable"}},
		"namespace":       {meteringtest.Fault{Code: "com.amazon.coral.service#ExpiredTokenException"}, 400, `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The test asked for this error."}`, 0, false, meteringtest.Request{Status: 400, Code: "ExpiredTokenException"}},
		"page":            {meteringtest.Fault{Status: 502, Body: "<html>bad gateway"}, 502, "<html>bad gateway", 0, false, meteringtest.Request{Status: 502}},
		"status":          {meteringtest.Fault{Status: 503}, 503, "", 0, false, meteringtest.Request{Status: 503}},
		"body":            {meteringtest.Fault{Body: "{}"}, 200, "{}", 0, false, meteringtest.Request{Status: 200}},
		"dropped before":  {meteringtest.Fault{DropBefore: true}, 0, "", 0, true, meteringtest.Request{}},
		"dropped after":   {meteringtest.Fault{DropAfter: true}, 0, "", 1, true, meteringtest.Request{}},
		"cut":             {meteringtest.Fault{CutBody: 12}, 200, `{"Results":[`, 1, true, meteringtest.Request{Status: 200}},
		"cut error":       {meteringtest.Fault{Code: "X", CutBody: 9}, 400, `{"__type"`, 0, true, meteringtest.Request{Status: 400, Code: "X"}},
		"cut after all":   {meteringtest.Fault{Body: "{}", CutBody: 2}, 200, "{}", 0, false, meteringtest.Request{Status: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			in := batch(record(s.Subscribe("prod-1", account)))
			tc.fault.Times = 1
			s.Inject(tc.fault)
			status, body, err := s.attempt(in)
			require.Equal(t, tc.failed, err != nil, err)
			require.Equal(t, tc.status, status)
			require.Equal(t, tc.body, body)
			require.Len(t, s.Records(), tc.billed)
			require.Equal(t, 1, s.RequestCount(), "nothing below the caller repeats a request")
			logged := s.Requests()[0]
			require.Equal(t, tc.logged, meteringtest.Request{Status: logged.Status, Code: logged.Code})

			require.Equal(t, "Success", s.status(in), "once only")
			require.Len(t, s.Records(), 1)
		})
	}
}

func TestFaultOmitsAndLeavesUnprocessed(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	one, two := record(buyer), with(record(buyer), "Dimension", "GB")
	three := with(record(buyer), "Timestamp", start.Unix())
	stranger := with(record(buyer), "CustomerAWSAccountId", "999999999999")

	s.Inject(meteringtest.Fault{Times: 1, Unprocessed: 1})
	s.Inject(meteringtest.Fault{Times: 1, OmitSuccess: 1})
	a := s.call("BatchMeterUsage", batch(one, stranger, two, three))
	require.Len(t, a.json["UnprocessedRecords"], 1)
	require.Equal(t, one["Quantity"], int(a.json["UnprocessedRecords"].(list)[0].(object)["Quantity"].(float64)))
	require.Len(t, a.json["Results"], 2)
	require.Len(t, s.Records(), 2, "two and three, though two is missing from the answer")
	require.Equal(t, "GB", s.Records()[0].Dimension)
	require.Len(t, s.Refused(), 1)

	require.Equal(t, "Success", s.status(batch(one)), "unprocessed records can be sent again")
	s.Inject(meteringtest.Fault{Times: 1, Unprocessed: 100, OmitSuccess: 100})
	a = s.call("BatchMeterUsage", batch(one))
	require.Len(t, a.json["UnprocessedRecords"], 1)
	s.Inject(meteringtest.Fault{Times: 1, Unprocessed: 1})
	s.refused("InvalidUsageDimensionException", "BatchMeterUsage", batch(with(one, "Dimension", "seats")))
}

func TestFaultsCombine(t *testing.T) {
	s := newService(t)
	in := batch(record(s.Subscribe("prod-1", account)))
	codes := func(n int) (out []string) {
		for range n {
			a := s.call("BatchMeterUsage", in)
			_, code, _ := strings.Cut(a.code(), "#")
			out = append(out, code)
		}
		return out
	}
	s.Inject(meteringtest.Fault{Operation: "MeterUsage", Code: "Other"}) // for ever, but not for these
	s.Inject(meteringtest.Fault{Times: 2, OmitSuccess: 1})               // decides nothing, so later ones are looked at
	s.FailNext(2, "First")
	s.FailNext(1, "Second")
	require.Equal(t, []string{"First", "First", "Second", ""}, codes(4))
	require.Len(t, s.call("BatchMeterUsage", in).json["Results"], 1, "the omission was for the first two")
	for range 3 {
		require.Equal(t, "com.amazonaws.marketplacemetering#Other", s.call("MeterUsage", usage()).code())
	}
}

func TestFaultProbability(t *testing.T) {
	draw := func(seed uint64) (hits []bool) {
		s := newService(t, func(o *meteringtest.Options) { o.Seed = seed })
		s.Inject(meteringtest.Fault{Times: 300, Probability: 0.3, Code: "Drawn"})
		for range 400 {
			a := s.call("BatchMeterUsage", batch([]object{}...))
			hits = append(hits, a.status == 400)
		}
		return hits
	}
	first := draw(1)
	n := 0
	for i, hit := range first {
		if hit {
			n++
			require.Less(t, i, 300, "the fault has looked at its requests")
		}
	}
	require.InDelta(t, 90, n, 30)
	require.Equal(t, first, draw(1), "the same seed, the same draws")
	require.NotEqual(t, first, draw(2))
}

func TestFaultLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.InMemory = true })
		defer srv.Close()
		srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
		buyer := srv.Subscribe("prod-1", account)
		srv.Inject(meteringtest.Fault{Latency: 20 * time.Minute})
		srv.Inject(meteringtest.Fault{Latency: 10 * time.Minute})
		in := asJSON(t, batch(with(record(buyer), "Timestamp", time.Now().Unix())))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := srv.Client().Do(signed(t, srv.URL, "BatchMeterUsage", in).WithContext(ctx))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		require.Len(t, srv.Records(), 1, "the work is done, though nobody waits")

		began := time.Now()
		resp, err := srv.Client().Do(signed(t, srv.URL, "BatchMeterUsage", in))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 30*time.Minute, time.Since(began), "latencies add up")
	})
}

// Without a server around it the service can only panic as net/http asks for.
func TestFaultInProcess(t *testing.T) {
	svc := meteringtest.NewService()
	svc.Inject(meteringtest.Fault{DropBefore: true})
	defer func() {
		err, _ := recover().(error)
		require.True(t, errors.Is(err, http.ErrAbortHandler))
		require.Equal(t, 1, svc.RequestCount())
	}()
	svc.ServeHTTP(httptest.NewRecorder(), signed(t, "http://metering.test", "MeterUsage", "{}"))
}
