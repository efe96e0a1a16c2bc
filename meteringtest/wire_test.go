package meteringtest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProtocol(t *testing.T) {
	s := newService(t)
	const ok = `{"ProductCode":"prod-1","UsageRecords":[]}`
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	const (
		unknown   = "com.amazon.coral.service#UnknownOperationException"
		malformed = "com.amazon.coral.service#SerializationException"
		tooLarge  = "com.amazon.coral.service#RequestEntityTooLargeException"
		invalid   = "com.amazon.coral.validate#ValidationException"
	)
	for name, tc := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		code   string
	}{
		"as it should be":         {ok, nil, 200, ""},
		"charset":                 {ok, header("Content-Type", "application/x-amz-json-1.1; charset=utf-8"), 200, ""},
		"unknown members":         {`{"ProductCode":"prod-1","UsageRecords":[],"Later":{"a":[1]}}`, nil, 200, ""},
		"null is absent":          {`{"ProductCode":"prod-1","UsageRecords":null}`, nil, 400, invalid},
		"wrong method":            {"", func(r *http.Request) { r.Method = http.MethodGet }, 404, unknown},
		"wrong path":              {ok, func(r *http.Request) { r.URL.Path = "/meter" }, 404, unknown},
		"wrong content type":      {ok, header("Content-Type", "application/json"), 404, unknown},
		"JSON 1.0":                {ok, header("Content-Type", "application/x-amz-json-1.0"), 404, unknown},
		"no target":               {ok, func(r *http.Request) { r.Header.Del("X-Amz-Target") }, 400, unknown},
		"unknown operation":       {ok, header("X-Amz-Target", "AWSMPMeteringService.GetUsage"), 400, unknown},
		"target without service":  {ok, header("X-Amz-Target", "BatchMeterUsage"), 400, unknown},
		"target of other service": {ok, header("X-Amz-Target", "Other.BatchMeterUsage"), 400, unknown},
		"empty body":              {"", nil, 400, malformed},
		"not JSON":                {"<html>", nil, 400, malformed},
		"cut short":               {ok[:len(ok)-1], nil, 400, malformed},
		"more bytes":              {ok + "{}", nil, 400, malformed},
		"list":                    {"[]", nil, 400, malformed},
		"null":                    {"null", nil, 400, malformed},
		"invalid UTF-8":           {"{\"ProductCode\":\"prod-\xff\",\"UsageRecords\":[]}", nil, 400, malformed},
		"deep nesting":            {strings.Repeat("[", 20_000), nil, 400, malformed},
		"number for string":       {`{"ProductCode":1,"UsageRecords":[]}`, nil, 400, malformed},
		"structure for list":      {`{"ProductCode":"prod-1","UsageRecords":{}}`, nil, 400, malformed},
		"string for structure":    {`{"ProductCode":"prod-1","UsageRecords":["a"]}`, nil, 400, malformed},
		"string for timestamp":    {`{"ProductCode":"prod-1","UsageRecords":[{"Timestamp":"2026-11-23T10:00:00Z"}]}`, nil, 400, malformed},
		"timestamp out of range":  {`{"ProductCode":"prod-1","UsageRecords":[{"Timestamp":1e400}]}`, nil, 400, malformed},
		"milliseconds":            {`{"ProductCode":"prod-1","UsageRecords":[{"Timestamp":1795428000000}]}`, nil, 400, malformed},
		"string for integer":      {`{"ProductCode":"prod-1","UsageRecords":[{"Quantity":"1"}]}`, nil, 400, malformed},
		"fraction for integer":    {`{"ProductCode":"prod-1","UsageRecords":[{"Quantity":1.5}]}`, nil, 400, malformed},
		"more than 32 bits":       {`{"ProductCode":"prod-1","UsageRecords":[{"Quantity":2147483648}]}`, nil, 400, malformed},
		"member in lower case":    {`{"productCode":"prod-1","usageRecords":[]}`, nil, 400, invalid},
		"null record":             {`{"ProductCode":"prod-1","UsageRecords":[null]}`, nil, 400, invalid},
		"just under 1 MB":         {padded(ok, 999_999), nil, 200, ""},
		"1 MB":                    {padded(ok, 1_000_000), nil, 400, invalid},
		"far over 1 MiB":          {padded(ok, 4<<20), nil, 413, tooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{s.Server, t, s.clock}
			a := s.do("BatchMeterUsage", tc.body, tc.change)
			require.Equal(t, tc.status, a.status, a.body)
			require.Equal(t, tc.code, a.code(), a.body)
			require.Equal(t, "application/x-amz-json-1.1", a.header.Get("Content-Type"))
			require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, a.header.Get("X-Amzn-RequestId"))
			date, err := http.ParseTime(a.header.Get("Date"))
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), date, time.Minute, "the clock that signatures are held against")
			if tc.code != "" {
				require.NotEmpty(t, a.json["message"])
			}
		})
	}
	require.Empty(t, s.Records())
}

// padded returns a JSON object with spaces added up to n bytes.
func padded(object string, n int) string {
	return object + strings.Repeat(" ", n-len(object))
}

func TestRequestIdsDiffer(t *testing.T) {
	s := newService(t)
	first, second := s.do("MeterUsage", "{}", nil), s.do("MeterUsage", "{}", nil)
	require.NotEqual(t, first.header.Get("X-Amzn-RequestId"), second.header.Get("X-Amzn-RequestId"))
}

func TestValidationNamesEveryViolation(t *testing.T) {
	s := newService(t)
	s.invalid("2 validation errors detected: Value null at 'productCode' failed to satisfy constraint: Member must not be null; Value null at 'publicKeyVersion'", "RegisterUsage", object{})
	many := make(list, 25)
	for i := range many {
		many[i] = object{}
	}
	a := s.call("BatchMeterUsage", object{"ProductCode": "prod-1", "UsageRecords": many})
	require.Contains(t, a.json["message"], "50 validation errors detected")
	require.Less(t, len(a.body), 2000, "but lists only some")
}
