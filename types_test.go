package metering

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The types' fields, by kind and by value: this compiles, or does not.
var _ = []any{
	MeterUsageRequest{ProductCode: "", Timestamp: time.Time{}, UsageDimension: "", UsageQuantity: int32(0), DryRun: false, UsageAllocations: []UsageAllocation{}, ClientToken: ""},
	MeterUsageResult{MeteringRecordId: "", ResponseMetadata: ResponseMetadata{RequestId: "", HostId: "", HTTPStatusCode: 0, HTTPHeaders: http.Header{}, RetryAttempts: 0}},
	BatchMeterUsageRequest{ProductCode: "", UsageRecords: []UsageRecord{}},
	BatchMeterUsageResult{Results: []UsageRecordResult{}, UnprocessedRecords: []UsageRecord{}, ResponseMetadata: ResponseMetadata{}},
	UsageRecord{Timestamp: time.Time{}, CustomerIdentifier: "", CustomerAWSAccountId: "", LicenseArn: "", Dimension: "", Quantity: int32(0), UsageAllocations: []UsageAllocation{}},
	UsageRecordResult{UsageRecord: UsageRecord{}, MeteringRecordId: "", Status: UsageRecordResultStatus("")},
	UsageAllocation{AllocatedUsageQuantity: int32(0), Tags: []Tag{{Key: "", Value: ""}}},
	RegisterUsageRequest{ProductCode: "", PublicKeyVersion: int32(0), Nonce: ""},
	RegisterUsageResult{PublicKeyRotationTimestamp: time.Time{}, Signature: "", ResponseMetadata: ResponseMetadata{}},
	ResolveCustomerRequest{RegistrationToken: ""},
	ResolveCustomerResult{CustomerIdentifier: "", CustomerAWSAccountId: "", LicenseArn: "", ProductCode: "", ResponseMetadata: ResponseMetadata{}},
}

func TestSecretsAreMasked(t *testing.T) {
	const secret = "eyJsecret"
	request := ResolveCustomerRequest{RegistrationToken: secret}
	result := RegisterUsageResult{Signature: secret, PublicKeyRotationTimestamp: time.Unix(0, 0), ResponseMetadata: ResponseMetadata{RequestId: "request-1"}}
	type embedding struct {
		ResolveCustomerRequest
		Other int
	}
	type holding struct {
		Request *ResolveCustomerRequest
		Result  RegisterUsageResult
	}
	for name, v := range map[string]any{
		"request":             request,
		"request by pointer":  &request,
		"requests":            []ResolveCustomerRequest{request},
		"pointers":            []*ResolveCustomerRequest{&request},
		"map":                 map[string]ResolveCustomerRequest{"k": request},
		"embedded":            embedding{request, 1},
		"embedded by pointer": &embedding{request, 1},
		"in a struct":         holding{nil, result},
		"result":              result,
		"result by pointer":   &result,
		"results":             []RegisterUsageResult{result},
	} {
		t.Run(name, func(t *testing.T) {
			texts := []string{slogged(v), fmt.Sprint(v), fmt.Sprintln(v)}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%10.3v", "%t"} {
				texts = append(texts, fmt.Sprintf(verb, v))
			}
			b, err := json.Marshal(v)
			require.NoError(t, err)
			for _, text := range append(texts, string(b)) {
				require.NotContains(t, text, secret)
				require.NotContains(t, text, fmt.Sprintf("%x", secret))
				require.NotContains(t, text, fmt.Sprintf("%X", secret))
				require.NotContains(t, text, fmt.Sprintf("% x", secret))
			}
		})
	}
	require.Equal(t, "{RegistrationToken:[masked]}", fmt.Sprintf("%+v", request))
	require.Equal(t, "{RegistrationToken:}", fmt.Sprintf("%+v", ResolveCustomerRequest{}), "that there is none can be seen")
	require.Contains(t, fmt.Sprintf("%+v", result), "request-1", "the rest can be read")
	require.Equal(t, "<nil>", fmt.Sprint((*ResolveCustomerRequest)(nil)))
}
