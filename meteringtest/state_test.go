package meteringtest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// as calls with keys of one's own, as another task or pod would.
func (s *service) as(accessKey, operation string, in object) answer {
	s.t.Helper()
	req := request(s.t, s.URL, operation, asJSON(s.t, in))
	sign(s.t, req, aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: "s"}, "aws-marketplace", "us-east-1", time.Now())
	return s.send(req)
}

func twoPods(o *meteringtest.Options) {
	o.Credentials = []aws.Credentials{testKeys, {AccessKeyID: "pod-1", SecretAccessKey: "s"}, {AccessKeyID: "pod-2", SecretAccessKey: "s"}}
}

func TestClock(t *testing.T) {
	s := newService(t)
	r := record(s.Subscribe("prod-1", account)) // 09:30
	in := func(now time.Time) string {
		s.SetTime(now)
		a := s.call("BatchMeterUsage", batch(r))
		require.WithinDuration(t, now, s.Requests()[len(s.Requests())-1].Time, 0)
		return a.code()
	}
	const outOfBounds = "com.amazonaws.marketplacemetering#TimestampOutOfBoundsException"
	require.Equal(t, outOfBounds, in(start.Add(-2*time.Hour)))
	require.Equal(t, outOfBounds, in(start.Add(48*time.Hour)))
	require.Empty(t, in(start))
	s.Advance(23 * time.Hour)
	require.Equal(t, "Success", s.status(batch(r)))
	s.clock.Advance(time.Second)
	s.refused("TimestampOutOfBoundsException", "BatchMeterUsage", batch(r))
	s.Advance(-time.Minute)
	require.Equal(t, "Success", s.status(batch(r)))
}

func TestMaxAhead(t *testing.T) {
	for name, tc := range map[string]struct{ option, ahead time.Duration }{
		"default":  {0, 5 * time.Minute},
		"an hour":  {time.Hour, time.Hour},
		"negative": {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(o *meteringtest.Options) { o.MaxAhead = tc.option })
			r := record(s.Subscribe("prod-1", account))
			s.refused("TimestampOutOfBoundsException", "BatchMeterUsage", batch(with(r, "Timestamp", start.Add(tc.ahead+time.Second).Unix())))
			require.Equal(t, "Success", s.status(batch(with(r, "Timestamp", start.Add(tc.ahead).Unix()))))
		})
	}
}

func TestPublicKeyRotation(t *testing.T) {
	s := newService(t)
	in := object{"ProductCode": "prod-1", "PublicKeyVersion": 1}
	require.Equal(t, 2, s.AddPublicKey("prod-1"))
	require.NotEqual(t, s.PublicKey("prod-1", 1), s.PublicKey("prod-1", 2))
	require.NotContains(t, s.call("RegisterUsage", in).json, "PublicKeyRotationTimestamp")

	rotation := start.Add(time.Hour)
	s.ExpirePublicKey("prod-1", 1, rotation)
	require.NotContains(t, s.call("RegisterUsage", in).json, "PublicKeyRotationTimestamp", "not yet")
	s.Advance(time.Hour)
	a := s.call("RegisterUsage", in)
	require.Equal(t, float64(rotation.Unix()), a.json["PublicKeyRotationTimestamp"])
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(a.json["Signature"].(string), ".")[1])
	require.NoError(t, err)
	require.Contains(t, string(claims), `"publicKeyVersion":1`)
	require.NotContains(t, s.call("RegisterUsage", with(in, "PublicKeyVersion", 2)).json, "PublicKeyRotationTimestamp")
	s.refused("InvalidPublicKeyVersionException", "RegisterUsage", with(in, "PublicKeyVersion", 3))
}

func TestRegisterRefusedOnce(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprint(once), func(t *testing.T) {
			s := newService(t, twoPods, func(o *meteringtest.Options) { o.RegisterRefusedOnce = once })
			s.SetEntitled("prod-1", false)
			s.SetPlatformSupported(false)
			register := func(pod, product string) string {
				a := s.as(pod, "RegisterUsage", object{"ProductCode": product, "PublicKeyVersion": 1})
				_, code, _ := strings.Cut(a.code(), "#")
				return code
			}
			again := "PlatformNotSupportedException"
			require.Equal(t, again, register("pod-1", "prod-1"))
			if once {
				again = ""
			}
			require.Equal(t, again, register("pod-1", "prod-1"))
			s.SetPlatformSupported(true)
			require.Equal(t, "CustomerNotEntitledException", register("pod-2", "prod-1"), "another pod")
			require.Empty(t, register("pod-2", "prod-2"))
		})
	}
}

// One record for a dimension and hour from each instance, task or pod.
func TestMeterUsagePerCaller(t *testing.T) {
	s := newService(t, twoPods)
	first := s.as("pod-1", "MeterUsage", usage()).json["MeteringRecordId"]
	require.Equal(t, first, s.as("pod-1", "MeterUsage", usage()).json["MeteringRecordId"])
	second := s.as("pod-2", "MeterUsage", with(usage(), "UsageQuantity", 4))
	require.Equal(t, 200, second.status, "another pod reports for itself")
	require.NotEqual(t, first, second.json["MeteringRecordId"])
	require.Len(t, s.Records(), 2)
}

func TestAgentCore(t *testing.T) {
	s := newService(t)
	s.RunOnAgentCore(true)
	one := s.meter(with(usage(), "ClientToken", "t-1"))
	require.Equal(t, one, s.meter(with(usage(), "ClientToken", "t-1")), "a retry")
	require.NotEqual(t, one, s.meter(with(usage(), "ClientToken", "t-2")))
	s.meter(with(with(usage(), "ClientToken", "t-3"), "UsageQuantity", 5))
	a := s.call("MeterUsage", with(with(usage(), "ClientToken", "t-3"), "UsageQuantity", 6))
	require.Equal(t, "com.amazonaws.marketplacemetering#IdempotencyConflictException", a.code())
	sum := int32(0)
	for _, r := range s.Records() {
		sum += r.Quantity
	}
	require.Equal(t, int32(11), sum)
}

func TestRefused(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	r := record(buyer)
	id := s.batch(batch(r))[0].id
	a := s.call("BatchMeterUsage", batch(r, with(r, "Quantity", 4), with(r, "CustomerAWSAccountId", "999999999999")))
	request := a.header.Get("X-Amzn-RequestId")
	want := meteringtest.Record{
		Operation: "BatchMeterUsage", ProductCode: "prod-1", CustomerAWSAccountId: account, Dimension: "users",
		Timestamp: start.Add(-time.Hour), Hour: start.Add(-90 * time.Minute),
	}
	duplicate, stranger := want, want
	duplicate.Quantity, duplicate.MeteringRecordId = 4, id
	stranger.Quantity, stranger.CustomerAWSAccountId = 3, "999999999999"
	require.Equal(t, []meteringtest.Refusal{
		{Time: start, RequestId: request, Operation: "BatchMeterUsage", Reason: "DuplicateRecord", Message: "The hour is reported with another quantity or other allocations, which stand.", Record: duplicate},
		{Time: start, RequestId: request, Operation: "BatchMeterUsage", Reason: "CustomerNotSubscribed", Message: "The customer has never bought the product.", Record: stranger},
	}, s.Refused())
}

// Nothing that Requests and Refused keep can be used to sign or to register.
func TestInspectionHoldsNoSecrets(t *testing.T) {
	s := newService(t, func(o *meteringtest.Options) {
		o.Credentials = []aws.Credentials{{AccessKeyID: "ASIAROLE", SecretAccessKey: "secret-of-role", SessionToken: "session-of-role"}}
	})
	token := s.RegistrationToken(s.Subscribe("prod-1", account))
	signatures := []string{"secret-of-role", "session-of-role", token}
	call := func(operation, body string) {
		for _, secret := range []string{"secret-of-role", "other"} {
			req := request(t, s.URL, operation, body)
			sign(t, req, aws.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: secret, SessionToken: "session-of-role"}, "aws-marketplace", "us-east-1", time.Now())
			_, signature, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
			signatures = append(signatures, signature)
			s.send(req)
		}
	}
	call("ResolveCustomer", asJSON(t, object{"RegistrationToken": token}))
	call("ResolveCustomer", asJSON(t, object{"RegistrationToken": token + "A"}))
	call("ResolveCustomer", asJSON(t, object{"RegistrationToken": list{token}}))
	call("ResolveCustomer", `{"RegistrationToken":"`+token)
	s.Advance(meteringtest.RegistrationTokenLifetime)
	call("ResolveCustomer", asJSON(t, object{"RegistrationToken": token}))
	require.Len(t, s.Requests(), 10)
	require.Len(t, s.Refused(), 9)
	kept := fmt.Sprintf("%+v %+v", s.Requests(), s.Refused())
	for _, secret := range signatures {
		require.NotContains(t, kept, secret)
	}
}

func TestKeepRecords(t *testing.T) {
	s := newService(t, func(o *meteringtest.Options) { o.KeepRecords = 3 })
	s.AddProduct(meteringtest.Product{ProductCode: "prod-3", Dimensions: strings.Split("a b c d e f g h", " ")})
	r := record(s.Subscribe("prod-3", account))
	for _, dimension := range strings.Split("a b c d e f g h", " ") {
		in := with(batch(with(r, "Dimension", dimension)), "ProductCode", "prod-3")
		require.Equal(t, "Success", s.status(in))
		in = with(batch(with(with(r, "Dimension", dimension), "Quantity", 9)), "ProductCode", "prod-3")
		require.Equal(t, "DuplicateRecord", s.status(in), "what is forgotten is still reported")
	}
	var records, refused []string
	for _, r := range s.Records() {
		records = append(records, r.Dimension)
	}
	for _, r := range s.Refused() {
		refused = append(refused, r.Record.Dimension)
	}
	require.Equal(t, []string{"f", "g", "h"}, records)
	require.Equal(t, []string{"f", "g", "h"}, refused)
	require.Len(t, s.Requests(), 3)
	require.Equal(t, 16, s.RequestCount())
}

// The service is a handler on its own, for whatever server a test has.
func TestServiceAsHandler(t *testing.T) {
	svc := meteringtest.NewService()
	w := httptest.NewRecorder()
	svc.ServeHTTP(w, signed(t, "http://any.test", "RegisterUsage", "{}"))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.True(t, bytes.Contains(w.Body.Bytes(), []byte("ValidationException")))
}
