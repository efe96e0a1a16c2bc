package meteringtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// start is when every test begins: in the middle of a month and of an hour.
var start = time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)

const account = "123456789012"

// object and list are JSON, to keep the bodies in the tests short.
type (
	object = map[string]any
	list   = []any
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *clock) Advance(d time.Duration) { c.Set(c.Now().Add(d)) }

// service is a server with a clock that stands still, and two products.
type service struct {
	*meteringtest.Server
	t     *testing.T
	clock *clock
}

func newService(t *testing.T, optFns ...func(*meteringtest.Options)) *service {
	t.Helper()
	c := &clock{now: start}
	optFns = append(optFns, func(o *meteringtest.Options) { o.Now = c.Now })
	srv := meteringtest.NewServer(optFns...)
	t.Cleanup(srv.Close)
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users", "GB"}})
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-2", Dimensions: []string{"users"}})
	srv.AddProduct(meteringtest.Product{ProductCode: "new-1", Dimensions: []string{"users"}, ConcurrentAgreements: true})
	srv.AddProduct(meteringtest.Product{ProductCode: "new-2", Dimensions: []string{"users"}, ConcurrentAgreements: true})
	return &service{srv, t, c}
}

type answer struct {
	status int
	header http.Header
	body   string
	json   object
}

// code is the error's name with its namespace; empty for success.
func (a answer) code() string {
	s, _ := a.json["__type"].(string)
	return s
}

// request is one as the protocol wants it, without a signature.
func request(t testing.TB, url, operation, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/", strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AWSMPMeteringService."+operation)
	return req
}

var testKeys = aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}

// sign signs with the SDK's signer, of which the service knows nothing.
func sign(t testing.TB, req *http.Request, creds aws.Credentials, service, region string, at time.Time) {
	t.Helper()
	body := ""
	if req.GetBody != nil {
		r, err := req.GetBody()
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		body = string(b)
	}
	hash := sha256.Sum256([]byte(body))
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(hash[:]), service, region, at))
}

// signed is a request of the keys that every service knows.
func signed(t testing.TB, url, operation, body string) *http.Request {
	t.Helper()
	req := request(t, url, operation, body)
	sign(t, req, testKeys, "aws-marketplace", "us-east-1", time.Now())
	return req
}

// do sends a request as the protocol wants it, changed and then signed.
func (s *service) do(operation, body string, change func(*http.Request)) answer {
	s.t.Helper()
	req := request(s.t, s.URL, operation, body)
	if change != nil {
		change(req)
	}
	sign(s.t, req, testKeys, "aws-marketplace", "us-east-1", time.Now())
	return s.send(req)
}

func (s *service) send(req *http.Request) answer {
	s.t.Helper()
	resp, err := s.Client().Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	a := answer{resp.StatusCode, resp.Header, string(b), nil}
	require.NoError(s.t, json.Unmarshal(b, &a.json), "body: %s", b)
	return a
}

func (s *service) call(operation string, in object) answer {
	s.t.Helper()
	b, err := json.Marshal(in)
	require.NoError(s.t, err)
	return s.do(operation, string(b), nil)
}

// refused calls an operation that must fail with an error of the service.
func (s *service) refused(code, operation string, in object) string {
	s.t.Helper()
	a := s.call(operation, in)
	require.Equal(s.t, http.StatusBadRequest, a.status, a.body)
	require.Equal(s.t, "com.amazonaws.marketplacemetering#"+code, a.code(), a.body)
	return a.json["message"].(string)
}

// invalid calls an operation that must fail with a ValidationException.
func (s *service) invalid(message, operation string, in object) {
	s.t.Helper()
	a := s.call(operation, in)
	require.Equal(s.t, http.StatusBadRequest, a.status, a.body)
	require.Equal(s.t, "com.amazon.coral.validate#ValidationException", a.code(), a.body)
	require.Contains(s.t, a.json["message"], message)
}

// with returns a copy of o with a member changed, or taken out if v is absent.
func with(o object, member string, v any) object {
	c := object{}
	for k, old := range o {
		c[k] = old
	}
	if v == absent {
		delete(c, member)
	} else {
		c[member] = v
	}
	return c
}

var absent = new(int)

func TestServerConfig(t *testing.T) {
	srv := meteringtest.NewServer(func(o *meteringtest.Options) { o.Region = "eu-west-1" })
	defer srv.Close()
	cfg := srv.Config()
	require.Equal(t, "eu-west-1", cfg.Region)
	require.Equal(t, srv.URL, *cfg.BaseEndpoint)
	require.Regexp(t, `^http://127\.0\.0\.1:\d+$`, srv.URL)
	creds, err := cfg.Credentials.Retrieve(context.Background())
	require.NoError(t, err)
	require.Equal(t, "test", creds.AccessKeyID)
	require.Equal(t, "test", creds.SecretAccessKey)
	require.Nil(t, cfg.HTTPClient)
	require.Same(t, srv.Client(), srv.Client())

	other := meteringtest.NewServer()
	require.Equal(t, "us-east-1", other.Config().Region)
	other.Close()
	other.Close()
	_, err = http.Get(other.URL)
	require.Error(t, err, "closed")
}

func TestSetUpPanicsWithAdvice(t *testing.T) {
	svc := meteringtest.NewService()
	svc.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	buyer := svc.Subscribe("prod-1", account)
	stranger := buyer
	stranger.CustomerIdentifier = "someone else"
	for name, tc := range map[string]struct {
		do     func()
		advice string
	}{
		"no product code":   {func() { svc.AddProduct(meteringtest.Product{}) }, "give the product a ProductCode"},
		"empty dimension":   {func() { svc.AddProduct(meteringtest.Product{ProductCode: "p", Dimensions: []string{""}}) }, "no empty dimension"},
		"listed twice":      {func() { svc.AddProduct(meteringtest.Product{ProductCode: "prod-1"}) }, "add each product once"},
		"unknown product":   {func() { svc.Subscribe("prod-9", account) }, "call AddProduct first"},
		"account":           {func() { svc.Subscribe("prod-1", "12") }, "give 12 digits"},
		"unsubscribe":       {func() { svc.Unsubscribe(stranger) }, "a Buyer that Subscribe returned"},
		"token":             {func() { svc.RegistrationToken(meteringtest.Buyer{}) }, "a Buyer that Subscribe returned"},
		"entitled":          {func() { svc.SetEntitled("prod-9", true) }, "call AddProduct first"},
		"key of no product": {func() { svc.PublicKey("prod-9", 1) }, "call AddProduct first"},
		"key version":       {func() { svc.PublicKey("prod-1", 2) }, "ask for version 1"},
		"rotation":          {func() { svc.ExpirePublicKey("prod-1", 1, time.Time{}) }, "give the time"},
		"rotated version":   {func() { svc.ExpirePublicKey("prod-1", 2, start) }, "one that AddPublicKey returned"},
		"new key":           {func() { svc.AddPublicKey("prod-9") }, "call AddProduct first"},
		"operation":         {func() { svc.SetPermitted("GetUsage", false) }, "give BatchMeterUsage, MeterUsage"},
		"disabled":          {func() { svc.SetOffered("MeterUsage", false) }, "use RunIn"},
		"disabled unknown":  {func() { svc.SetOffered("GetUsage", false) }, "give BatchMeterUsage, MeterUsage"},
		"fault's operation": {func() { svc.Inject(meteringtest.Fault{Operation: "GetUsage"}) }, "give BatchMeterUsage, MeterUsage"},
		"fault's number":    {func() { svc.Inject(meteringtest.Fault{Times: -1}) }, "at least 0"},
		"fault's chance":    {func() { svc.Inject(meteringtest.Fault{Probability: 1.1}) }, "at most 1"},
		"fault's status":    {func() { svc.Inject(meteringtest.Fault{Status: 99}) }, "from 200 to 599"},
		"fault's answers":   {func() { svc.Inject(meteringtest.Fault{Code: "X", Body: "x"}) }, "not both"},
		"bound":             {func() { meteringtest.NewService(func(o *meteringtest.Options) { o.KeepRecords = -1 }) }, "or 0 for none"},
		"no secret": {func() {
			meteringtest.NewService(func(o *meteringtest.Options) { o.Credentials = []aws.Credentials{{AccessKeyID: "a"}} })
		}, "and a secret"},
		"same access key": {func() {
			meteringtest.NewService(func(o *meteringtest.Options) { o.Credentials = []aws.Credentials{testKeys, testKeys} })
		}, "of its own"},
		"negative faults":  {func() { svc.FailNext(-1, "ThrottlingException") }, "give a number"},
		"fault of no code": {func() { svc.FailNext(1, "") }, "an error code"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { require.Contains(t, recover(), tc.advice) }()
			tc.do()
		})
	}
	require.Empty(t, svc.Records(), "no panic leaves the service locked")
}

func TestSubscribe(t *testing.T) {
	svc := meteringtest.NewService()
	svc.AddProduct(meteringtest.Product{ProductCode: "old"})
	svc.AddProduct(meteringtest.Product{ProductCode: "new", ConcurrentAgreements: true})

	old := svc.Subscribe("old", account)
	require.Equal(t, "old", old.ProductCode)
	require.Equal(t, account, old.CustomerAWSAccountId)
	require.NotEmpty(t, old.CustomerIdentifier)
	require.Empty(t, old.LicenseArn)
	require.Equal(t, old, svc.Subscribe("old", account), "an account buys once")
	require.NotEqual(t, old.CustomerIdentifier, svc.Subscribe("old", "210987654321").CustomerIdentifier)

	licensed := svc.Subscribe("new", account)
	require.Empty(t, licensed.CustomerIdentifier)
	require.Regexp(t, `^arn:aws:license-manager::123456789012:license:l-[0-9a-f]{32}$`, licensed.LicenseArn)
	require.NotEqual(t, licensed.LicenseArn, svc.Subscribe("new", account).LicenseArn, "an account can hold several licences")
}

func TestFailNext(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	s.FailNext(0, "ThrottlingException")
	s.FailNext(2, "ThrottlingException")
	s.FailNext(1, "InternalServiceErrorException")
	s.FailNext(1, "IdempotencyConflictException")
	unsigned := s.send(request(t, s.URL, "MeterUsage", "{}"))
	require.Equal(t, "com.amazon.coral.service#MissingAuthenticationTokenException", unsigned.code())
	for _, want := range []struct {
		status int
		code   string
	}{
		{400, "com.amazonaws.marketplacemetering#ThrottlingException"},
		{400, "com.amazonaws.marketplacemetering#ThrottlingException"},
		{500, "com.amazonaws.marketplacemetering#InternalServiceErrorException"},
		{409, "com.amazonaws.marketplacemetering#IdempotencyConflictException"},
		{200, ""},
	} {
		require.Empty(t, s.Records(), "a failed call does no work")
		a := s.call("BatchMeterUsage", batch(record(buyer)))
		require.Equal(t, want.status, a.status)
		require.Equal(t, want.code, a.code())
	}
	require.Len(t, s.Records(), 1)
}

func TestRequests(t *testing.T) {
	s := newService(t)
	s.FailNext(1, "ThrottlingException")
	for _, header := range []string{"attempt=1; max=3", "attempt=2; max=3"} {
		s.do("BatchMeterUsage", `{"ProductCode":"prod-1","UsageRecords":[]}`, func(r *http.Request) {
			r.Header.Set("amz-sdk-request", header)
			r.Header.Set("amz-sdk-invocation-id", "call-1")
		})
	}
	last := s.do("Nothing", "{}", nil)

	got := s.Requests()
	for i := range got {
		require.Equal(t, start, got[i].Time)
		got[i].Time = time.Time{}
	}
	require.Equal(t, last.header.Get("X-Amzn-RequestId"), got[2].RequestId)
	got[0].RequestId, got[1].RequestId, got[2].RequestId = "", "", ""
	require.Equal(t, []meteringtest.Request{
		{Operation: "BatchMeterUsage", InvocationId: "call-1", Attempt: 1, Status: 400, Code: "ThrottlingException"},
		{Operation: "BatchMeterUsage", InvocationId: "call-1", Attempt: 2, Status: 200},
		{Status: 400, Code: "UnknownOperationException"},
	}, got)
	require.Equal(t, 3, s.RequestCount())
}

func TestRequestsAreBounded(t *testing.T) {
	svc := meteringtest.NewService()
	const n = 2*meteringtest.MaxRequests + 5
	for i := range n {
		req := httpRequest(t, "{}")
		req.Header.Set("Amz-Sdk-Invocation-Id", string(rune('a'+i%5)))
		svc.ServeHTTP(discard{http.Header{}}, req)
	}
	require.Equal(t, n, svc.RequestCount())
	got := svc.Requests()
	require.Len(t, got, meteringtest.MaxRequests)
	require.Equal(t, "e", got[len(got)-1].InvocationId, "the last ones are kept")
}

func httpRequest(t *testing.T, body string) *http.Request {
	req, err := http.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	require.NoError(t, err)
	return req
}

// discard is a ResponseWriter.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestConcurrentUse(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	body, err := json.Marshal(batch(record(buyer)))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			s.ServeHTTP(discard{http.Header{}}, signed(t, "http://metering.test", "BatchMeterUsage", string(body)))
			s.Records()
			s.Requests()
			s.RegistrationToken(s.Subscribe("new-1", account))
		})
	}
	wg.Wait()
	require.Len(t, s.Records(), 1, "the hour is billed once, however many report it")
	require.Equal(t, 50, s.RequestCount())
}

func asJSON(t testing.TB, in object) string {
	t.Helper()
	b, err := json.Marshal(in)
	require.NoError(t, err)
	return string(b)
}
