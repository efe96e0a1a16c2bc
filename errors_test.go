package metering

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
)

// sentinels by the code that each one matches.
var sentinels = map[string]error{
	"CustomerNotEntitledException":       ErrCustomerNotEntitled,
	"DisabledApiException":               ErrDisabledApi,
	"DryRunOperation":                    ErrDryRunOperation,
	"DuplicateRequestException":          ErrDuplicateRequest,
	"ExpiredTokenException":              ErrExpiredToken,
	"IdempotencyConflictException":       ErrIdempotencyConflict,
	"InternalServiceErrorException":      ErrInternalServiceError,
	"InvalidCustomerIdentifierException": ErrInvalidCustomerIdentifier,
	"InvalidEndpointRegionException":     ErrInvalidEndpointRegion,
	"InvalidLicenseException":            ErrInvalidLicense,
	"InvalidProductCodeException":        ErrInvalidProductCode,
	"InvalidPublicKeyVersionException":   ErrInvalidPublicKeyVersion,
	"InvalidRegionException":             ErrInvalidRegion,
	"InvalidTagException":                ErrInvalidTag,
	"InvalidTokenException":              ErrInvalidToken,
	"InvalidUsageAllocationsException":   ErrInvalidUsageAllocations,
	"InvalidUsageDimensionException":     ErrInvalidUsageDimension,
	"PlatformNotSupportedException":      ErrPlatformNotSupported,
	"ThrottlingException":                ErrThrottling,
	"TimestampOutOfBoundsException":      ErrTimestampOutOfBounds,
	"UnauthorizedException":              ErrUnauthorized,
}

func TestSentinels(t *testing.T) {
	var model struct {
		Errors map[string]struct {
			Fault      string
			Operations []operation
			Status     int
		}
	}
	readJSON(t, "testdata/model.json", &model)
	require.Len(t, model.Errors, 19)
	for code, modelled := range model.Errors {
		require.Contains(t, sentinels, code)
		for _, op := range modelled.Operations {
			for shape, resp := range map[string][2]string{
				"__type":    {"", fmt.Sprintf(`{"__type":"com.amazonaws.marketplacemetering#%s:http://x/#y","message":"m"}`, code)},
				"code":      {"", fmt.Sprintf(`{"code":%q,"__type":"Other","Message":"m"}`, code)},
				"header":    {code + ":http://internal.amazon.com/", `{"__type":"Other","message":"m"}`},
				"namespace": {"ns#" + code, `{"message":"m","Message":""}`},
			} {
				r := answer(modelled.Status, resp[1])
				r.Header.Set("X-Amzn-ErrorType", resp[0])
				state := &call{operation: op, request: newRequest(t, op), newResult: func() result { return newResult(t, op) }}
				_, err := state.read(r)
				var e *Error
				require.ErrorAs(t, err, &e, shape)
				require.Equal(t, code, e.Code, shape)
				require.Equal(t, "m", e.Message, shape)
				require.Equal(t, string(op), e.Op)
				require.Equal(t, modelled.Fault, e.Fault.String())
				require.Equal(t, code+": m", e.Error())
				for other, sentinel := range sentinels {
					require.Equal(t, other == code, errors.Is(err, sentinel), "%s: %s against %s", shape, code, other)
				}
			}
		}
	}
	for code := range maps.Keys(sentinels) {
		if _, modelled := model.Errors[code]; !modelled {
			require.Contains(t, []string{"DryRunOperation", "UnauthorizedException"}, code)
		}
	}
}

func TestExpired(t *testing.T) {
	const token, credentials = "token", "credentials"
	for name, c := range map[string]struct {
		op     operation
		status int
		body   string
		want   string
	}{
		"registration token":             {opResolveCustomer, 400, `{"__type":"ExpiredTokenException","message":"The registration token has expired"}`, token},
		"registration token, namespaced": {opResolveCustomer, 400, `{"__type":"com.amazonaws.marketplacemetering#ExpiredTokenException"}`, token},
		"front end's namespace":          {opResolveCustomer, 400, `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}`, credentials},
		"front end's status":             {opResolveCustomer, 403, `{"__type":"ExpiredTokenException","message":"expired"}`, credentials},
		"front end's message":            {opResolveCustomer, 400, `{"__type":"ExpiredTokenException","message":"The Security Token included in the request is expired"}`, credentials},
		"namespace beside a header":      {opResolveCustomer, 400, `{"__type":"com.amazon.coral.service#ExpiredTokenException","code":"ExpiredTokenException"}`, credentials},
		"another operation":              {opBatchMeterUsage, 400, `{"__type":"ExpiredTokenException","message":"expired"}`, credentials},
		"another spelling":               {opMeterUsage, 400, `{"__type":"ExpiredToken"}`, credentials},
		"something else":                 {opResolveCustomer, 400, `{"__type":"InvalidTokenException"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			state := &call{operation: c.op, request: newRequest(t, c.op)}
			_, err := state.read(answer(c.status, c.body))
			require.Equal(t, c.want == token, errors.Is(err, ErrExpiredToken))
			require.Equal(t, c.want == credentials, errors.Is(err, ErrExpiredCredentials))
		})
	}
}

// TestErrorsOfAFake: who fakes the API can make the errors that a Client
// returns.
func TestErrorsOfAFake(t *testing.T) {
	err := error(&smithy.OperationError{Err: &Error{Op: "ResolveCustomer", Code: "ExpiredTokenException", ResponseMetadata: ResponseMetadata{HTTPStatusCode: 400}}})
	require.ErrorIs(t, err, ErrExpiredToken)
	require.ErrorIs(t, &Error{Code: "ExpiredTokenException"}, ErrExpiredToken, "operation and status may be left out")
	require.ErrorIs(t, &Error{Op: "MeterUsage", Code: "ExpiredTokenException"}, ErrExpiredCredentials)
	require.ErrorIs(t, &Error{Code: "ExpiredTokenException", Message: "The security token is expired"}, ErrExpiredCredentials)
	require.Equal(t, "ThrottlingException", (&Error{Code: "ThrottlingException"}).Error())
}

func TestValidationErrorText(t *testing.T) {
	e := &ValidationError{Violations: slices.Repeat([]Violation{{"UsageRecords[0].Quantity", "must be at least 0, is -1"}}, 1000)}
	require.True(t, strings.HasPrefix(e.Error(), "invalid request: UsageRecords[0].Quantity must be at least 0, is -1; "), e.Error())
	require.True(t, strings.HasSuffix(e.Error(), "; and 990 more"), e.Error())
}
