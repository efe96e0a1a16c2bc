package meteringtest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

func TestQuotas(t *testing.T) {
	for operation, rate := range map[string]int{"BatchMeterUsage": 10, "MeterUsage": 10, "RegisterUsage": 5} {
		t.Run(operation, func(t *testing.T) {
			s := newService(t, func(o *meteringtest.Options) { o.Quotas = true })
			// within returns how many of n requests are not throttled.
			within := func(n int) (passed int) {
				for range n {
					a := s.call(operation, object{})
					if a.code() != "com.amazonaws.marketplacemetering#ThrottlingException" {
						require.Equal(t, "com.amazon.coral.validate#ValidationException", a.code())
						passed++
					} else {
						require.Equal(t, http.StatusBadRequest, a.status)
					}
				}
				return passed
			}
			require.Equal(t, rate, within(3*rate), "a second's worth at once; what is throttled costs nothing")
			s.clock.Advance(time.Second / time.Duration(rate))
			require.Equal(t, 1, within(2))
			s.Advance(time.Second / 2)
			require.Equal(t, rate/2, within(rate))
			s.Advance(time.Hour)
			require.Equal(t, rate, within(2*rate), "no more than a second's worth is saved up")
			s.Advance(-time.Hour)
			require.Zero(t, within(1), "a clock set back fills nothing")
			s.Advance(time.Second)
			require.Equal(t, rate, within(2*rate))
			require.Len(t, s.Refused(), s.RequestCount())
			require.Equal(t, "ResolveCustomer", s.resolve(30))
		})
	}
}

// resolve calls an operation that has no quota n times.
func (s *service) resolve(n int) string {
	for range n {
		s.refused("InvalidTokenException", "ResolveCustomer", object{"RegistrationToken": "x"})
	}
	return s.Requests()[len(s.Requests())-1].Operation
}

func TestQuotasCount(t *testing.T) {
	other := aws.Credentials{AccessKeyID: "second", SecretAccessKey: "s"}
	stranger := aws.Credentials{AccessKeyID: "stranger", SecretAccessKey: "s", AccountID: "210987654321"}
	s := newService(t, func(o *meteringtest.Options) {
		o.Quotas = true
		o.Credentials = []aws.Credentials{testKeys, other, stranger}
	})
	as := func(creds aws.Credentials) string {
		req := request(t, s.URL, "RegisterUsage", "{}")
		sign(t, req, creds, "aws-marketplace", "us-east-1", time.Now())
		return s.send(req).code()
	}
	const throttled = "com.amazonaws.marketplacemetering#ThrottlingException"
	const refused = "com.amazon.coral.validate#ValidationException"

	s.send(request(t, s.URL, "RegisterUsage", "{}")) // unsigned: nobody's
	s.FailNext(2, "InternalServiceErrorException")
	for range 2 {
		require.Equal(t, "com.amazonaws.marketplacemetering#InternalServiceErrorException", as(testKeys))
	}
	for range 3 {
		require.Equal(t, refused, as(other))
	}
	require.Equal(t, throttled, as(testKeys), "what a fault answered has counted, and so have other keys of the account")
	require.Equal(t, refused, as(stranger), "another account has a quota of its own")
	require.Equal(t, "com.amazon.coral.validate#ValidationException", s.call("BatchMeterUsage", object{}).code(), "and so has another operation")
	s.FailNext(1, "InternalServiceErrorException")
	require.Equal(t, "com.amazonaws.marketplacemetering#InternalServiceErrorException", as(testKeys), "a fault comes before the throttle")
}

func TestNoQuotas(t *testing.T) {
	s := newService(t)
	for range 30 {
		require.Equal(t, 200, s.call("BatchMeterUsage", batch([]object{}...)).status)
	}
}
