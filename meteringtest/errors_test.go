package meteringtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// TestModelledErrors reaches each of the model's 19 errors by the cause that it
// has in life, without a Fault.
func TestModelledErrors(t *testing.T) {
	newLicence := func(s *service, product string) object { return record(s.Subscribe(product, account)) }
	register := object{"ProductCode": "prod-1", "PublicKeyVersion": 1}
	good := func(s *service) object { return batch(newLicence(s, "prod-1")) }
	type causes map[string]func(*service) (operation string, in object)
	all := causes{
		"CustomerNotEntitledException": func(s *service) (string, object) {
			s.SetEntitled("prod-1", false)
			return "RegisterUsage", register
		},
		"DisabledApiException": func(s *service) (string, object) {
			s.SetOffered("BatchMeterUsage", false)
			return "BatchMeterUsage", good(s)
		},
		"DuplicateRequestException": func(s *service) (string, object) {
			s.meter(usage())
			return "MeterUsage", with(usage(), "UsageQuantity", 4)
		},
		"ExpiredTokenException": func(s *service) (string, object) {
			token := s.RegistrationToken(s.Subscribe("prod-1", account))
			s.Advance(meteringtest.RegistrationTokenLifetime)
			return "ResolveCustomer", object{"RegistrationToken": token}
		},
		"IdempotencyConflictException": func(s *service) (string, object) {
			s.meter(with(usage(), "ClientToken", "t-1"))
			return "MeterUsage", with(with(usage(), "ClientToken", "t-1"), "UsageQuantity", 4)
		},
		"InternalServiceErrorException": func(s *service) (string, object) {
			s.SetOutage(true)
			return "BatchMeterUsage", good(s)
		},
		"InvalidCustomerIdentifierException": func(s *service) (string, object) {
			return "BatchMeterUsage", batch(with(newLicence(s, "prod-1"), "CustomerAWSAccountId", absent))
		},
		"InvalidEndpointRegionException": func(s *service) (string, object) {
			s.RunIn("eu-west-1")
			return "MeterUsage", usage()
		},
		"InvalidLicenseException": func(s *service) (string, object) {
			return "BatchMeterUsage", licensed(newLicence(s, "new-1"), newLicence(s, "new-2"))
		},
		"InvalidProductCodeException": func(s *service) (string, object) {
			return "BatchMeterUsage", with(good(s), "ProductCode", "prod-9")
		},
		"InvalidPublicKeyVersionException": func(s *service) (string, object) {
			return "RegisterUsage", with(register, "PublicKeyVersion", 2)
		},
		"InvalidRegionException": func(s *service) (string, object) {
			s.RunIn("eu-west-1")
			return "RegisterUsage", register
		},
		"InvalidTagException": func(s *service) (string, object) {
			return "MeterUsage", with(usage(), "UsageAllocations", list{allocation(3, "a?", "1")})
		},
		"InvalidTokenException": func(s *service) (string, object) {
			return "ResolveCustomer", object{"RegistrationToken": "of nobody"}
		},
		"InvalidUsageAllocationsException": func(s *service) (string, object) {
			return "MeterUsage", with(usage(), "UsageAllocations", list{allocation(2)})
		},
		"InvalidUsageDimensionException": func(s *service) (string, object) {
			return "MeterUsage", with(usage(), "UsageDimension", "seats")
		},
		"PlatformNotSupportedException": func(s *service) (string, object) {
			s.SetPlatformSupported(false)
			return "RegisterUsage", register
		},
		"ThrottlingException": func(s *service) (string, object) {
			for range 5 {
				s.call("RegisterUsage", object{})
			}
			return "RegisterUsage", register
		},
		"TimestampOutOfBoundsException": func(s *service) (string, object) {
			return "MeterUsage", with(usage(), "Timestamp", start.Add(-7*time.Hour).Unix())
		},
	}
	require.Len(t, all, 19)
	for code, cause := range all {
		t.Run(code, func(t *testing.T) {
			s := newService(t, func(o *meteringtest.Options) { o.Quotas = code == "ThrottlingException" })
			operation, in := cause(s)
			billed := len(s.Records())
			a := s.call(operation, in)
			status := map[string]int{"InternalServiceErrorException": 500, "IdempotencyConflictException": 409}[code]
			if status == 0 {
				status = 400
			}
			require.Equal(t, status, a.status)
			require.Equal(t, "com.amazonaws.marketplacemetering#"+code, a.code())
			require.NotEmpty(t, a.json["message"])
			require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, a.header.Get("X-Amzn-RequestId"))
			require.Len(t, s.Records(), billed)

			refused := s.Refused()
			last := refused[len(refused)-1]
			require.Equal(t, meteringtest.Refusal{
				Time: s.Requests()[len(s.Requests())-1].Time, RequestId: a.header.Get("X-Amzn-RequestId"),
				Operation: operation, Reason: code, Message: a.json["message"].(string),
			}, last)
			if token, ok := in["RegistrationToken"].(string); ok {
				require.NotContains(t, fmt.Sprintf("%+v %+v", refused, s.Requests()), token)
			}
		})
	}
}

// Every operation that the model gives an error can answer it.
func TestErrorsOfOtherOperations(t *testing.T) {
	register := object{"ProductCode": "prod-1", "PublicKeyVersion": 1}
	t.Run("disabled", func(t *testing.T) {
		s := newService(t)
		for _, operation := range []string{"BatchMeterUsage", "RegisterUsage", "ResolveCustomer"} {
			s.SetOffered(operation, false)
			s.refused("DisabledApiException", operation, object{})
		}
		s.meter(usage())
	})
	t.Run("outage", func(t *testing.T) {
		s := newService(t)
		resolve := object{"RegistrationToken": s.RegistrationToken(s.Subscribe("prod-1", account))}
		s.SetOutage(true)
		for operation, in := range map[string]object{"BatchMeterUsage": batch([]object{}...), "MeterUsage": usage(), "RegisterUsage": register, "ResolveCustomer": resolve} {
			a := s.call(operation, in)
			require.Equal(t, 500, a.status)
			require.Equal(t, "com.amazonaws.marketplacemetering#InternalServiceErrorException", a.code())
			s.invalid("Value null", operation, object{})
		}
		s.SetOutage(false)
		require.Equal(t, 200, s.call("ResolveCustomer", resolve).status)
	})
	t.Run("permission", func(t *testing.T) {
		s := newService(t)
		for _, operation := range []string{"BatchMeterUsage", "MeterUsage", "RegisterUsage", "ResolveCustomer"} {
			s.SetPermitted(operation, false)
			s.SetOffered("BatchMeterUsage", false) // who may not call does not learn that
			for _, body := range []string{`{"DryRun":false}`, `{"DryRun":"true"}`, "no JSON"} {
				a := s.do(operation, body, nil)
				require.Equal(t, 400, a.status)
				require.Equal(t, "com.amazon.coral.service#AccessDeniedException", a.code())
			}
		}
		s.refused("UnauthorizedException", "MeterUsage", with(usage(), "DryRun", true))
		s.SetPermitted("MeterUsage", true)
		s.refused("DryRunOperation", "MeterUsage", with(usage(), "DryRun", true))
	})
	t.Run("entitlement", func(t *testing.T) {
		s := newService(t)
		s.SetEntitled("prod-1", false)
		s.refused("CustomerNotEntitledException", "MeterUsage", usage())
		s.refused("CustomerNotEntitledException", "RegisterUsage", register)
		s.refused("CustomerNotEntitledException", "RegisterUsage", register)
	})
	t.Run("Region", func(t *testing.T) {
		s := newService(t)
		s.RunIn("eu-west-1")
		s.refused("InvalidEndpointRegionException", "MeterUsage", usage())
		s.RunIn("us-east-1")
		s.meter(usage())
		require.Equal(t, 200, s.call("RegisterUsage", register).status)
	})
}
