package metering

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"
)

var (
	hour     = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	batch    = &BatchMeterUsageRequest{ProductCode: "prod-1", UsageRecords: []UsageRecord{{Timestamp: hour, CustomerAWSAccountId: "123456789012", Dimension: "users", Quantity: 3}}}
	meter    = &MeterUsageRequest{ProductCode: "prod-1", Timestamp: hour, UsageDimension: "users", UsageQuantity: 3}
	register = &RegisterUsageRequest{ProductCode: "prod-1", PublicKeyVersion: 1}
	resolve  = &ResolveCustomerRequest{RegistrationToken: "EXAMPLEq7dZtoken+/="}
)

// testCredentials are a full set: each of them is looked for where it must
// not be.
var testCredentials = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret-access-key", SessionToken: "IQoJb3JpZ2luX2VjEXAMPLE"}

// testOptions are those of a client that retries without waiting.
func testOptions() Options {
	return Options{
		Region:      "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return testCredentials, nil }),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		}),
	}
}

// doFunc is an HTTP client.
type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	return f(r)
}

// testClient calls a function instead of a network.
func testClient(do doFunc, optFns ...func(*Options)) *Client {
	o := testOptions()
	o.HTTPClient = do
	return New(o, optFns...)
}

// serverClient calls a handler over a real socket.
func serverClient(t testing.TB, h http.HandlerFunc, optFns ...func(*Options)) *Client {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	o := testOptions()
	o.BaseEndpoint = srv.URL
	return New(o, optFns...)
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode:    status,
		Header:        http.Header{"X-Amzn-Requestid": {"request-1"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
}

// send calls the operation that in belongs to.
func send(c *Client, in request, optFns ...func(*Options)) (err error) {
	ctx := context.Background()
	switch in := in.(type) {
	case *BatchMeterUsageRequest:
		_, err = c.BatchMeterUsage(ctx, in, optFns...)
	case *MeterUsageRequest:
		_, err = c.MeterUsage(ctx, in, optFns...)
	case *RegisterUsageRequest:
		_, err = c.RegisterUsage(ctx, in, optFns...)
	case *ResolveCustomerRequest:
		_, err = c.ResolveCustomer(ctx, in, optFns...)
	}
	return err
}

func TestUnusableAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"empty":      "",
		"null":       "null",
		"list":       "[]",
		"cut short":  `{"MeteringRecordId":"m","Signature":"s","CustomerAWSAccountId":"1","Results":[`,
		"more bytes": `{"MeteringRecordId":"m","Signature":"s","CustomerAWSAccountId":"1"}{}`,
		"no proof":   `{"ProductCode":"p"}`,
		"null proof": `{"MeteringRecordId":null,"Signature":null,"CustomerAWSAccountId":null}`,
		"HTML":       "<html>log in to the hotel's network</html>",
	} {
		for _, in := range []request{batch, meter, register, resolve} {
			t.Run(fmt.Sprintf("%s/%T", name, in), func(t *testing.T) {
				attempts := 0
				c := testClient(func(*http.Request) (*http.Response, error) {
					attempts++
					return answer(200, body), nil
				})
				err := send(c, in)
				if _, ok := in.(*BatchMeterUsageRequest); ok && strings.HasSuffix(name, "proof") {
					require.NoError(t, err, "Missing tells which records an answer does not list")
					return
				}
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, 200, e.ResponseMetadata.HTTPStatusCode)
				require.Equal(t, "request-1", e.ResponseMetadata.RequestId)
				require.Equal(t, attempts-1, e.ResponseMetadata.RetryAttempts)
				var unreadable *smithy.DeserializationError
				require.ErrorAs(t, err, &unreadable)

				switch in.(type) {
				case *BatchMeterUsageRequest:
					require.ErrorIs(t, err, ErrUnconfirmed)
					require.Equal(t, 1, attempts)
				case *MeterUsageRequest:
					require.ErrorIs(t, err, ErrUnconfirmed)
					require.Equal(t, 3, attempts)
				default:
					require.NotErrorIs(t, err, ErrUnconfirmed)
					require.Equal(t, 1, attempts)
				}
			})
		}
	}
	t.Run("a retried MeterUsage", func(t *testing.T) {
		bodies := []string{"", `{"MeteringRecordId":"m"}`}
		c := testClient(func(*http.Request) (*http.Response, error) {
			body := bodies[0]
			bodies = bodies[1:]
			return answer(200, body), nil
		})
		out, err := c.MeterUsage(context.Background(), meter)
		require.NoError(t, err)
		require.Equal(t, "m", out.MeteringRecordId)
		require.Equal(t, 1, out.ResponseMetadata.RetryAttempts)
	})
	t.Run("a signature is not quoted", func(t *testing.T) {
		c := testClient(func(*http.Request) (*http.Response, error) {
			return answer(200, `{"Signature":"eyJhbGciOiJQUzI1NiJ9.e30.c2ln`), nil
		})
		require.NotContains(t, send(c, register).Error(), "eyJ")
	})
}

func TestBatchMeterUsageWithoutResults(t *testing.T) {
	for _, body := range []string{`{}`, `{"Results":null,"UnprocessedRecords":null}`, `{"Results":[],"UnprocessedRecords":[]}`} {
		c := testClient(func(*http.Request) (*http.Response, error) { return answer(200, body), nil })
		out, err := c.BatchMeterUsage(context.Background(), batch)
		require.NoError(t, err)
		require.Empty(t, out.Results)
		require.Equal(t, batch.UsageRecords, out.Missing(batch.UsageRecords))
	}
}

func TestMissing(t *testing.T) {
	record := func(account, dimension string, at time.Time, quantity int32) UsageRecord {
		return UsageRecord{CustomerAWSAccountId: account, Dimension: dimension, Timestamp: at, Quantity: quantity}
	}
	a := record("1", "users", hour, 1)
	legacy := UsageRecord{CustomerIdentifier: "c1", Dimension: "users", Timestamp: hour}
	licensed := a
	licensed.LicenseArn = "arn:aws:license-manager::1:license:l-1"
	filledIn := a
	filledIn.CustomerIdentifier = "c1"
	for name, c := range map[string]struct{ sent, results, unprocessed, want []UsageRecord }{
		"all listed":               {[]UsageRecord{a, legacy}, []UsageRecord{legacy}, []UsageRecord{a}, nil},
		"one missing":              {[]UsageRecord{a, legacy}, []UsageRecord{a}, nil, []UsageRecord{legacy}},
		"in order":                 {[]UsageRecord{legacy, a}, nil, nil, []UsageRecord{legacy, a}},
		"twice sent, once listed":  {[]UsageRecord{a, a}, []UsageRecord{a}, nil, []UsageRecord{a}},
		"twice sent, twice listed": {[]UsageRecord{a, a}, []UsageRecord{a}, []UsageRecord{a}, nil},
		"another quantity":         {[]UsageRecord{a}, []UsageRecord{record("1", "users", hour, 2)}, nil, []UsageRecord{a}},
		"another dimension":        {[]UsageRecord{a}, []UsageRecord{record("1", "gb", hour, 1)}, nil, []UsageRecord{a}},
		"another account":          {[]UsageRecord{a}, []UsageRecord{record("2", "users", hour, 1)}, nil, []UsageRecord{a}},
		"another hour":             {[]UsageRecord{a}, []UsageRecord{record("1", "users", hour.Add(time.Hour), 1)}, nil, []UsageRecord{a}},
		"rounded to the hour":      {[]UsageRecord{record("1", "users", hour.Add(time.Minute), 1)}, []UsageRecord{a}, nil, nil},
		"another licence":          {[]UsageRecord{licensed}, []UsageRecord{a}, nil, []UsageRecord{licensed}},
		"licence filled in":        {[]UsageRecord{a}, []UsageRecord{licensed}, nil, nil},
		"the same goes first":      {[]UsageRecord{a, filledIn}, []UsageRecord{filledIn, a}, nil, nil},
		"the same time goes first": {[]UsageRecord{record("1", "users", hour.Add(5*time.Minute), 1), record("1", "users", hour.Add(15*time.Minute), 1)}, []UsageRecord{record("1", "users", hour.Add(15*time.Minute), 1)}, nil, []UsageRecord{record("1", "users", hour.Add(5*time.Minute), 1)}},
		"identifier filled in":     {[]UsageRecord{a}, []UsageRecord{filledIn}, nil, nil},
		"nothing sent":             {nil, []UsageRecord{a}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out BatchMeterUsageResult
			for _, r := range c.results {
				out.Results = append(out.Results, UsageRecordResult{UsageRecord: r})
			}
			out.UnprocessedRecords = slices.Clone(c.unprocessed)
			require.Equal(t, c.want, out.Missing(c.sent))
			require.Equal(t, c.unprocessed, out.UnprocessedRecords, "the result is left as it is")
		})
	}
	require.Equal(t, []UsageRecord{a}, (*BatchMeterUsageResult)(nil).Missing([]UsageRecord{a}))
}

func TestClientToken(t *testing.T) {
	type body struct{ ClientToken string }
	var tokens []string
	c := testClient(func(r *http.Request) (*http.Response, error) {
		var b body
		decode(t, r, &b)
		tokens = append(tokens, b.ClientToken)
		return answer(500, ""), nil
	})
	in := *meter
	require.Error(t, send(c, &in))
	require.Error(t, send(c, &in))
	require.Equal(t, *meter, in, "the caller's request is left as it is")
	require.Len(t, tokens, 6)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, tokens[0])
	require.Equal(t, []string{tokens[0], tokens[0], tokens[0]}, tokens[:3], "one token for the attempts of a call")
	require.Equal(t, []string{tokens[3], tokens[3], tokens[3]}, tokens[3:])
	require.NotEqual(t, tokens[0], tokens[3])

	tokens = nil
	in.ClientToken = NewClientToken()
	require.Error(t, send(c, &in))
	require.Equal(t, []string{in.ClientToken, in.ClientToken, in.ClientToken}, tokens)
}

func decode(t testing.TB, r *http.Request, into any) {
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, into))
}

func TestRetriesRepeatTheRequest(t *testing.T) {
	var bodies, attempts []string
	c := serverClient(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		attempts = append(attempts, r.Header.Get("Amz-Sdk-Request"))
		if len(bodies) < 3 {
			w.WriteHeader(500)
			return
		}
		io.WriteString(w, `{"Results":[]}`)
	})
	out, err := c.BatchMeterUsage(context.Background(), batch)
	require.NoError(t, err)
	require.Equal(t, 2, out.ResponseMetadata.RetryAttempts)
	require.Equal(t, []string{bodies[0], bodies[0], bodies[0]}, bodies)
	require.Equal(t, []string{"attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3"}, attempts)
}

// TestConfigurationErrors: each of them ends a call before the network.
func TestConfigurationErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no credentials":         {func(o *Options) { o.Credentials = nil }, "Options.Credentials"},
		"anonymous credentials":  {func(o *Options) { o.Credentials = aws.AnonymousCredentials{} }, "Options.Credentials"},
		"anonymous by pointer":   {func(o *Options) { o.Credentials = &aws.AnonymousCredentials{} }, "Options.Credentials"},
		"anonymous in a cache":   {func(o *Options) { o.Credentials = aws.NewCredentialsCache(aws.AnonymousCredentials{}) }, "Options.Credentials"},
		"empty credentials":      {func(o *Options) { o.Credentials = aws.CredentialsProviderFunc(noCredentials) }, "Options.Credentials"},
		"no Region":              {func(o *Options) { o.Region = "" }, "Missing Region"},
		"no Region, an endpoint": {func(o *Options) { o.Region, o.BaseEndpoint = "", "http://127.0.0.1" }, "Missing Region"},
		"bad Region":             {func(o *Options) { o.Region = "evil.example/" }, "Region"},
		"bad endpoint":           {func(o *Options) { o.BaseEndpoint = "localhost:8085" }, `is "localhost:8085"`},
		"FIPS and an endpoint": {func(o *Options) {
			o.BaseEndpoint, o.UseFIPSEndpoint = "http://127.0.0.1", aws.FIPSEndpointStateEnabled
		}, "FIPS and custom endpoint"},
		"dual-stack and an endpoint": {func(o *Options) {
			o.BaseEndpoint, o.UseDualStackEndpoint = "http://127.0.0.1", aws.DualStackEndpointStateEnabled
		}, "Dualstack and custom endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			do := func(*http.Request) (*http.Response, error) { calls++; return answer(200, "{}"), nil }
			for how, err := range map[string]error{
				"of the client": send(testClient(do, c.change), batch),
				"of the call":   send(testClient(do), batch, c.change),
			} {
				require.ErrorContains(t, err, c.want, how)
				require.NotErrorIs(t, err, ErrUnconfirmed)
			}
			require.Zero(t, calls)
		})
	}
	t.Run("credentials that can't be had", func(t *testing.T) {
		err := send(testClient(nil, func(o *Options) {
			o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, errors.New("no EC2 IMDS role found")
			})
		}), batch)
		require.ErrorContains(t, err, "no EC2 IMDS role found")
		require.ErrorContains(t, err, "AWS_PROFILE")
	})
	t.Run("a legacy resolver", func(t *testing.T) {
		//lint:ignore SA1019 that it is refused is what is tested
		resolver := aws.EndpointResolverWithOptionsFunc(func(string, string, ...any) (aws.Endpoint, error) { return aws.Endpoint{}, nil })
		//lint:ignore SA1019 that it is refused is what is tested
		cfg := aws.Config{Region: "us-east-1", Credentials: testOptions().Credentials, EndpointResolverWithOptions: resolver}
		require.ErrorContains(t, send(NewFromConfig(cfg), batch), "set BaseEndpoint")
		//lint:ignore SA1019 that it is refused is what is tested
		cfg.EndpointResolverWithOptions, cfg.EndpointResolver = nil, aws.EndpointResolverFunc(func(string, string) (aws.Endpoint, error) { return aws.Endpoint{}, nil })
		require.ErrorContains(t, send(NewFromConfig(cfg), batch), "set BaseEndpoint")
	})
}

func noCredentials(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil }

func TestServerErrors(t *testing.T) {
	html := "<html>" + strings.Repeat("x", 2000) + "</html>"
	for name, c := range map[string]struct {
		status   int
		body     string
		code     string
		message  string
		attempts int
	}{
		"500 of the service":   {500, `{"__type":"InternalServiceErrorException","message":"m"}`, "InternalServiceErrorException", "m", 3},
		"500 with nothing":     {500, "", "UnknownError", "", 3},
		"502 with HTML":        {502, html, "UnknownError", html[:512], 3},
		"503 with half a body": {503, `{"__type":"Internal`, "UnknownError", `{"__type":"Internal`, 3},
		"504 with a list":      {504, "[]", "UnknownError", "[]", 3},
		"429 with HTML":        {429, html, "UnknownError", html[:512], 3},
		"429 of a gateway":     {429, `{"message":"Too Many Requests"}`, "UnknownError", "Too Many Requests", 3},
		"throttled":            {400, `{"__type":"ThrottlingException","message":"slow down"}`, "ThrottlingException", "slow down", 3},
		"403 with HTML":        {403, "<html>", "UnknownError", "<html>", 1},
		"refused":              {400, `{"__type":"InvalidProductCodeException"}`, "InvalidProductCodeException", "", 1},
		"code is not a code":   {400, `{"__type":"<b>","message":"m"}`, "UnknownError", "m", 1},
		"code is a number":     {400, `{"__type":5,"code":"AccessDeniedException","message":7}`, "AccessDeniedException", "", 1},
		"a long message":       {400, `{"__type":"X","message":"` + strings.Repeat("m", 1e5) + `"}`, "X", strings.Repeat("m", maxMessage), 1},
		"a proxy's time-out":   {408, "", "UnknownError", "", 1},
		"a fault, as a 400":    {400, `{"__type":"InternalServiceErrorException"}`, "InternalServiceErrorException", "", 1},
		"redirect":             {307, "", "UnknownError", "redirects are not followed: is BaseEndpoint right?", 1},
	} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			client := serverClient(t, func(w http.ResponseWriter, r *http.Request) {
				attempts++
				w.Header().Set("X-Amzn-RequestId", "request-1")
				w.Header().Set("X-Amz-Id-2", "host-1")
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			for _, in := range []request{batch, meter, register, resolve} {
				attempts = 0
				err := send(client, in)
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.code, e.Code)
				require.Equal(t, c.message, e.Message)
				require.Equal(t, c.status, e.ResponseMetadata.HTTPStatusCode)
				require.Equal(t, "request-1", e.ResponseMetadata.RequestId)
				require.Equal(t, "host-1", e.ResponseMetadata.HostId)
				require.Equal(t, "host-1", e.ResponseMetadata.HTTPHeaders.Get("X-Amz-Id-2"))
				require.Equal(t, c.attempts-1, e.ResponseMetadata.RetryAttempts)
				require.Equal(t, c.attempts, attempts)

				_, isBatch := in.(*BatchMeterUsageRequest)
				_, isMeter := in.(*MeterUsageRequest)
				settled := c.status < 500 && c.status != 408 && c.code != "InternalServiceErrorException"
				require.Equal(t, !settled && (isBatch || isMeter), errors.Is(err, ErrUnconfirmed))

				// As users of AWS's clients know it.
				var operation *smithy.OperationError
				require.ErrorAs(t, err, &operation)
				require.Equal(t, ServiceID, operation.Service())
				require.Equal(t, e.Op, operation.Operation())
				var response *awshttp.ResponseError
				require.ErrorAs(t, err, &response)
				require.Equal(t, c.status, response.HTTPStatusCode())
				require.Equal(t, "request-1", response.ServiceRequestID())
				var api smithy.APIError
				require.ErrorAs(t, err, &api)
				require.Equal(t, c.code, api.ErrorCode())
			}
		})
	}
}

func TestHugeAnswer(t *testing.T) {
	for _, status := range []int{200, 400} {
		var written atomic.Int64
		client := serverClient(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			chunk := bytes.Repeat([]byte(" "), 1<<20)
			for range 64 {
				n, err := w.Write(chunk)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		err := send(client, batch)
		require.ErrorContains(t, err, "larger than 8388608 bytes")
		require.Equal(t, status == 200, errors.Is(err, ErrUnconfirmed))
		require.Less(t, written.Load(), int64(64<<20), "the rest is not read")
	}
	client := testClient(func(*http.Request) (*http.Response, error) {
		return answer(200, "{"+strings.Repeat(" ", maxAnswerBytes-2)+"}"), nil
	})
	require.NoError(t, send(client, batch), "8 MiB are just not too much")
}

// TestTransportErrors: an error is unconfirmed if, and only if, the request
// may have left.
func TestTransportErrors(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()

	for name, c := range map[string]struct {
		client      *Client
		unconfirmed bool
		attempts    int
	}{
		"connection refused": {New(testOptions(), func(o *Options) { o.BaseEndpoint = "http://" + closed.Addr().String() }), false, 3},
		"dropped after the request": {serverClient(t, func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}), true, 3},
		"dropped in the answer": {serverClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"MeteringRecordId":"m"`)
		}), true, 1},
		"not dialled": {testClient(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
		}), false, 3},
		"no such host": {testClient(func(*http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", Err: &net.DNSError{IsNotFound: true}}
		}), false, 1},
		"certificate": {testClient(func(*http.Request) (*http.Response, error) {
			return nil, &tls.CertificateVerificationError{Err: errors.New("unknown authority")}
		}), false, 3},
		"dialled again after it was read": {testClient(func(r *http.Request) (*http.Response, error) {
			r.Body.Read(make([]byte, 1))
			return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
		}), true, 3},
		"failed without reading": {testClient(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
		}), true, 3},
		"failed after it was read": {testClient(func(r *http.Request) (*http.Response, error) {
			io.Copy(io.Discard, r.Body)
			return nil, errors.New("no answer")
		}), true, 3},
		"failed, then refused": {testClient(onceThen(errors.New("no answer"), answer(400, `{"__type":"InvalidProductCodeException"}`))), true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			err := send(c.client, batch)
			require.Error(t, err)
			require.Equal(t, c.unconfirmed, errors.Is(err, ErrUnconfirmed), err)
			var operation *smithy.OperationError
			require.ErrorAs(t, err, &operation)
			require.NotErrorIs(t, send(c.client, resolve), ErrUnconfirmed, "nothing is billed by it")
		})
	}
	t.Run("not by a dry run", func(t *testing.T) {
		c := serverClient(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		dry := *meter
		dry.DryRun = true
		require.NotErrorIs(t, send(c, &dry), ErrUnconfirmed)
		require.ErrorIs(t, send(c, meter), ErrUnconfirmed)
	})
	t.Run("success after a failure", func(t *testing.T) {
		c := testClient(onceThen(errors.New("no answer"), answer(200, "{}")))
		require.NoError(t, send(c, batch))
	})
	t.Run("an abandoned request never leaves", func(t *testing.T) {
		var kept io.Reader
		c := testClient(func(r *http.Request) (*http.Response, error) {
			kept = r.Body
			return nil, &net.OpError{Op: "dial", Err: errors.New("gave up")}
		})
		require.NotErrorIs(t, send(c, batch), ErrUnconfirmed)
		_, err := io.ReadAll(kept)
		require.Error(t, err)
	})
}

// onceThen fails the first attempt after it was sent, and answers the next.
func onceThen(err error, then *http.Response) doFunc {
	return func(r *http.Request) (*http.Response, error) {
		io.Copy(io.Discard, r.Body)
		if first := err; first != nil {
			err = nil
			return nil, first
		}
		return then, nil
	}
}

func TestContext(t *testing.T) {
	t.Run("ended before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c := testClient(func(*http.Request) (*http.Response, error) { return nil, errors.New("called") })
		_, err := c.BatchMeterUsage(ctx, batch)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, ErrUnconfirmed)
	})
	t.Run("ended while the server works", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		c := serverClient(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
		})
		_, err := c.BatchMeterUsage(ctx, batch)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ErrUnconfirmed)
	})
	t.Run("a deadline in the back-off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			c := testClient(func(r *http.Request) (*http.Response, error) {
				return answer(400, `{"__type":"ThrottlingException"}`), nil
			}, func(o *Options) {
				o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
					o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return time.Hour, nil })
				})
			})
			start := time.Now()
			_, err := c.BatchMeterUsage(ctx, batch)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, ErrUnconfirmed)
			require.Equal(t, time.Millisecond, time.Since(start))
		})
	})
}

// TestEarlyAnswer: the answer arrives before the request's body was read, which
// must then still be whole.
func TestEarlyAnswer(t *testing.T) {
	in := benchRequest()
	want := string(in.appendJSON(nil))
	rest := make(chan io.Reader, 1)
	c := testClient(nil, func(o *Options) {
		o.HTTPClient = smithyhttp.ClientDoFunc(func(r *http.Request) (*http.Response, error) {
			start := make([]byte, 100)
			_, err := io.ReadFull(r.Body, start)
			rest <- io.MultiReader(bytes.NewReader(start), r.Body)
			return answer(200, "{}"), err
		})
	})
	require.NoError(t, send(c, in))
	require.NoError(t, send(testClient(func(*http.Request) (*http.Response, error) { return answer(200, "{}"), nil }), batch), "and another call does not write over it")
	got, err := io.ReadAll(<-rest)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func TestClockSkew(t *testing.T) {
	const ahead = 20 * time.Minute
	c, calls := skewedService(t, ahead)

	out, err := c.BatchMeterUsage(context.Background(), batch)
	require.NoError(t, err)
	require.Equal(t, 1, out.ResponseMetadata.RetryAttempts, "corrected within the call")
	require.Equal(t, 2, *calls)

	out, err = c.BatchMeterUsage(context.Background(), batch)
	require.NoError(t, err)
	require.Equal(t, 0, out.ResponseMetadata.RetryAttempts, "and from then on")

	*calls = 0
	err = send(c, batch, func(o *Options) { o.DisableClockSkewCorrection = true })
	require.Error(t, err)
	require.Equal(t, 1, *calls)
}

// skewedService refuses signatures that are more than 5 minutes off a clock
// that is ahead.
func skewedService(t *testing.T, ahead time.Duration) (*Client, *int) {
	calls := new(int)
	return testClient(func(r *http.Request) (*http.Response, error) {
		*calls++
		now := time.Now().Add(ahead)
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		require.NoError(t, err)
		resp := answer(200, "{}")
		if now.Sub(signed).Abs() > 5*time.Minute {
			resp = answer(400, `{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}`)
		}
		resp.Header.Set("Date", now.UTC().Format(http.TimeFormat))
		return resp, nil
	}), calls
}

func TestRetryModes(t *testing.T) {
	throttled := func(attempts *int) doFunc {
		return func(*http.Request) (*http.Response, error) {
			*attempts++
			return answer(400, `{"__type":"ThrottlingException"}`), nil
		}
	}
	for name, c := range map[string]struct {
		options  Options
		perCall  func(*Options)
		attempts int
		agent    string
	}{
		"default":                     {Options{}, nil, 3, "m/E"},
		"standard":                    {Options{RetryMode: aws.RetryModeStandard, RetryMaxAttempts: 5}, nil, 5, ""},
		"own retryer":                 {Options{Retryer: aws.NopRetryer{}}, nil, 1, ""},
		"max of the call":             {Options{}, func(o *Options) { o.RetryMaxAttempts = 2 }, 2, ""},
		"retryer of the call":         {Options{}, func(o *Options) { o.Retryer = aws.NopRetryer{} }, 1, ""},
		"max of the call goes before": {Options{RetryMaxAttempts: 5}, func(o *Options) { o.RetryMaxAttempts = 2 }, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which makes the back-off pass at once
				attempts := 0
				o := c.options
				o.Region, o.Credentials = "us-east-1", testOptions().Credentials
				var agent string
				o.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) {
					agent = r.Header.Get("User-Agent")
					return throttled(&attempts)(r)
				})
				var optFns []func(*Options)
				if c.perCall != nil {
					optFns = append(optFns, c.perCall)
				}
				require.ErrorIs(t, send(New(o), batch, optFns...), ErrThrottling)
				require.Equal(t, c.attempts, attempts)
				require.Contains(t, agent, c.agent)
			})
		})
	}
}

// TestAdaptiveMode does not throttle the client: the rate limiter of that mode
// may wait for 0 ns again and again, and a fake clock stands still meanwhile.
func TestAdaptiveMode(t *testing.T) {
	o := Options{Region: "us-east-1", Credentials: testOptions().Credentials, RetryMode: aws.RetryModeAdaptive}
	var agent string
	o.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) {
		agent = r.Header.Get("User-Agent")
		return answer(200, "{}"), nil
	})
	c := New(o)
	require.NoError(t, send(c, batch))
	require.Contains(t, agent, "m/F")
	require.IsType(t, &retry.AdaptiveMode{}, c.Options().Retryer)

	o.RetryMaxAttempts = 2
	require.Equal(t, 2, New(o).Options().Retryer.MaxAttempts())
}

func TestRequestHeaders(t *testing.T) {
	t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "fn")
	t.Setenv("_X_AMZN_TRACE_ID", "Root=1-2-3")
	var headers []http.Header
	c := testClient(func(r *http.Request) (*http.Response, error) {
		headers = append(headers, r.Header.Clone())
		return answer(200, "{}"), nil
	}, func(o *Options) { o.AppID = "billing" })
	require.NoError(t, send(c, batch))
	require.NoError(t, send(c, batch))
	h := headers[0]
	require.Contains(t, h.Get("User-Agent"), "lib/metering#"+version)
	require.Contains(t, h.Get("User-Agent"), "app/billing")
	require.Equal(t, "Root=1-2-3", h.Get("X-Amzn-Trace-Id"))
	require.NotEmpty(t, h.Get("Amz-Sdk-Invocation-Id"))
	require.NotEqual(t, h.Get("Amz-Sdk-Invocation-Id"), headers[1].Get("Amz-Sdk-Invocation-Id"))
	require.Contains(t, h.Get("Authorization"), "/us-east-1/aws-marketplace/aws4_request")
	require.Equal(t, testCredentials.SessionToken, h.Get("X-Amz-Security-Token"))
	require.Equal(t, h.Get("User-Agent"), headers[1].Get("User-Agent"))
}

// observer is middleware with the hooks that tracing libraries use.
type observer struct {
	events []string
	calls  int // of one call: a stack is never shared where there is other people's middleware
}

func (o *observer) options(stack *middleware.Stack) error {
	own := &observer{}
	return errors.Join(
		stack.Initialize.Add(middleware.InitializeMiddlewareFunc("observer", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			own.calls++
			out, md, err := next.HandleInitialize(ctx, in)
			id, _ := awsmiddleware.GetRequestIDMetadata(md)
			o.events = append(o.events, fmt.Sprintf("%s %s %s %T %T %s %d",
				awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx), awsmiddleware.GetRegion(ctx), in.Parameters, out.Result, id, own.calls))
			return out, md, err
		}), middleware.Before),
		stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("header", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			in.Request.(*smithyhttp.Request).Header.Set("X-Trace", "1")
			return next.HandleFinalize(ctx, in)
		}), "Signing", middleware.Before),
		stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("status", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, md, err := next.HandleDeserialize(ctx, in)
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok {
				o.events = append(o.events, fmt.Sprint("status ", resp.StatusCode))
			}
			return out, md, err
		}), middleware.Before),
	)
}

func TestMiddlewareOfOthers(t *testing.T) {
	statuses := []int{500, 200, 200}
	var signed []string
	do := func(r *http.Request) (*http.Response, error) {
		signed = append(signed, r.Header.Get("Authorization"))
		status := statuses[0]
		statuses = statuses[1:]
		return answer(status, "{}"), nil
	}
	o := &observer{}
	c := testClient(do, func(options *Options) { options.APIOptions = append(options.APIOptions, o.options) })
	require.NoError(t, send(c, batch))
	require.NoError(t, send(c, batch))
	call := "Marketplace Metering BatchMeterUsage us-east-1 *metering.BatchMeterUsageRequest *metering.BatchMeterUsageResult request-1 1"
	require.Equal(t, []string{"status 500", "status 200", call, "status 200", call}, o.events)
	for _, authorization := range signed {
		require.Contains(t, authorization, "x-trace")
	}

	o.events, statuses = nil, []int{200, 200}
	plain := testClient(do)
	require.NoError(t, send(plain, batch, func(options *Options) { options.APIOptions = append(options.APIOptions, o.options) }))
	require.Len(t, o.events, 2)
	require.NoError(t, send(plain, batch))
	require.Len(t, o.events, 2, "an option of one call stays with it")

	broken := testClient(do, func(o *Options) {
		o.APIOptions = append(o.APIOptions, func(*middleware.Stack) error { return errors.New("broken middleware") })
	})
	require.ErrorContains(t, send(broken, batch), "broken middleware")
}

// steps records the names of the interceptors that ran.
type steps struct{ names []string }

func (s *steps) BeforeExecution(context.Context, *smithyhttp.InterceptorContext) error {
	s.names = append(s.names, "BeforeExecution")
	return nil
}
func (s *steps) AfterAttempt(_ context.Context, i *smithyhttp.InterceptorContext) error {
	s.names = append(s.names, fmt.Sprintf("AfterAttempt %d", i.Response.StatusCode))
	return nil
}
func (s *steps) BeforeRetryLoop(_ context.Context, i *smithyhttp.InterceptorContext) error {
	s.names = append(s.names, "BeforeRetryLoop")
	i.Request.Header.Set("X-Trace", "1")
	return nil
}
func (s *steps) BeforeSigning(context.Context, *smithyhttp.InterceptorContext) error {
	s.names = append(s.names, "BeforeSigning")
	return nil
}
func (s *steps) AfterSigning(context.Context, *smithyhttp.InterceptorContext) error {
	s.names = append(s.names, "AfterSigning")
	return nil
}
func (s *steps) AfterExecution(_ context.Context, i *smithyhttp.InterceptorContext) error {
	s.names = append(s.names, fmt.Sprintf("AfterExecution %T", i.Output))
	return nil
}

func TestInterceptors(t *testing.T) {
	var s steps
	c := testClient(func(r *http.Request) (*http.Response, error) {
		require.Contains(t, r.Header.Get("Authorization"), "x-trace", "what is added before the attempts is signed")
		return answer(200, "{}"), nil
	}, func(o *Options) {
		o.Interceptors.AddBeforeExecution(&s)
		o.Interceptors.AddBeforeRetryLoop(&s)
		o.Interceptors.AddBeforeSigning(&s)
		o.Interceptors.AddAfterSigning(&s)
		o.Interceptors.AddAfterAttempt(&s)
		o.Interceptors.AddAfterExecution(&s)
	})
	require.NoError(t, send(c, batch))
	require.Equal(t, []string{"BeforeExecution", "BeforeRetryLoop", "BeforeSigning", "AfterSigning", "AfterAttempt 200", "AfterExecution *metering.BatchMeterUsageResult"}, s.names)
}

// TestErrorsAboveTheAnswer: a success that is lost on its way to the caller
// may be billed.
func TestErrorsAboveTheAnswer(t *testing.T) {
	success := func() *http.Response { return answer(200, `{"MeteringRecordId":"m","Results":[]}`) }
	refused := func() *http.Response { return answer(400, `{"__type":"TimestampOutOfBoundsException"}`) }
	for name, c := range map[string]struct {
		option  func(*Options)
		answers []func() *http.Response
		refused error
	}{
		"AfterDeserialization": {func(o *Options) { o.Interceptors.AddAfterDeserialization(&refuser{times: 9}) }, []func() *http.Response{success}, nil},
		"AfterAttempt":         {func(o *Options) { o.Interceptors.AddAfterAttempt(&refuser{times: 9}) }, []func() *http.Response{success}, nil},
		"AfterExecution":       {func(o *Options) { o.Interceptors.AddAfterExecution(&refuser{times: 9}) }, []func() *http.Response{success}, nil},
		"retried and refused":  {func(o *Options) { o.Interceptors.AddAfterAttempt(&refuser{times: 1, retry: true}) }, []func() *http.Response{success, refused}, ErrTimestampOutOfBounds},
		"result dropped": {func(o *Options) {
			o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
				return s.Initialize.Add(middleware.InitializeMiddlewareFunc("drop", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
					_, md, err := next.HandleInitialize(ctx, in)
					return middleware.InitializeOutput{}, md, err
				}), middleware.Before)
			})
		}, []func() *http.Response{success}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []request{batch, meter} {
				answers := c.answers
				client := testClient(func(r *http.Request) (*http.Response, error) {
					next := answers[0]
					answers = answers[1:]
					return next(), nil
				}, c.option)
				err := send(client, in)
				require.ErrorIs(t, err, ErrUnconfirmed)
				if c.refused != nil && errors.Is(err, c.refused) {
					require.Empty(t, answers)
				}
			}
		})
	}
}

func TestMiddlewareThatChangesTheRequest(t *testing.T) {
	const token = "EXAMPLEanotherTokenAltogether"
	replace := func(with request) func(*Options) {
		return func(o *Options) {
			o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
				return s.Initialize.Add(middleware.InitializeMiddlewareFunc("replace", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
					in.Parameters = with
					return next.HandleInitialize(ctx, in)
				}), middleware.Before)
			})
		}
	}
	echo := testClient(func(r *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(r.Body)
		return answer(500, "the body was "+strings.ReplaceAll(string(b), `"`, "'")), nil
	})
	err := send(echo, resolve, replace(&ResolveCustomerRequest{RegistrationToken: token}))
	require.NotContains(t, err.Error(), token)

	dry := *meter
	dry.DryRun = true
	require.ErrorIs(t, send(echo, &dry, replace(meter)), ErrUnconfirmed)
	require.NotErrorIs(t, send(echo, meter, replace(&dry)), ErrUnconfirmed)
	requirePaths(t, send(echo, batch, replace(&BatchMeterUsageRequest{})), "ProductCode", "UsageRecords")
	require.Error(t, send(echo, &BatchMeterUsageRequest{}, replace(batch)))
}

func TestAnswerThatAnInterceptorRefuses(t *testing.T) {
	closed := false
	c := testClient(func(*http.Request) (*http.Response, error) {
		resp := answer(200, "{}")
		resp.Body = struct {
			io.Reader
			io.Closer
		}{resp.Body, closerFunc(func() error { closed = true; return nil })}
		return resp, nil
	}, func(o *Options) { o.Interceptors.AddAfterTransmit(&refuser{times: 9}) })
	err := send(c, batch)
	require.ErrorContains(t, err, "refused by the interceptor")
	require.ErrorIs(t, err, ErrUnconfirmed, "what the answer said is not known")
	require.True(t, closed)
}

// refuser is an interceptor that fails so many times.
type refuser struct {
	times int
	retry bool
}

func (r *refuser) fail(context.Context, *smithyhttp.InterceptorContext) error {
	if r.times--; r.times < 0 {
		return nil
	}
	if r.retry {
		return retryable{errors.New("refused by the interceptor")}
	}
	return errors.New("refused by the interceptor")
}

func (r *refuser) AfterTransmit(ctx context.Context, i *smithyhttp.InterceptorContext) error {
	return r.fail(ctx, i)
}
func (r *refuser) AfterDeserialization(ctx context.Context, i *smithyhttp.InterceptorContext) error {
	return r.fail(ctx, i)
}
func (r *refuser) AfterAttempt(ctx context.Context, i *smithyhttp.InterceptorContext) error {
	return r.fail(ctx, i)
}
func (r *refuser) AfterExecution(ctx context.Context, i *smithyhttp.InterceptorContext) error {
	return r.fail(ctx, i)
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// TestNewFromConfig shows what each field of aws.Config does to a call.
func TestNewFromConfig(t *testing.T) {
	type seen struct {
		requests []*http.Request
		log      bytes.Buffer
		events   []string
	}
	throttled := `{"__type":"ThrottlingException"}`
	for name, c := range map[string]struct {
		answer *http.Response
		config func(*aws.Config, *seen)
		check  func(*testing.T, *Client, *seen, error)
	}{
		"Region": {answer(200, "{}"), func(c *aws.Config, _ *seen) { c.Region = "eu-west-1" }, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Contains(t, s.requests[0].Header.Get("Authorization"), "/eu-west-1/aws-marketplace/")
			require.Equal(t, "metering.marketplace.eu-west-1.amazonaws.com", s.requests[0].URL.Host)
		}},
		"Credentials": {answer(200, "{}"), func(c *aws.Config, _ *seen) {}, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Contains(t, s.requests[0].Header.Get("Authorization"), "Credential="+testCredentials.AccessKeyID+"/")
		}},
		"BaseEndpoint": {answer(200, "{}"), func(c *aws.Config, _ *seen) { c.BaseEndpoint = aws.String("http://127.0.0.1:1/prefix") }, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Equal(t, "http://127.0.0.1:1/prefix/", s.requests[0].URL.String())
		}},
		"Retryer": {answer(400, throttled), func(c *aws.Config, _ *seen) { c.Retryer = func() aws.Retryer { return aws.NopRetryer{} } }, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Len(t, s.requests, 1)
		}},
		"RetryMode": {answer(200, "{}"), func(c *aws.Config, _ *seen) { c.RetryMode = aws.RetryModeAdaptive }, func(t *testing.T, c *Client, s *seen, err error) {
			require.IsType(t, &retry.AdaptiveMode{}, c.Options().Retryer)
		}},
		"RetryMaxAttempts": {answer(400, throttled), func(c *aws.Config, _ *seen) { c.RetryMaxAttempts = 2 }, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Len(t, s.requests, 2)
		}},
		"AppID": {answer(200, "{}"), func(c *aws.Config, _ *seen) { c.AppID = "billing" }, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Contains(t, s.requests[0].Header.Get("User-Agent"), "app/billing")
		}},
		"Logger and ClientLogMode": {answer(200, "{}"), func(c *aws.Config, s *seen) {
			c.Logger, c.ClientLogMode = logging.NewStandardLogger(&s.log), aws.LogRequest
		}, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Contains(t, s.log.String(), "X-Amz-Target: AWSMPMeteringService.BatchMeterUsage")
		}},
		"DisableClockSkewCorrection": {answer(400, `{"__type":"InvalidSignatureException"}`), func(c *aws.Config, _ *seen) { c.DisableClockSkewCorrection = true }, func(t *testing.T, c *Client, s *seen, err error) {
			require.Len(t, s.requests, 1)
			require.Zero(t, c.skew.Load())
		}},
		"clock skew corrected": {answer(400, `{"__type":"InvalidSignatureException"}`), func(c *aws.Config, _ *seen) {}, func(t *testing.T, c *Client, s *seen, err error) {
			require.Len(t, s.requests, 2, "the second time by the service's clock, and then no more")
			require.NotZero(t, c.skew.Load())
		}},
		"APIOptions": {answer(200, "{}"), func(c *aws.Config, s *seen) {
			c.APIOptions = append(c.APIOptions, func(stack *middleware.Stack) error { s.events = append(s.events, stack.ID()); return nil })
		}, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Equal(t, []string{"BatchMeterUsage"}, s.events)
		}},
		"Interceptors": {answer(200, "{}"), func(c *aws.Config, s *seen) { c.Interceptors.AddBeforeRetryLoop(&steps{}) }, func(t *testing.T, _ *Client, s *seen, err error) {
			require.Equal(t, "1", s.requests[0].Header.Get("X-Trace"))
		}},
		"ServiceOptions": {answer(400, throttled), func(c *aws.Config, s *seen) {
			c.ServiceOptions = append(c.ServiceOptions, func(service string, options any) {
				s.events = append(s.events, service)
				options.(*Options).RetryMaxAttempts = 2
				options.(*Options).AppID = "lost"
			})
		}, func(t *testing.T, c *Client, s *seen, err error) {
			require.Equal(t, []string{"Marketplace Metering"}, s.events)
			require.Len(t, s.requests, 2)
			require.Equal(t, "option", c.Options().AppID, "option functions go last")
		}},
		"DefaultsMode": {answer(200, "{}"), func(c *aws.Config, _ *seen) { c.HTTPClient, c.DefaultsMode = nil, aws.DefaultsModeInRegion }, func(t *testing.T, c *Client, _ *seen, _ error) {
			client := c.Options().HTTPClient.(*awshttp.BuildableClient)
			require.Equal(t, 1100*time.Millisecond, client.GetDialer().Timeout)
			require.Equal(t, 1100*time.Millisecond, client.GetTransport().TLSHandshakeTimeout)
		}},
		"DefaultsMode and RuntimeEnvironment": {answer(200, "{}"), func(c *aws.Config, _ *seen) {
			c.HTTPClient, c.DefaultsMode = nil, aws.DefaultsModeAuto
			c.RuntimeEnvironment = aws.RuntimeEnvironment{EnvironmentIdentifier: aws.ExecutionEnvironmentID("AWS_ECS"), Region: "us-east-1"}
		}, func(t *testing.T, c *Client, _ *seen, _ error) {
			client := c.Options().HTTPClient.(*awshttp.BuildableClient)
			require.Equal(t, 1100*time.Millisecond, client.GetDialer().Timeout, "in the Region")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which makes the back-off pass at once
				var s seen
				cfg := aws.Config{Region: "us-east-1", Credentials: testOptions().Credentials, HTTPClient: doFunc(func(r *http.Request) (*http.Response, error) {
					s.requests = append(s.requests, r)
					resp := *c.answer
					resp.Header = http.Header{"Date": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}
					b, _ := io.ReadAll(c.answer.Body)
					resp.Body = io.NopCloser(bytes.NewReader(b))
					c.answer.Body = io.NopCloser(bytes.NewReader(b))
					return &resp, nil
				})}
				c.config(&cfg, &s)
				var optFns []func(*Options)
				if cfg.ServiceOptions != nil {
					optFns = append(optFns, func(o *Options) { o.AppID = "option" })
				}
				client := NewFromConfig(cfg, optFns...)
				var err error
				if cfg.HTTPClient != nil {
					err = send(client, batch)
				}
				c.check(t, client, &s, err)
			})
		})
	}
}

// TestOptionsAreCopied: what is changed for one call, or after New, changes
// nothing else.
func TestOptionsAreCopied(t *testing.T) {
	var called []string
	named := func(name string) func(*middleware.Stack) error {
		return func(*middleware.Stack) error { called = append(called, name); return nil }
	}
	o := testOptions()
	o.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) { return answer(200, "{}"), nil })
	o.APIOptions = []func(*middleware.Stack) error{named("own")}
	c := New(o)
	o.APIOptions[0] = named("of the caller's slice")
	c.Options().APIOptions[0] = named("of Options")
	require.NoError(t, send(c, batch, func(o *Options) { o.APIOptions[0] = named("of the call") }))
	require.NoError(t, send(c, batch))
	require.Equal(t, []string{"of the call", "own"}, called)

	var s, other steps
	o = testOptions()
	o.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) { return answer(200, "{}"), nil })
	o.Interceptors.BeforeExecution = make([]smithyhttp.BeforeExecutionInterceptor, 0, 4)
	o.Interceptors.AddBeforeExecution(&s)
	c = New(o)
	o.Interceptors.BeforeExecution[0] = &other
	require.NoError(t, send(c, batch, func(o *Options) { o.Interceptors.BeforeExecution[0] = &other }))
	require.NoError(t, send(c, batch))
	require.Len(t, s.names, 1)
	require.Len(t, other.names, 1)
}

// TestNilOptions: an option function may set back to nil what has a default.
func TestNilOptions(t *testing.T) {
	none := func(o *Options) { o.Retryer, o.MeterProvider, o.TracerProvider, o.Logger = nil, nil, nil, nil }
	do := func(*http.Request) (*http.Response, error) { return answer(200, "{}"), nil }
	require.NoError(t, send(testClient(do, none), batch))
	require.NoError(t, send(testClient(do), batch, none))
	require.NotNil(t, New(Options{}, func(o *Options) { o.HTTPClient = nil }).Options().HTTPClient)
	own := awshttp.NewBuildableClient()
	require.Same(t, own, New(Options{HTTPClient: own}).Options().HTTPClient, "whose connections may be shared")
}

func TestDefaultsMode(t *testing.T) {
	c := New(Options{DefaultsMode: aws.DefaultsModeInRegion})
	require.Equal(t, 1100*time.Millisecond, c.Options().HTTPClient.(*awshttp.BuildableClient).GetDialer().Timeout)
	c = New(Options{})
	require.Equal(t, awshttp.DefaultDialConnectTimeout, c.Options().HTTPClient.(*awshttp.BuildableClient).GetDialer().Timeout)
}

// source is one of aws.Config's sources.
type source struct {
	fips      aws.FIPSEndpointState
	dualStack aws.DualStackEndpointState
	endpoint  string
	ignore    bool
	err       error
}

func (s source) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	return s.fips, s.fips != aws.FIPSEndpointStateUnset, s.err
}
func (s source) GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error) {
	return s.dualStack, s.dualStack != aws.DualStackEndpointStateUnset, nil
}
func (s source) GetServiceBaseEndpoint(_ context.Context, id string) (string, bool, error) {
	return s.endpoint, s.endpoint != "" && id == ServiceID, nil
}
func (s source) GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error) {
	return s.ignore, s.ignore, nil
}

func TestConfigSources(t *testing.T) {
	for name, c := range map[string]struct {
		sources []any
		env     string
		want    string
	}{
		"none":                     {nil, "", "https://metering.marketplace.us-east-1.amazonaws.com/"},
		"FIPS":                     {[]any{1, source{fips: aws.FIPSEndpointStateEnabled}}, "", "https://metering.marketplace-fips.us-east-1.amazonaws.com/"},
		"the first one wins":       {[]any{source{fips: aws.FIPSEndpointStateDisabled}, source{fips: aws.FIPSEndpointStateEnabled}}, "", "https://metering.marketplace.us-east-1.amazonaws.com/"},
		"dual-stack":               {[]any{source{dualStack: aws.DualStackEndpointStateEnabled}}, "", "https://metering-marketplace.us-east-1.api.aws/"},
		"endpoint":                 {[]any{source{endpoint: "http://127.0.0.1:1"}}, "", "http://127.0.0.1:1/"},
		"endpoint, ignored":        {[]any{source{endpoint: "http://127.0.0.1:1", ignore: true}}, "", "https://metering.marketplace.us-east-1.amazonaws.com/"},
		"endpoint, another global": {[]any{source{endpoint: "http://127.0.0.1:1"}}, "http://127.0.0.1:2", "http://127.0.0.1:2/"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := aws.Config{Region: "us-east-1", ConfigSources: c.sources}
			if c.env != "" {
				t.Setenv("AWS_ENDPOINT_URL", c.env)
				cfg.BaseEndpoint = &c.env // as aws-sdk-go-v2/config does
			}
			o := NewFromConfig(cfg).Options()
			got, err := resolveEndpoint(&o)
			require.NoError(t, err)
			require.Equal(t, c.want, got.url.String())
		})
	}
	t.Run("an error is not lost", func(t *testing.T) {
		c := NewFromConfig(aws.Config{Region: "us-east-1", Credentials: testOptions().Credentials, ConfigSources: []any{source{err: errors.New("AWS_USE_FIPS_ENDPOINT is neither true nor false")}}})
		require.ErrorContains(t, send(c, batch), "AWS_USE_FIPS_ENDPOINT")
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("%d was followed, with %v", status, r.Header)
		}))
		defer other.Close()
		redirect := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) }
		for _, client := range []aws.HTTPClient{nil, &http.Client{}} {
			err := send(serverClient(t, redirect, func(o *Options) {
				if client != nil {
					o.HTTPClient = client
				}
			}), resolve)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, status, e.ResponseMetadata.HTTPStatusCode)
		}
	}
}

func TestCanMeter(t *testing.T) {
	in := *meter
	in.ClientToken = "of the report"
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"yes":            {400, `{"__type":"DryRunOperation","message":"would have succeeded"}`, nil},
		"no permission":  {400, `{"__type":"UnauthorizedException"}`, ErrUnauthorized},
		"not subscribed": {400, `{"__type":"CustomerNotEntitledException"}`, ErrCustomerNotEntitled},
	} {
		t.Run(name, func(t *testing.T) {
			client := testClient(func(r *http.Request) (*http.Response, error) {
				var body struct {
					DryRun      bool
					ClientToken string
				}
				decode(t, r, &body)
				require.True(t, body.DryRun)
				require.NotEqual(t, in.ClientToken, body.ClientToken)
				return answer(c.status, c.body), nil
			})
			err := client.CanMeter(context.Background(), &in)
			require.ErrorIs(t, err, c.want)
			require.False(t, in.DryRun)
		})
	}
	t.Run("a server that knows no dry run", func(t *testing.T) {
		client := testClient(func(*http.Request) (*http.Response, error) { return answer(200, `{"MeteringRecordId":"m-1"}`), nil })
		require.ErrorContains(t, client.CanMeter(context.Background(), &in), "m-1")
	})
	require.Error(t, testClient(nil).CanMeter(context.Background(), nil))
}

func TestNilRequest(t *testing.T) {
	c := testClient(func(*http.Request) (*http.Response, error) { return nil, errors.New("called") })
	for _, in := range []request{(*BatchMeterUsageRequest)(nil), (*MeterUsageRequest)(nil), (*RegisterUsageRequest)(nil), (*ResolveCustomerRequest)(nil)} {
		var invalid *ValidationError
		require.ErrorAs(t, send(c, in), &invalid)
	}
}

// TestSecretsStayOut looks for secrets in every log mode and in errors, while
// the server repeats what it was sent.
func TestSecretsStayOut(t *testing.T) {
	const signature = "eyJhbGciOiJQUzI1NiJ9.e30.c2lnbmF0dXJl"
	for name, respond := range map[string]func(r *http.Request, body string) *http.Response{
		"results": func(r *http.Request, _ string) *http.Response {
			return answer(200, `{"Signature":"`+signature+`","MeteringRecordId":"m","CustomerAWSAccountId":"1"}`)
		},
		"cut short": func(r *http.Request, _ string) *http.Response {
			return answer(200, `{"Signature" : "`+signature)
		},
		"errors that repeat the request": func(r *http.Request, body string) *http.Response {
			return answer(400, fmt.Sprintf(`{"__type":"InvalidSignatureException","message":%q}`,
				"canonical:\nx-amz-security-token:"+r.Header.Get("X-Amz-Security-Token")+"\n"+body))
		},
		"pages that repeat the request": func(r *http.Request, body string) *http.Response {
			return answer(503, "<html>"+strings.Repeat(" ", 480)+body+r.Header.Get("X-Amz-Security-Token"))
		},
		"headers repeated": func(r *http.Request, _ string) *http.Response {
			return answer(403, fmt.Sprintf(`{"__type":"IncompleteSignatureException","message":%q}`, "Authorization="+r.Header.Get("Authorization")))
		},
		"pages that repeat it escaped": func(r *http.Request, body string) *http.Response {
			return answer(502, strings.NewReplacer("+", "%2B", "/", "%2F", "=", "&#61;").Replace(body))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := testClient(func(r *http.Request) (*http.Response, error) {
				b, _ := io.ReadAll(r.Body)
				return respond(r, string(b)), nil
			}, func(o *Options) {
				o.Logger = logging.NewStandardLogger(&log)
				o.ClientLogMode = ^aws.ClientLogMode(0)
			})
			var out []string
			for _, in := range []request{batch, meter, register, resolve} {
				err := send(c, in)
				var e *Error
				errors.As(err, &e)
				out = append(out, fmt.Sprintf("%v %+v %#v %+v %#v", err, err, err, e, e), slogged(err), slogged(in))
			}
			out = append(out, log.String())
			require.Contains(t, log.String(), "Request\n")
			require.Contains(t, log.String(), "CANONICAL STRING")
			require.Contains(t, log.String(), `"Dimension":"users"`, "what is no secret is logged")
			for _, text := range out {
				for _, secret := range []string{signature[:12], resolve.RegistrationToken[:12], testCredentials.SessionToken, testCredentials.SecretAccessKey, "Credential=AKID"} {
					require.NotContains(t, text, secret)
				}
				require.NotRegexp(t, `Signature=[0-9a-f]`, text)
			}
		})
	}
}

// TestOrdinaryWordsAreNoSecrets: a stranger chooses the token that is posted,
// and must not silence what went wrong by it.
func TestOrdinaryWordsAreNoSecrets(t *testing.T) {
	for _, token := range []string{"expired-token-exception", "https response error", "my-registration-token", "security token", "e"} {
		c := testClient(func(*http.Request) (*http.Response, error) {
			return answer(400, `{"__type":"InvalidTokenException","message":"The registration token is not valid."}`), nil
		})
		err := send(c, &ResolveCustomerRequest{RegistrationToken: token})
		require.ErrorContains(t, err, "https response error StatusCode: 400, RequestID: request-1, InvalidTokenException: ")
		if token != "e" { // which is masked, letter by letter
			require.ErrorContains(t, err, "is not valid.")
		}
	}
	c := testClient(nil, func(o *Options) { o.Region = "" })
	require.ErrorContains(t, send(c, &ResolveCustomerRequest{RegistrationToken: "AWS_REGION where the"}), "AWS_REGION where the")

	c = testClient(func(*http.Request) (*http.Response, error) {
		return answer(400, `{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`), nil
	})
	err := send(c, &ResolveCustomerRequest{RegistrationToken: "security token"})
	require.ErrorIs(t, err, ErrExpiredCredentials, "the seller's own, whatever the buyer's browser brings")
	require.NotErrorIs(t, err, ErrExpiredToken)
}

// TestSecretsAtTheCut: a quotation ends in the middle of the token, and is not
// made longer by masks.
func TestSecretsAtTheCut(t *testing.T) {
	for _, token := range []string{resolve.RegistrationToken, "e"} {
		for _, before := range []int{0, 500, 505, 511, 512} {
			c := testClient(func(*http.Request) (*http.Response, error) {
				return answer(503, strings.Repeat("x", before)+strings.Repeat(token, 100)), nil
			})
			err := send(c, &ResolveCustomerRequest{RegistrationToken: token})
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, (strings.Repeat("x", before) + strings.Repeat(masked, 100))[:maxQuoted], e.Message)
		}
	}
}

// TestSecretsStayOutOfTransportErrors: net/http quotes what it can't read.
func TestSecretsStayOutOfTransportErrors(t *testing.T) {
	var log bytes.Buffer
	c := testClient(func(r *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(r.Body)
		return nil, fmt.Errorf("malformed MIME header: missing colon: %q: %w", string(b)+r.Header.Get("Authorization")+r.Header.Get("X-Amz-Security-Token"), io.ErrUnexpectedEOF)
	}, func(o *Options) {
		o.Logger, o.ClientLogMode, o.Retryer = logging.NewStandardLogger(&log), aws.LogRetries, aws.NopRetryer{}
	})
	for _, in := range []request{resolve, batch} {
		err := send(c, in)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		for _, text := range []string{err.Error(), log.String()} {
			for _, secret := range []string{resolve.RegistrationToken[:12], testCredentials.SessionToken, "Credential=AKID"} {
				require.NotContains(t, text, secret)
			}
		}
	}
	require.Contains(t, log.String(), "missing colon")
}

// staticCredentials is a provider that is a value, as that of aws-sdk-go-v2's
// credentials package is.
type staticCredentials struct{ Value aws.Credentials }

func (s staticCredentials) Retrieve(context.Context) (aws.Credentials, error) { return s.Value, nil }

func TestSecretsStayOutOfPrintedClients(t *testing.T) {
	c := testClient(func(*http.Request) (*http.Response, error) { return answer(200, "{}"), nil }, func(o *Options) {
		o.Credentials = staticCredentials{testCredentials}
	})
	require.NoError(t, send(c, batch))
	for _, v := range []any{c, c.Options(), struct{ *Client }{c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			text := fmt.Sprintf(verb, v)
			require.NotContains(t, text, testCredentials.SecretAccessKey)
			require.NotContains(t, text, testCredentials.SessionToken)
		}
	}
	require.Contains(t, fmt.Sprintf("%+v", c), "Region:us-east-1")
	require.NotContains(t, slogged(c.Options()), testCredentials.SecretAccessKey)
}

// TestSharePart compares with the plain way, whose time is the product of the
// lengths.
func TestSharePart(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	text := func() string {
		b := make([]byte, random.IntN(100))
		for i := range b {
			b[i] = byte('a' + random.IntN(10)/9)
		}
		return string(b)
	}
	shared := 0
	for range 2000 {
		a, b := text(), text()
		want := false
		for i := 0; i+secretPart <= len(a); i++ {
			want = want || strings.Contains(b, a[i:i+secretPart])
		}
		require.Equal(t, want, sharePart(a, b), "%q %q", a, b)
		if want {
			shared++
		}
	}
	require.NotZero(t, shared)
}

// TestBuffersAreNotShared: middleware of others may give up an attempt that
// goes on in the background, and send its request after the next call began.
func TestBuffersAreNotShared(t *testing.T) {
	bodies := make(chan string, 2)
	release := make(chan struct{})
	c := testClient(func(r *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(r.Body)
		bodies <- string(b)
		return answer(200, `{"MeteringRecordId":"m"}`), nil
	})
	impatient := func(o *Options) {
		o.Retryer = aws.NopRetryer{}
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			return s.Finalize.Add(middleware.FinalizeMiddlewareFunc("impatient", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				go func() {
					<-release
					next.HandleFinalize(ctx, in)
				}()
				return middleware.FinalizeOutput{}, middleware.Metadata{}, errors.New("took too long")
			}), middleware.After)
		})
	}
	first := *meter
	first.ClientToken = "first"
	require.ErrorContains(t, send(c, &first, impatient), "took too long")
	second := *meter
	second.ClientToken = "other"
	require.NoError(t, send(c, &second))
	require.Contains(t, <-bodies, `"ClientToken":"other"`)
	close(release)
	require.Contains(t, <-bodies, `"ClientToken":"first"`)
}

func slogged(v any) string {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
	return b.String()
}

func TestLoggingChangesNothing(t *testing.T) {
	body := `{"Results":[{"Status":"Success","MeteringRecordId":"m"}]}`
	var requests []string
	handler := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		requests = append(requests, string(b))
		io.WriteString(w, body)
	}
	want, err := serverClient(t, handler).BatchMeterUsage(context.Background(), batch)
	require.NoError(t, err)
	var log bytes.Buffer
	got, err := serverClient(t, handler, func(o *Options) {
		o.Logger, o.ClientLogMode = logging.NewStandardLogger(&log), aws.LogRequestWithBody|aws.LogResponseWithBody
	}).BatchMeterUsage(context.Background(), batch)
	require.NoError(t, err)
	require.Equal(t, want.Results, got.Results)
	require.Equal(t, requests[0], requests[1])
	require.Contains(t, log.String(), requests[0])
	require.Contains(t, log.String(), body)
}

// meterProvider and tracerProvider record what they are given.
type meterProvider struct {
	metrics.NopMeterProvider
	recorded *sync.Map
}

func (p meterProvider) Meter(scope string, _ ...metrics.MeterOption) metrics.Meter {
	return nameMeter{metrics.NopMeterProvider{}.Meter(scope), p.recorded}
}

type nameMeter struct {
	metrics.Meter
	recorded *sync.Map
}

func (m nameMeter) Float64Histogram(name string, _ ...metrics.InstrumentOption) (metrics.Float64Histogram, error) {
	return histogram{name, m.recorded}, nil
}

type histogram struct {
	name     string
	recorded *sync.Map
}

func (h histogram) Record(_ context.Context, _ float64, fns ...metrics.RecordMetricOption) {
	var o metrics.RecordMetricOptions
	for _, fn := range fns {
		fn(&o)
	}
	h.recorded.Store(h.name, o.Properties.Get("rpc.method"))
}

type tracerProvider struct {
	spans *[]string
}

func (p tracerProvider) Tracer(string, ...tracing.TracerOption) tracing.Tracer { return p }

func (p tracerProvider) StartSpan(ctx context.Context, name string, _ ...tracing.SpanOption) (context.Context, tracing.Span) {
	*p.spans = append(*p.spans, name)
	_, span := (&tracing.NopTracerProvider{}).Tracer("").StartSpan(ctx, name)
	return ctx, span
}

func TestTelemetry(t *testing.T) {
	var recorded sync.Map
	var spans []string
	respond := func(status int) *Client {
		return testClient(func(*http.Request) (*http.Response, error) { return answer(status, "{}"), nil }, func(o *Options) {
			o.MeterProvider = meterProvider{recorded: &recorded}
			o.TracerProvider = tracerProvider{&spans}
			o.Retryer = aws.NopRetryer{}
		})
	}
	require.NoError(t, send(respond(200), batch))
	for name := range durations {
		method, ok := recorded.Load(name)
		require.True(t, ok, name)
		require.Equal(t, "BatchMeterUsage", method)
	}
	for _, name := range []string{"client.call.attempt_duration", "client.http.do_request_duration"} {
		_, ok := recorded.Load(name)
		require.True(t, ok, name)
	}
	require.Equal(t, "Marketplace Metering.BatchMeterUsage", spans[0])
	for _, name := range []string{"OperationSerializer", "RetryLoop", "Attempt", "GetIdentity", "SignRequest", "DoHTTPRequest", "OperationDeserializer"} {
		require.Contains(t, spans, name)
	}
	require.Error(t, send(respond(400), batch))
}

// TestConcurrentUse is for the race detector: one client, calls with options
// of their own, middleware, and credentials that change.
func TestConcurrentUse(t *testing.T) {
	var generation atomic.Int64
	c := serverClient(t, func(w http.ResponseWriter, r *http.Request) {
		n := generation.Add(1)
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Date", time.Now().Add(time.Duration(n%3)*time.Minute).UTC().Format(http.TimeFormat))
		if n%7 == 0 {
			w.WriteHeader(500)
			return
		}
		io.WriteString(w, `{"MeteringRecordId":"m","Signature":"s","CustomerAWSAccountId":"1"}`)
	}, func(o *Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fmt.Sprint("AKID", generation.Load()/10), SecretAccessKey: "s"}, nil
		})
		o.RetryMaxAttempts = 10
	})
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			for j := range 20 {
				in := []request{batch, meter, register, resolve}[(i+j)%4]
				var optFns []func(*Options)
				switch j % 3 {
				case 1:
					optFns = append(optFns, func(o *Options) { o.Region = fmt.Sprintf("us-test-%d", i) })
				case 2:
					optFns = append(optFns, func(o *Options) { o.APIOptions = append(o.APIOptions, (&observer{}).options) })
				}
				if err := send(c, in, optFns...); err != nil {
					t.Errorf("%T: %v", in, err)
				}
			}
		})
	}
	group.Wait()
}
