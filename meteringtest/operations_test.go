package meteringtest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

func usage() object {
	return object{"ProductCode": "prod-1", "Timestamp": start.Add(-time.Hour).Unix(), "UsageDimension": "users", "UsageQuantity": 3}
}

// meter returns the MeteringRecordId of a call that must succeed.
func (s *service) meter(in object) string {
	s.t.Helper()
	a := s.call("MeterUsage", in)
	require.Equal(s.t, 200, a.status, a.body)
	require.NotEmpty(s.t, a.json["MeteringRecordId"])
	return a.json["MeteringRecordId"].(string)
}

func TestMeterUsage(t *testing.T) {
	s := newService(t)
	id := s.meter(with(with(usage(), "ClientToken", "t-1"), "UsageAllocations", list{allocation(3, "a", "1")}))
	require.Equal(t, []meteringtest.Record{{
		Operation:        "MeterUsage",
		MeteringRecordId: id,
		ProductCode:      "prod-1",
		Dimension:        "users",
		Timestamp:        start.Add(-time.Hour),
		Hour:             time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		Quantity:         3,
		UsageAllocations: []meteringtest.UsageAllocation{{AllocatedUsageQuantity: 3, Tags: []meteringtest.Tag{{Key: "a", Value: "1"}}}},
		ClientToken:      "t-1",
	}}, s.Records())
}

func TestMeterUsageOneRecordAnHour(t *testing.T) {
	s := newService(t)
	id := s.meter(usage())
	require.Equal(t, id, s.meter(usage()), "the same again is the same record")
	require.Equal(t, id, s.meter(with(usage(), "Timestamp", start.Add(-time.Hour+time.Minute).Unix())), "timestamps are rounded down to the hour")
	s.refused("DuplicateRequestException", "MeterUsage", with(usage(), "UsageQuantity", 4))
	s.refused("DuplicateRequestException", "MeterUsage", with(usage(), "UsageAllocations", list{allocation(3, "a", "1")}))
	require.Len(t, s.Records(), 1)

	require.NotEqual(t, id, s.meter(with(usage(), "UsageDimension", "GB")))
	require.NotEqual(t, id, s.meter(with(usage(), "Timestamp", start.Unix())))
	require.NotEqual(t, id, s.meter(with(usage(), "ProductCode", "prod-2")))
	require.Len(t, s.Records(), 4)
}

func TestMeterUsageClientToken(t *testing.T) {
	s := newService(t)
	in := with(usage(), "ClientToken", "t-1")
	id := s.meter(in)
	require.Equal(t, id, s.meter(in), "a retry")
	require.Equal(t, id, s.meter(with(in, "ClientToken", "t-2")), "the same report with a token of its own")
	for name, other := range map[string]object{
		"quantity":    with(in, "UsageQuantity", 4),
		"dimension":   with(in, "UsageDimension", "GB"),
		"hour":        with(in, "Timestamp", start.Unix()),
		"product":     with(in, "ProductCode", "prod-2"),
		"allocations": with(in, "UsageAllocations", list{allocation(3)}),
	} {
		a := s.call("MeterUsage", other)
		require.Equal(t, http.StatusConflict, a.status, name)
		require.Equal(t, "com.amazonaws.marketplacemetering#IdempotencyConflictException", a.code(), name)
	}
	require.Len(t, s.Records(), 1)
}

func TestMeterUsageDryRun(t *testing.T) {
	s := newService(t)
	dry := with(with(usage(), "ClientToken", "t-1"), "DryRun", true)
	s.refused("DryRunOperation", "MeterUsage", dry)
	require.Empty(t, s.Records())
	s.refused("InvalidUsageDimensionException", "MeterUsage", with(dry, "UsageDimension", "seats"))

	s.meter(with(with(dry, "DryRun", false), "UsageQuantity", 5))
	require.Len(t, s.Records(), 1, "a dry run uses up neither the hour nor the token")
}

func TestMeterUsageRefusals(t *testing.T) {
	s := newService(t)
	for name, tc := range map[string]struct {
		code string
		in   object
	}{
		"unknown product": {"InvalidProductCodeException", with(usage(), "ProductCode", "prod-9")},
		"empty product":   {"InvalidProductCodeException", with(usage(), "ProductCode", "")},
		"dimension":       {"InvalidUsageDimensionException", with(usage(), "UsageDimension", "seats")},
		"too old":         {"TimestampOutOfBoundsException", with(usage(), "Timestamp", start.Add(-6*time.Hour-time.Second).Unix())},
		"too new":         {"TimestampOutOfBoundsException", with(usage(), "Timestamp", start.Add(time.Hour).Unix())},
		"allocations":     {"InvalidUsageAllocationsException", with(usage(), "UsageAllocations", list{allocation(2)})},
		"tags":            {"InvalidTagException", with(usage(), "UsageAllocations", list{allocation(3, "?", "1")})},
	} {
		t.Run(name, func(t *testing.T) {
			(&service{s.Server, t, s.clock}).refused(tc.code, "MeterUsage", tc.in)
		})
	}
	require.Empty(t, s.Records())
	s.meter(with(usage(), "Timestamp", start.Add(-6*time.Hour).Unix()))

	s.SetEntitled("prod-1", false)
	s.refused("CustomerNotEntitledException", "MeterUsage", usage())
	s.SetEntitled("prod-1", true)
	s.meter(usage())
}

func TestMeterUsageValidation(t *testing.T) {
	s := newService(t)
	for name, tc := range map[string]struct {
		message string
		in      object
	}{
		"no product":        {"Value null at 'productCode'", with(usage(), "ProductCode", absent)},
		"product":           {"'productCode'", with(usage(), "ProductCode", "a b")},
		"no timestamp":      {"Value null at 'timestamp'", with(usage(), "Timestamp", absent)},
		"no dimension":      {"Value null at 'usageDimension'", with(usage(), "UsageDimension", absent)},
		"empty dimension":   {"'usageDimension'", with(usage(), "UsageDimension", "")},
		"quantity":          {"'usageQuantity'", with(usage(), "UsageQuantity", -1)},
		"empty token":       {"'clientToken' failed to satisfy constraint: Member must have length greater than or equal to 1", with(usage(), "ClientToken", "")},
		"long token":        {"'clientToken' failed to satisfy constraint: Member must have length less than or equal to 64", with(usage(), "ClientToken", strings.Repeat("t", 65))},
		"empty allocations": {"'usageAllocations'", with(usage(), "UsageAllocations", list{})},
	} {
		t.Run(name, func(t *testing.T) {
			(&service{s.Server, t, s.clock}).invalid(tc.message, "MeterUsage", tc.in)
		})
	}
	a := s.call("MeterUsage", with(usage(), "DryRun", "true"))
	require.Equal(t, "com.amazon.coral.service#SerializationException", a.code())
	require.Empty(t, s.Records())
}

func TestRegisterUsage(t *testing.T) {
	s := newService(t)
	block, rest := pem.Decode(s.PublicKey("prod-1", 1))
	require.Equal(t, "PUBLIC KEY", block.Type)
	require.Empty(t, rest)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	key := parsed.(*rsa.PublicKey)
	require.Equal(t, 3072, key.N.BitLen())
	require.Equal(t, s.PublicKey("prod-1", 1), s.PublicKey("prod-1", 1), "the key is made once")

	in := object{"ProductCode": "prod-1", "PublicKeyVersion": 1}
	for name, tc := range map[string]struct {
		in     object
		claims string
	}{
		"with nonce":    {with(in, "Nonce", "n-1"), `{"productCode":"prod-1","publicKeyVersion":1,"nonce":"n-1","iat":1795429800}`},
		"without nonce": {in, `{"productCode":"prod-1","publicKeyVersion":1,"iat":1795429800}`},
	} {
		t.Run(name, func(t *testing.T) {
			a := (&service{s.Server, t, s.clock}).call("RegisterUsage", tc.in)
			require.Equal(t, 200, a.status, a.body)
			require.Len(t, a.json, 1, "no PublicKeyRotationTimestamp: the version is current")
			parts := strings.Split(a.json["Signature"].(string), ".")
			require.Len(t, parts, 3)
			decoded := make([]string, 3)
			for i, p := range parts {
				b, err := base64.RawURLEncoding.DecodeString(p)
				require.NoError(t, err)
				decoded[i] = string(b)
			}
			require.Equal(t, `{"alg":"PS256","typ":"JWT"}`, decoded[0])
			require.JSONEq(t, tc.claims, decoded[1])
			hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
			require.NoError(t, rsa.VerifyPSS(key, crypto.SHA256, hash[:], []byte(decoded[2]), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		})
	}
}

func TestRegisterUsageRefusals(t *testing.T) {
	s := newService(t)
	in := object{"ProductCode": "prod-1", "PublicKeyVersion": 1}
	s.refused("InvalidProductCodeException", "RegisterUsage", with(in, "ProductCode", "prod-9"))
	s.refused("InvalidPublicKeyVersionException", "RegisterUsage", with(in, "PublicKeyVersion", 2))
	s.invalid("Value null at 'productCode'", "RegisterUsage", with(in, "ProductCode", absent))
	s.invalid("Value null at 'publicKeyVersion'", "RegisterUsage", with(in, "PublicKeyVersion", absent))
	s.invalid("'publicKeyVersion'", "RegisterUsage", with(in, "PublicKeyVersion", 0))
	s.invalid("'nonce'", "RegisterUsage", with(in, "Nonce", strings.Repeat("n", 256)))
	require.Equal(t, "com.amazon.coral.service#SerializationException", s.call("RegisterUsage", with(in, "PublicKeyVersion", "1")).code())
	s.SetEntitled("prod-1", false)
	s.refused("CustomerNotEntitledException", "RegisterUsage", in)
}

func TestResolveCustomer(t *testing.T) {
	for _, product := range []string{"prod-1", "new-1"} {
		t.Run(product, func(t *testing.T) {
			s := newService(t)
			buyer := s.Subscribe(product, account)
			token := s.RegistrationToken(buyer)
			for _, c := range "+/=" {
				require.Contains(t, token, string(c))
			}
			want := object{"ProductCode": product, "CustomerAWSAccountId": account}
			if product == "new-1" {
				want["LicenseArn"] = buyer.LicenseArn
			} else {
				want["CustomerIdentifier"] = buyer.CustomerIdentifier
			}
			in := object{"RegistrationToken": token}
			require.Equal(t, want, s.call("ResolveCustomer", in).json)
			s.clock.Advance(meteringtest.RegistrationTokenLifetime - time.Second)
			require.Equal(t, want, s.call("ResolveCustomer", in).json, "again, as long as it lives")
			s.clock.Advance(time.Second)
			require.NotContains(t, s.refused("ExpiredTokenException", "ResolveCustomer", in), token)
			require.NotContains(t, s.refused("InvalidTokenException", "ResolveCustomer", object{"RegistrationToken": token + "A"}), token)
			require.Equal(t, want, s.call("ResolveCustomer", object{"RegistrationToken": s.RegistrationToken(buyer)}).json, "a new token")
		})
	}
}

func TestResolveCustomerRefusals(t *testing.T) {
	s := newService(t)
	s.refused("InvalidTokenException", "ResolveCustomer", object{"RegistrationToken": "x"})
	s.invalid("Value null at 'registrationToken'", "ResolveCustomer", object{})
	s.invalid("'registrationToken'", "ResolveCustomer", object{"RegistrationToken": ""})
	a := s.call("ResolveCustomer", object{"RegistrationToken": 5})
	require.Equal(t, "com.amazon.coral.service#SerializationException", a.code())
}
