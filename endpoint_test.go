package metering

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"
)

func TestEndpoints(t *testing.T) {
	var cases []struct {
		Params struct {
			Region, Endpoint      string
			UseFIPS, UseDualStack bool
		}
		URL, Error string
	}
	readJSON(t, "testdata/endpoint_cases.json", &cases)
	require.Len(t, cases, 26)
	for _, c := range cases {
		o := Options{Region: c.Params.Region, BaseEndpoint: c.Params.Endpoint}
		if c.Params.Endpoint != "" {
			o.Region = "us-east-1" // which signing needs
		}
		if c.Params.UseFIPS {
			o.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
		}
		if c.Params.UseDualStack {
			o.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
		}
		got, err := resolveEndpoint(&o)
		if c.Error != "" {
			require.ErrorContains(t, err, c.Error)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.URL+"/", got.url.String())
		require.Equal(t, o.Region, got.region)
	}
}

func TestRegions(t *testing.T) {
	for region, want := range map[string]struct{ host, signed string }{
		"fips-us-east-1":  {"metering.marketplace-fips.us-east-1.amazonaws.com", "us-east-1"},
		"us-east-1-fips":  {"metering.marketplace-fips.us-east-1.amazonaws.com", "us-east-1"},
		"us-gov-fips-x-1": {"metering.marketplace-fips.us-gov-x-1.amazonaws.com", "us-gov-x-1"},
		"mars-north-1":    {"metering.marketplace.mars-north-1.amazonaws.com", "mars-north-1"},
		"us-isof-x-y":     {"metering.marketplace.us-isof-x-y.amazonaws.com", "us-isof-x-y"},
		"eusc-fr-north-1": {"metering.marketplace.eusc-fr-north-1.amazonaws.com", "eusc-fr-north-1"},
		"local":           {"metering.marketplace.local.amazonaws.com", "local"},
	} {
		got, err := resolveEndpoint(&Options{Region: region})
		require.NoError(t, err, region)
		require.Equal(t, want.host, got.url.Host)
		require.Equal(t, want.signed, got.region)
	}
	for _, region := range []string{"", "fips-", "us east", "a/b", "a.b", "-us", "us-", "x@y", "a\n", "ü"} {
		_, err := resolveEndpoint(&Options{Region: region})
		require.ErrorContains(t, err, "Region", region)
	}
}

func TestBaseEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:8085":          "http://127.0.0.1:8085/",
		"http://127.0.0.1:8085/":         "http://127.0.0.1:8085/",
		"https://proxy.example/metering": "https://proxy.example/metering/",
		"http://[::1]:80":                "http://[::1]:80/",
		"http://h/a%2Fb":                 "http://h/a%2Fb/",
	} {
		got, err := resolveEndpoint(&Options{Region: "us-east-1", BaseEndpoint: endpoint})
		require.NoError(t, err, endpoint)
		require.Equal(t, want, got.url.String())
	}
	for _, endpoint := range []string{"127.0.0.1:8085", "/x", "ftp://h", "http://", "http://h\n", "%"} {
		_, err := resolveEndpoint(&Options{Region: "us-east-1", BaseEndpoint: endpoint})
		require.ErrorContains(t, err, "BaseEndpoint", endpoint)
	}
}
