package meteringtest_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

func TestSigV4(t *testing.T) {
	const (
		ok          = ""
		missing     = "MissingAuthenticationTokenException"
		incomplete  = "IncompleteSignatureException"
		unknown     = "UnrecognizedClientException"
		invalid     = "InvalidSignatureException"
		expired     = "ExpiredTokenException"
		noMatch     = "The request signature we calculated does not match the signature you provided."
		body        = `{"ProductCode":"prod-1","UsageRecords":[]}`
		secret      = "a secret that no message repeats"
		token       = "a token that no message repeats"
		otherSecret = "another secret"
	)
	keys := aws.Credentials{AccessKeyID: "AKIDLONG", SecretAccessKey: secret}
	role := aws.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: secret, SessionToken: token}
	old := aws.Credentials{AccessKeyID: "ASIAOLD", SecretAccessKey: secret, SessionToken: token, CanExpire: true, Expires: start}
	young := old
	young.AccessKeyID, young.Expires = "ASIAYOUNG", start.Add(time.Second)
	s := newService(t, func(o *meteringtest.Options) {
		o.Region = "eu-west-1"
		o.Credentials = []aws.Credentials{keys, role, old, young}
	})

	type signature struct {
		creds           aws.Credentials
		service, region string
		at              time.Time
	}
	good := signature{keys, "aws-marketplace", "eu-west-1", time.Now()}
	by := func(creds aws.Credentials) signature {
		g := good
		g.creds = creds
		return g
	}
	at := func(d time.Duration) signature {
		g := good
		g.at = g.at.Add(d)
		return g
	}
	edit := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			h := r.Header.Get("Authorization")
			require.Contains(t, h, old)
			r.Header.Set("Authorization", strings.Replace(h, old, new, 1))
		}
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, tc := range map[string]struct {
		sign          signature
		before, after func(*http.Request) // of signing
		code, message string
	}{
		"as it should be":        {good, nil, nil, ok, ""},
		"session token":          {by(role), nil, nil, ok, ""},
		"not yet expired":        {by(young), nil, nil, ok, ""},
		"query":                  {good, func(r *http.Request) { r.URL.RawQuery = "b=1&a=x+y%2F~&a=" }, nil, ok, ""},
		"spaces in a header":     {good, set("X-Amz-Meta", " a   b "), nil, ok, ""},
		"repeated header":        {good, func(r *http.Request) { r.Header["X-Amz-Meta"] = []string{"a", "b"} }, nil, ok, ""},
		"content hash":           {good, set("X-Amz-Content-Sha256", "52d9160e7957553150b7c7480852f376d1b8a2d45eb218523557a29d49a76318"), nil, ok, ""},
		"other content hash":     {good, set("X-Amz-Content-Sha256", strings.Repeat("0", 64)), nil, invalid, noMatch},
		"nearly 5 minutes late":  {at(-5*time.Minute + 10*time.Second), nil, nil, ok, ""},
		"nearly 5 minutes early": {at(5*time.Minute - 10*time.Second), nil, nil, ok, ""},
		"header not for AWS":     {good, nil, set("X-Forwarded-For", "192.0.2.1"), ok, ""},
		"trace header":           {good, nil, set("X-Amzn-Trace-Id", "Root=1"), ok, ""},
		"no header":              {good, nil, func(r *http.Request) { r.Header.Del("Authorization") }, missing, "Request is missing Authentication Token"},
		"basic auth":             {good, nil, set("Authorization", "Basic dGVzdA=="), incomplete, "requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."},
		"other algorithm":        {good, nil, edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), incomplete, "requires 'Credential'"},
		"no credential":          {good, nil, edit("Credential=", "Cred="), incomplete, "requires 'Credential' parameter."},
		"no signed headers":      {good, nil, edit("SignedHeaders=", "Signed="), incomplete, "requires 'SignedHeaders' parameter."},
		"no signature":           {good, nil, edit("Signature=", "Sig="), incomplete, "requires 'Signature' parameter."},
		"not key=value":          {good, nil, edit("Signature=", "Signature "), incomplete, "key=value"},
		"part twice":             {good, nil, edit("Signature=", "Credential=a, Signature="), incomplete, "twice"},
		"headers not sorted":     {good, nil, edit("SignedHeaders=content", "SignedHeaders=x-amz-date;content"), incomplete, "sorted"},
		"headers repeated":       {good, nil, edit(";host;", ";host;host;"), incomplete, "each once"},
		"headers in capitals":    {good, nil, edit(";host;", ";Host;"), incomplete, "lowercase"},
		"two headers":            {good, nil, func(r *http.Request) { r.Header.Add("Authorization", "x") }, incomplete, "incomplete"},
		"short scope":            {good, nil, edit("/aws4_request", ""), incomplete, "5 slash-delimited elements"},
		"no date":                {good, nil, func(r *http.Request) { r.Header.Del("X-Amz-Date") }, incomplete, "'X-Amz-Date' or a 'Date'"},
		"date in words":          {good, nil, set("X-Amz-Date", "today"), incomplete, "ISO-8601"},
		"Date in its place": {good, nil, func(r *http.Request) {
			r.Header.Del("X-Amz-Date")
			r.Header.Set("Date", good.at.UTC().Format(http.TimeFormat))
		}, invalid, "'Date' must be a 'SignedHeader'"},
		"unknown access key":  {by(aws.Credentials{AccessKeyID: "AKIDWHO", SecretAccessKey: secret}), nil, nil, unknown, "The security token included in the request is invalid"},
		"no session token":    {by(aws.Credentials{AccessKeyID: role.AccessKeyID, SecretAccessKey: secret}), nil, nil, unknown, "is invalid"},
		"wrong session token": {by(aws.Credentials{AccessKeyID: role.AccessKeyID, SecretAccessKey: secret, SessionToken: "t"}), nil, nil, unknown, "is invalid"},
		"stray session token": {by(aws.Credentials{AccessKeyID: keys.AccessKeyID, SecretAccessKey: secret, SessionToken: token}), nil, nil, unknown, "is invalid"},
		"expired credentials": {by(old), nil, nil, expired, "The security token included in the request is expired"},
		"wrong secret":        {by(aws.Credentials{AccessKeyID: keys.AccessKeyID, SecretAccessKey: otherSecret}), nil, nil, invalid, noMatch},
		"changed body": {good, nil, func(r *http.Request) {
			changed := strings.Replace(body, "prod-1", "prod-2", 1)
			r.Body = io.NopCloser(strings.NewReader(changed))
			r.GetBody = nil
		}, invalid, noMatch},
		"changed header":       {good, set("X-Amz-Meta", "a"), set("X-Amz-Meta", "b"), invalid, noMatch},
		"lost header":          {good, set("X-Amz-Meta", "a"), func(r *http.Request) { r.Header.Del("X-Amz-Meta") }, invalid, noMatch},
		"changed operation":    {good, nil, set("X-Amz-Target", "AWSMPMeteringService.MeterUsage"), invalid, noMatch},
		"changed content type": {good, nil, set("Content-Type", "application/x-amz-json-1.1; charset=utf-8"), invalid, noMatch},
		"changed host":         {good, nil, func(r *http.Request) { r.Host = "elsewhere.test" }, invalid, noMatch},
		"changed query":        {good, nil, func(r *http.Request) { r.URL.RawQuery = "a=1" }, invalid, noMatch},
		"changed date":         {good, nil, set("X-Amz-Date", good.at.Add(-2*time.Second).UTC().Format("20060102T150405Z")), invalid, ""},
		"changed signature":    {good, nil, edit("Signature=", "Signature=0"), invalid, noMatch},
		"wrong Region":         {signature{keys, "aws-marketplace", "us-east-1", good.at}, nil, nil, invalid, "Credential should be scoped to a valid region."},
		"wrong service":        {signature{keys, "s3", "eu-west-1", good.at}, nil, nil, invalid, "Credential should be scoped to correct service: 'aws-marketplace'."},
		"wrong terminator":     {good, nil, edit("/aws4_request", "/aws3_request"), invalid, "valid terminator"},
		"scope of another day": {good, nil, edit("/"+good.at.UTC().Format("20060102"), "/20200101"), invalid, "Date in Credential scope"},
		"stale":                {at(-6 * time.Minute), nil, nil, invalid, "Signature expired: " + good.at.Add(-6*time.Minute).UTC().Format("20060102T150405Z") + " is now earlier than "},
		"early":                {at(6 * time.Minute), nil, nil, invalid, "Signature not yet current: "},
		"host not signed":      {good, nil, edit("host;", ""), invalid, "'Host' must be a 'SignedHeader'"},
		"date not signed":      {good, nil, edit(";x-amz-date", ""), invalid, "'X-Amz-Date' must be a 'SignedHeader'"},
		"target not signed":    {good, nil, edit(";x-amz-target", ""), invalid, "'X-Amz-Target' must be a 'SignedHeader'"},
		"header added":         {good, nil, set("X-Amz-Meta", "a"), invalid, "'X-Amz-Meta' must be a 'SignedHeader'"},
		"content hash added":   {good, nil, set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), invalid, "'X-Amz-Content-Sha256' must be a 'SignedHeader'"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{s.Server, t, s.clock}
			req := request(t, s.URL, "BatchMeterUsage", body)
			if tc.before != nil {
				tc.before(req)
			}
			sign(t, req, tc.sign.creds, tc.sign.service, tc.sign.region, tc.sign.at)
			if tc.after != nil {
				tc.after(req)
			}
			a := s.send(req)
			if tc.code == ok {
				require.Equal(t, 200, a.status, a.body)
				return
			}
			require.Equal(t, 400, a.status)
			require.Equal(t, "com.amazon.coral.service#"+tc.code, a.code(), a.body)
			require.Contains(t, a.json["message"], tc.message)
			require.NotEmpty(t, a.header.Get("X-Amzn-RequestId"))
			_, signature, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
			for _, hidden := range []string{secret, token, "host;", signature} {
				if hidden != "" {
					require.NotContains(t, a.body, hidden)
				}
			}
		})
	}
	require.Empty(t, s.Records())
}

// A request of known bytes is accepted with a signature that other software
// made: openssl, step by step as the specification has it.
func TestSigV4KnownAnswer(t *testing.T) {
	svc := meteringtest.NewService(func(o *meteringtest.Options) {
		o.SignatureNow = func() time.Time { return start }
	})
	call := func(signature string) int {
		req, err := http.NewRequest(http.MethodPost, "http://metering.test/", bytes.NewReader([]byte("{}")))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "AWSMPMeteringService.RegisterUsage")
		req.Header.Set("X-Amz-Date", "20261123T103000Z")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/aws-marketplace/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="+signature)
		svc.ServeHTTP(discard{http.Header{}}, req)
		return len(svc.Requests())
	}
	call("0f640761341bed608806c6da91a6e361f4137b9e64dfb1dc7a98cf1c29e74cd0")
	require.Equal(t, "ValidationException", svc.Requests()[0].Code, "past the signature")
	call(strings.Repeat("0", 64))
	require.Equal(t, "InvalidSignatureException", svc.Requests()[1].Code)
}

// A client whose clock is wrong learns the time from the Date header.
func TestSignatureClock(t *testing.T) {
	ahead := time.Now().Add(time.Hour)
	s := newService(t, func(o *meteringtest.Options) { o.SignatureNow = func() time.Time { return ahead } })
	a := s.call("MeterUsage", usage())
	require.Equal(t, "com.amazon.coral.service#InvalidSignatureException", a.code())
	date, err := http.ParseTime(a.header.Get("Date"))
	require.NoError(t, err)
	req := request(t, s.URL, "RegisterUsage", "{}")
	sign(t, req, testKeys, "aws-marketplace", "us-east-1", date)
	require.Equal(t, "com.amazon.coral.validate#ValidationException", s.send(req).code())
}
