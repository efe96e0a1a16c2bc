package metering

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// endpoint is where requests go, and the Region that they are signed for.
type endpoint struct {
	url    url.URL
	region string
}

// partition is a group of Regions under common DNS names.
type partition struct {
	name            string
	prefix          string // Regions are prefix-word-number
	suffix          string
	dualStackSuffix string
}

// partitions is AWS's list, but for the partition aws, which takes every
// Region that matches none of these.
var partitions = []partition{
	{"aws-cn", "cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"aws-eusc", "eusc-de", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"aws-iso", "us-iso", "c2s.ic.gov", "api.aws.ic.gov"},
	{"aws-iso-b", "us-isob", "sc2s.sgov.gov", "api.aws.scloud"},
	{"aws-iso-e", "eu-isoe", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"aws-iso-f", "us-isof", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"aws-us-gov", "us-gov", "amazonaws.com", "api.aws"},
}

func partitionOf(region string) partition {
	for _, p := range partitions {
		if rest, ok := strings.CutPrefix(region, p.prefix+"-"); ok {
			word, number, _ := strings.Cut(rest, "-")
			if isAll(word, &wordCharacters) && isAll(number, &digits) {
				return p
			}
		}
	}
	return partition{"aws", "", "amazonaws.com", "api.aws"}
}

// configurationError is a setting that keeps a call from being made, in the
// words of the service's endpoint rules.
type configurationError string

func (e configurationError) Error() string { return "Invalid Configuration: " + string(e) }

// resolveEndpoint follows the service's endpoint rules.
func resolveEndpoint(o *Options) (endpoint, error) {
	region, fips := o.Region, o.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled
	dualStack := o.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled
	// Older configurations ask for FIPS by a Region such as fips-us-east-1.
	for _, mark := range []struct{ old, new string }{{"-fips-", "-"}, {"fips-", ""}, {"-fips", ""}} {
		if strings.Contains(region, mark.old) {
			region, fips = strings.ReplaceAll(region, mark.old, mark.new), true
		}
	}
	switch {
	case region == "":
		return endpoint{}, configurationError("Missing Region: set Options.Region, or AWS_REGION where the configuration is loaded from the environment")
	case !isHostLabel(region):
		return endpoint{}, configurationError(fmt.Sprintf("Region %q cannot be part of a host name", region))
	case o.BaseEndpoint != "" && fips:
		return endpoint{}, configurationError("FIPS and custom endpoint are not supported")
	case o.BaseEndpoint != "" && dualStack:
		return endpoint{}, configurationError("Dualstack and custom endpoint are not supported")
	case o.BaseEndpoint != "":
		u, err := url.Parse(o.BaseEndpoint)
		if err != nil {
			return endpoint{}, configurationError("BaseEndpoint is not a URL") // err repeats it, and a password in it
		}
		if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return endpoint{}, configurationError(fmt.Sprintf("BaseEndpoint must be an http or https URL with a host, is %q", u.Redacted()))
		}
		return endpoint{*u.JoinPath("/"), region}, nil
	case o.legacyResolver:
		return endpoint{}, configurationError("EndpointResolver and EndpointResolverWithOptions of aws.Config are not supported: set BaseEndpoint")
	}

	p := partitionOf(region)
	prefix, suffix := "metering.marketplace", p.suffix
	if dualStack {
		suffix = p.dualStackSuffix
	}
	switch {
	case fips:
		prefix = "metering.marketplace-fips"
	case dualStack && (p.name == "aws" || p.name == "aws-cn" || p.name == "aws-us-gov"),
		!dualStack && p.name == "aws-eusc":
		prefix = "metering-marketplace"
	}
	return endpoint{url.URL{Scheme: "https", Host: prefix + "." + region + "." + suffix, Path: "/"}, region}, nil
}

// resolveConfigSources takes endpoint settings from where cfg was loaded.
// AWS's resolver for them is internal to its clients, so these interfaces
// repeat the methods that it looks for.
func (o *Options) resolveConfigSources(cfg aws.Config) {
	//lint:ignore SA1019 only to say that it is not supported, instead of calling AWS where a test meant not to
	o.legacyResolver = cfg.EndpointResolver != nil || cfg.EndpointResolverWithOptions != nil
	if cfg.BaseEndpoint != nil {
		o.BaseEndpoint = *cfg.BaseEndpoint
	}
	ctx := context.Background()
	o.UseFIPSEndpoint = fromSources(o, cfg, func(source interface {
		GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error)
	}) (aws.FIPSEndpointState, bool, error) {
		return source.GetUseFIPSEndpoint(ctx)
	})
	o.UseDualStackEndpoint = fromSources(o, cfg, func(source interface {
		GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error)
	}) (aws.DualStackEndpointState, bool, error) {
		return source.GetUseDualStackEndpoint(ctx)
	})

	// An endpoint for all services in the environment goes before one for
	// this service in the configuration file.
	_, all := os.LookupEnv("AWS_ENDPOINT_URL")
	_, this := os.LookupEnv("AWS_ENDPOINT_URL_MARKETPLACE_METERING")
	ignored := fromSources(o, cfg, func(source interface {
		GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error)
	}) (bool, bool, error) {
		return source.GetIgnoreConfiguredEndpoints(ctx)
	})
	if all && !this || ignored {
		return
	}
	url := fromSources(o, cfg, func(source interface {
		GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
	}) (string, bool, error) {
		return source.GetServiceBaseEndpoint(ctx, ServiceID)
	})
	if url != "" {
		o.BaseEndpoint = url
	}
}

// fromSources returns the first value that one of the configuration's sources
// has. An error is kept for the first call to answer with: a setting such as
// FIPS must not be lost in silence.
func fromSources[Source, T any](o *Options, cfg aws.Config, get func(Source) (T, bool, error)) (value T) {
	for _, any := range cfg.ConfigSources {
		source, ok := any.(Source)
		if !ok {
			continue
		}
		value, found, err := get(source)
		if err != nil && o.invalid == nil {
			o.invalid = fmt.Errorf("configuration: %w", err)
		}
		if found || err != nil {
			return value
		}
	}
	return value
}

// isHostLabel tells what a Region may be, so that none can lead to another
// host.
func isHostLabel(s string) bool {
	return len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		isAll(s, &hostCharacters)
}
