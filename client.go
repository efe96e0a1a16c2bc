// Package metering calls the AWS Marketplace Metering Service, by which a
// seller on AWS Marketplace learns who a buyer is, reports what the buyer used,
// and proves that a container's buyer has paid.
//
// # Which operation
//
// A SaaS product calls [Client.ResolveCustomer] when a buyer arrives, and from
// then on [Client.BatchMeterUsage] every hour, with the seller's credentials.
//
// Software that runs in the buyer's account (an AMI or a container) with usage
// of its own calls [Client.MeterUsage], with the buyer's role, in the Region
// where it runs. [Client.CanMeter] tells beforehand whether it may. A container
// priced by the hour calls [Client.RegisterUsage] once, when it starts.
//
//	cfg, err := config.LoadDefaultConfig(ctx) // aws-sdk-go-v2/config
//	...
//	client := metering.NewFromConfig(cfg)
//
// Types, fields and errors are spelled as the service spells them, so that the
// code reads like CloudTrail, the AWS CLI and AWS's documentation. Fields are
// values: the zero value means absent, or the service's own default.
//
// # What decides about money
//
// The service keeps one record for a product, buyer, dimension and hour, and
// the first one wins. The same record again is harmless; a record with another
// quantity is refused, and its usage is never billed. Hence:
//
//   - Report an hour when it is over, since the first report closes it.
//   - Store a record before it is sent, and repeat exactly that. A later
//     timestamp, or a sum with the next hour's usage, is another record, and can
//     be billed as well.
//   - A nil error of [Client.BatchMeterUsage] does not mean that anything is
//     billed. A record with [StatusSuccess] is; for one with
//     [StatusDuplicateRecord] an earlier one stands; any other is not. Send
//     UnprocessedRecords and what [BatchMeterUsageResult.Missing] names again.
//   - An error that matches [ErrUnconfirmed] means neither yes nor no. Send the
//     same request again, with the same ClientToken if it is a MeterUsage. Ask
//     for it before any other error.
//   - Records with a LicenseArn go without ProductCode. A customer and hour
//     reported both ways are billed twice; the client refuses such a request.
//
// # Errors
//
// What the service answers is an [*Error], found with [errors.As]; each of its
// codes has a sentinel, matched with [errors.Is], whose comment tells cause and
// remedy. What the service would refuse in any case is a [*ValidationError],
// and was not sent. Errors of the context and of the connection stay reachable
// through both functions, and so do the types that AWS's own clients return:
// smithy.OperationError, smithy.APIError and http.ResponseError.
//
// Throttling, faults of the service and broken connections are retried with
// back-off, 3 attempts in all by default, always with the same bytes.
//
// # Secrets
//
// Registration tokens, signatures and credentials stand in no error and no
// line of the client's log, and the two structs that hold such a value mask it
// when they are printed.
//
// # Tests
//
// Package meteringtest is the service, simulated in process, for the tests of
// programs that use this one. [API] is an interface for those that rather fake
// the four operations.
package metering

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/defaults"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/middleware"
	smithyrand "github.com/aws/smithy-go/rand"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// version goes into the User-Agent header.
const version = "0.1.0"

// ServiceID is the name by which AWS's SDKs know the service, and which the
// functions of [aws.Config.ServiceOptions] are called with.
const ServiceID = "Marketplace Metering"

// API is the four operations of the service. [*Client] satisfies it; a fake
// in a test can too, and return the sentinels of this package, or an [*Error]
// with Op, Code and HTTP status, as errors. It never grows.
type API interface {
	BatchMeterUsage(context.Context, *BatchMeterUsageRequest, ...func(*Options)) (*BatchMeterUsageResult, error)
	MeterUsage(context.Context, *MeterUsageRequest, ...func(*Options)) (*MeterUsageResult, error)
	RegisterUsage(context.Context, *RegisterUsageRequest, ...func(*Options)) (*RegisterUsageResult, error)
	ResolveCustomer(context.Context, *ResolveCustomerRequest, ...func(*Options)) (*ResolveCustomerResult, error)
}

var _ API = (*Client)(nil)

// Client calls the Metering Service. It is safe for concurrent use; make one
// by [NewFromConfig] or [New] and keep it, because it holds connections.
type Client struct {
	options Options
	stacks  map[operation]*sync.Pool // of middleware.Handler; see run
	skew    atomic.Int64             // nanoseconds that the service's clock is ahead of ours
}

// Options configures a [Client], or, as the argument of an option function of
// an operation, one call. Most fields are those of AWS's own clients for Go. The
// zero value of each is a default; Region and Credentials must be set.
type Options struct {
	// APIOptions add middleware to the stack of each call.
	APIOptions []func(*middleware.Stack) error

	// AppID is put into the User-Agent header, as app/AppID.
	AppID string

	// BaseEndpoint is the URL to call instead of AWS's, such as that of a
	// simulated service. It excludes FIPS and dual-stack.
	BaseEndpoint string

	// ClientLogMode chooses what is written to Logger. Registration tokens,
	// signatures and credentials are masked in it.
	ClientLogMode aws.ClientLogMode

	// Credentials sign the requests. Required; anonymous ones are refused.
	Credentials aws.CredentialsProvider

	// DefaultsMode chooses the RetryMode and timeouts for connecting, where
	// they are not set; the zero value is AWS's legacy mode. Set in an option
	// function it comes too late.
	DefaultsMode aws.DefaultsMode

	// DisableClockSkewCorrection signs with this machine's time as it is,
	// where otherwise a difference to the service's clock, seen in its
	// answers, is corrected.
	DisableClockSkewCorrection bool

	// HTTPClient sends the requests. Nil means one with AWS's defaults.
	// Redirects are not followed: they could carry credentials to another
	// host.
	HTTPClient aws.HTTPClient

	// Interceptors are called at the steps of each call.
	Interceptors smithyhttp.InterceptorRegistry

	// Logger takes what ClientLogMode chooses. Nil discards it.
	Logger logging.Logger

	// MeterProvider takes the duration of calls and of their parts. Nil
	// discards it.
	MeterProvider metrics.MeterProvider

	// Region is the one to call and to sign for, such as us-east-1. Required,
	// with a BaseEndpoint too.
	Region string

	// Retryer decides which failed attempts are repeated, and when. Nil makes
	// one after RetryMode.
	Retryer aws.Retryer

	// RetryMaxAttempts bounds the attempts of a call, the first one included.
	// 0 leaves it to the Retryer; AWS's default is 3.
	RetryMaxAttempts int

	// RetryMode is standard or adaptive, for the Retryer that New makes if it
	// is given none; the zero value is standard. Set in an option function it
	// comes too late.
	RetryMode aws.RetryMode

	// RuntimeEnvironment is what aws-sdk-go-v2/config found out, for the
	// DefaultsMode auto. Set in an option function it comes too late.
	RuntimeEnvironment aws.RuntimeEnvironment

	// SkipValidation sends requests without asking their Validate method. For
	// the day on which the service takes more than this package knows of.
	SkipValidation bool

	// TracerProvider takes spans of calls and of their parts. Nil discards
	// them.
	TracerProvider tracing.TracerProvider

	// UseDualStackEndpoint chooses the endpoint that is reachable by IPv6 too.
	UseDualStackEndpoint aws.DualStackEndpointState

	// UseFIPSEndpoint chooses the endpoint with FIPS 140 validated
	// cryptography.
	UseFIPSEndpoint aws.FIPSEndpointState

	invalid        error      // what New found wrong, which each call answers with
	legacyResolver bool       // the aws.Config has a resolver that is not supported
	signer         *v4.Signer // of the client, because it keeps derived keys
}

func (o Options) copy() Options {
	o.APIOptions = append([]func(*middleware.Stack) error(nil), o.APIOptions...)
	o.Interceptors = o.Interceptors.Copy()
	return o
}

// NewFromConfig makes a [Client] from what applies of an [aws.Config], such
// as config.LoadDefaultConfig returns: Region, credentials, endpoints, FIPS
// and dual-stack, retries, HTTP client, logging, middleware and interceptors.
// The environment variable AWS_ENDPOINT_URL_MARKETPLACE_METERING, or the same
// in the shared configuration file, sets the BaseEndpoint.
func NewFromConfig(cfg aws.Config, optFns ...func(*Options)) *Client {
	o := Options{
		APIOptions:                 cfg.APIOptions,
		AppID:                      cfg.AppID,
		ClientLogMode:              cfg.ClientLogMode,
		Credentials:                cfg.Credentials,
		DefaultsMode:               cfg.DefaultsMode,
		DisableClockSkewCorrection: cfg.DisableClockSkewCorrection,
		HTTPClient:                 cfg.HTTPClient,
		Interceptors:               cfg.Interceptors,
		Logger:                     cfg.Logger,
		Region:                     cfg.Region,
		RetryMaxAttempts:           cfg.RetryMaxAttempts,
		RetryMode:                  cfg.RetryMode,
		RuntimeEnvironment:         cfg.RuntimeEnvironment,
	}
	if cfg.Retryer != nil {
		o.Retryer = cfg.Retryer()
	}
	o.resolveConfigSources(cfg)
	return New(o, func(o *Options) {
		for _, fn := range cfg.ServiceOptions {
			fn(ServiceID, o)
		}
		for _, fn := range optFns {
			fn(o)
		}
	})
}

// New makes a [Client] from Options, which it copies and completes before it
// calls the option functions. Most programs call [NewFromConfig]. What is
// wrong with the options is said by the first call.
func New(options Options, optFns ...func(*Options)) *Client {
	o := options.copy()
	o.signer = v4.NewSigner()
	o.resolveDefaultsMode()
	o.fill()
	for _, fn := range optFns {
		fn(&o)
	}
	o.fill()
	if o.RetryMaxAttempts != 0 {
		o.Retryer = retry.AddWithMaxAttempts(o.Retryer, o.RetryMaxAttempts)
	}

	c := &Client{options: o, stacks: map[operation]*sync.Pool{}}
	for _, op := range operations {
		c.stacks[op] = new(sync.Pool)
	}
	return c
}

// resolveDefaultsMode takes what the mode says: the retry mode, and, for AWS's
// own HTTP client, timeouts.
func (o *Options) resolveDefaultsMode() {
	var mode aws.DefaultsMode
	mode.SetFromString(string(o.DefaultsMode))
	if mode == aws.DefaultsModeAuto {
		mode = defaults.ResolveDefaultsModeAuto(o.Region, o.RuntimeEnvironment)
	}
	of, err := defaults.GetModeConfiguration(mode)
	if err != nil {
		return // the legacy mode has none
	}
	if o.RetryMode == "" {
		o.RetryMode = of.RetryMode
	}
	if o.HTTPClient == nil {
		o.HTTPClient = awshttp.NewBuildableClient()
	}
	if client, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
		o.HTTPClient = client.WithDialerOptions(func(d *net.Dialer) {
			if timeout, ok := of.GetConnectTimeout(); ok {
				d.Timeout = timeout
			}
		}).WithTransportOptions(func(t *http.Transport) {
			if timeout, ok := of.GetTLSNegotiationTimeout(); ok {
				t.TLSHandshakeTimeout = timeout
			}
		})
	}
}

// fill puts defaults where nothing is set.
func (o *Options) fill() {
	if o.HTTPClient == nil {
		o.HTTPClient = awshttp.NewBuildableClient()
	}
	if o.Logger == nil {
		o.Logger = logging.Nop{}
	}
	if o.MeterProvider == nil {
		o.MeterProvider = metrics.NopMeterProvider{}
	}
	if o.TracerProvider == nil {
		o.TracerProvider = &tracing.NopTracerProvider{}
	}
	if o.Retryer == nil && o.RetryMode == aws.RetryModeAdaptive {
		o.Retryer = retry.NewAdaptiveMode()
	}
	if o.Retryer == nil {
		o.Retryer = retry.NewStandard()
	}
}

// Options returns a copy of the client's options.
func (c *Client) Options() Options { return c.options.copy() }

// Format keeps the credentials out of what fmt and slog print of a client.
func (c *Client) Format(f fmt.State, verb rune) { c.options.Format(f, verb) }

// Format keeps the credentials out of what fmt and slog print of the options.
func (o Options) Format(f fmt.State, verb rune) {
	type options Options // without the method, which would call itself
	if o.Credentials != nil {
		o.Credentials = maskedCredentials{}
	}
	o.signer = nil // it keeps derived keys
	fmt.Fprintf(f, fmt.FormatString(f, verb), options(o))
}

// maskedCredentials stand in for a provider that is printed.
type maskedCredentials struct{ aws.CredentialsProvider }

func (maskedCredentials) String() string { return masked }

// BatchMeterUsage reports usage of up to 25 buyers, dimensions and hours of
// one product. It is what a SaaS backend calls, with the seller's credentials.
//
// A nil error does not mean that anything is billed: Results holds refused
// records too, told apart by their Status, and UnprocessedRecords must be sent
// again.
//
// One bad record makes the service refuse the whole request, without saying
// which one it is. The error then matches [ErrInvalidCustomerIdentifier],
// [ErrInvalidLicense], [ErrInvalidTag], [ErrInvalidUsageAllocations],
// [ErrInvalidUsageDimension] or [ErrTimestampOutOfBounds], and none is billed:
// send the halves of the list as requests of their own, and so on, until the
// bad record stands alone.
//
// Throttling, faults and broken connections are retried with exactly the same
// bytes. Where ResponseMetadata.RetryAttempts is not 0, a [StatusDuplicateRecord]
// may tell of the record of an earlier attempt of this very call. An error that
// matches [ErrUnconfirmed] leaves open whether the records are billed: send
// the same request again.
func (c *Client) BatchMeterUsage(ctx context.Context, in *BatchMeterUsageRequest, optFns ...func(*Options)) (*BatchMeterUsageResult, error) {
	return invoke[BatchMeterUsageRequest, BatchMeterUsageResult](ctx, c, opBatchMeterUsage, in, optFns)
}

// MeterUsage reports what this instance, task or pod used in an hour. It is
// what software in the buyer's account calls, with the buyer's role, in the
// Region where it runs.
//
// Throttling, faults, broken connections and answers that can't be read are
// retried with the same ClientToken. An error that matches [ErrUnconfirmed]
// leaves open whether the usage is billed: call again with the same request
// and the same ClientToken, which the caller has to have set for that.
// [ErrDuplicateRequest] and [ErrIdempotencyConflict] mean that another report
// stands; [ErrCustomerNotEntitled], [ErrInvalidEndpointRegion],
// [ErrInvalidProductCode], [ErrInvalidUsageDimension] and
// [ErrTimestampOutOfBounds] that nothing was metered.
func (c *Client) MeterUsage(ctx context.Context, in *MeterUsageRequest, optFns ...func(*Options)) (*MeterUsageResult, error) {
	if in != nil && in.ClientToken == "" {
		withToken := *in // the caller's request is never changed
		withToken.ClientToken = NewClientToken()
		in = &withToken
	}
	return invoke[MeterUsageRequest, MeterUsageResult](ctx, c, opMeterUsage, in, optFns)
}

// NewClientToken returns a random UUID for [MeterUsageRequest.ClientToken].
// Store it with the report before the first call.
func NewClientToken() string {
	token, err := smithyrand.NewUUID(rand.Reader).GetUUID()
	if err != nil {
		panic(err) // crypto/rand's Reader never fails
	}
	return token
}

// CanMeter asks by a dry run whether this process may meter what in reports,
// without metering it. Nil means yes; otherwise the error says why not, such
// as [ErrUnauthorized], [ErrCustomerNotEntitled] or [ErrInvalidEndpointRegion].
// DryRun and ClientToken of in are not used.
func (c *Client) CanMeter(ctx context.Context, in *MeterUsageRequest) error {
	var dry MeterUsageRequest
	if in != nil {
		dry = *in
	}
	dry.DryRun = true
	dry.ClientToken = "" // the report's own token is for the report
	out, err := c.MeterUsage(ctx, &dry)
	switch {
	case errors.Is(err, ErrDryRunOperation):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("metering: the server took a dry run for a report, and metered it as %s", out.MeteringRecordId)
}

// RegisterUsage asks whether the buyer of a container priced by the hour is
// entitled to it. Call it once, at the start, within 6 hours of launch, in the
// Region where the task or pod runs. The Signature of the result proves
// nothing until it is verified.
//
// Throttling, faults and broken connections are retried, and a caller may call
// again after them. On any other error, such as [ErrCustomerNotEntitled],
// [ErrPlatformNotSupported] or [ErrInvalidRegion], the software should not
// start: the service refuses on the first call of a task or pod only.
func (c *Client) RegisterUsage(ctx context.Context, in *RegisterUsageRequest, optFns ...func(*Options)) (*RegisterUsageResult, error) {
	return invoke[RegisterUsageRequest, RegisterUsageResult](ctx, c, opRegisterUsage, in, optFns)
}

// ResolveCustomer trades a registration token for the buyer's identity, with
// the credentials of the account that published the product. Resolve a token
// as soon as it arrives; [ErrExpiredToken] and [ErrInvalidToken] say that it is
// of no use.
//
// Throttling, faults and broken connections are retried, and a caller may call
// again. By AWS's guidance a token can be resolved again until it expires; by
// its model it may then read as expired.
func (c *Client) ResolveCustomer(ctx context.Context, in *ResolveCustomerRequest, optFns ...func(*Options)) (*ResolveCustomerResult, error) {
	return invoke[ResolveCustomerRequest, ResolveCustomerResult](ctx, c, opResolveCustomer, in, optFns)
}

// Missing returns the records of sent, the UsageRecords of the request, that
// the answer lists neither in Results nor in UnprocessedRecords, in their
// order. Nothing is known of them: send them again unchanged.
//
// Records count as the same if customer, LicenseArn, Dimension, hour and
// Quantity are; what stands twice in sent must stand twice in the answer. What
// a sent record leaves empty is not compared, because the service may fill it
// in. A nil result lists nothing.
func (r *BatchMeterUsageResult) Missing(sent []UsageRecord) []UsageRecord {
	var listed []*UsageRecord
	if r != nil {
		for i := range r.Results {
			listed = append(listed, &r.Results[i].UsageRecord)
		}
		for i := range r.UnprocessedRecords {
			listed = append(listed, &r.UnprocessedRecords[i])
		}
	}
	// The very same records first, so that they are not taken for others.
	found := make([]bool, len(sent))
	for _, same := range []func(sent, listed *UsageRecord) bool{sameKey, sameKeyFilledIn} {
		for i := range sent {
			at := -1
			if !found[i] {
				at = slices.IndexFunc(listed, func(l *UsageRecord) bool { return same(&sent[i], l) })
			}
			if at >= 0 {
				found[i] = true
				listed = slices.Delete(listed, at, at+1)
			}
		}
	}
	var missing []UsageRecord
	for i := range sent {
		if !found[i] {
			missing = append(missing, sent[i])
		}
	}
	return missing
}

func sameKey(sent, listed *UsageRecord) bool {
	return sent.CustomerIdentifier == listed.CustomerIdentifier &&
		sent.CustomerAWSAccountId == listed.CustomerAWSAccountId &&
		sent.LicenseArn == listed.LicenseArn &&
		sent.Timestamp.UnixMilli() == listed.Timestamp.UnixMilli() &&
		sent.Dimension == listed.Dimension && sent.Quantity == listed.Quantity
}

func sameKeyFilledIn(sent, listed *UsageRecord) bool {
	return (sent.CustomerIdentifier == "" || sent.CustomerIdentifier == listed.CustomerIdentifier) &&
		(sent.CustomerAWSAccountId == "" || sent.CustomerAWSAccountId == listed.CustomerAWSAccountId) &&
		(sent.LicenseArn == "" || sent.LicenseArn == listed.LicenseArn) &&
		sent.Timestamp.Truncate(time.Hour).Equal(listed.Timestamp.Truncate(time.Hour)) &&
		sent.Dimension == listed.Dimension && sent.Quantity == listed.Quantity
}

// operation is the name of an operation, as in its X-Amz-Target header.
type operation string

const (
	opBatchMeterUsage operation = "BatchMeterUsage"
	opMeterUsage      operation = "MeterUsage"
	opRegisterUsage   operation = "RegisterUsage"
	opResolveCustomer operation = "ResolveCustomer"
)

var operations = []operation{opBatchMeterUsage, opMeterUsage, opRegisterUsage, opResolveCustomer}

// request is a pointer to one of the four request types.
type request interface {
	Validate() error
	appendJSON([]byte) []byte
}

// result is a pointer to one of the four result types.
type result interface {
	readMember(d *reader, name string)
	metadata() *ResponseMetadata

	// absentProof names the member without which an answer does not confirm that
	// the work was done, if it is absent.
	absentProof() string
}

func (r *BatchMeterUsageResult) metadata() *ResponseMetadata { return &r.ResponseMetadata }
func (r *MeterUsageResult) metadata() *ResponseMetadata      { return &r.ResponseMetadata }
func (r *RegisterUsageResult) metadata() *ResponseMetadata   { return &r.ResponseMetadata }
func (r *ResolveCustomerResult) metadata() *ResponseMetadata { return &r.ResponseMetadata }

// A record that the answer does not list is told by Missing.
func (r *BatchMeterUsageResult) absentProof() string { return "" }

func (r *MeterUsageResult) absentProof() string {
	if r.MeteringRecordId == "" {
		return "MeteringRecordId"
	}
	return ""
}

func (r *RegisterUsageResult) absentProof() string {
	if r.Signature == "" {
		return "Signature"
	}
	return ""
}

func (r *ResolveCustomerResult) absentProof() string {
	if r.CustomerAWSAccountId == "" && r.CustomerIdentifier == "" {
		return "CustomerAWSAccountId or CustomerIdentifier"
	}
	return ""
}

// call is the state of one call of an operation. It travels in the context,
// because the middleware is shared by all calls. What changes is atomic:
// middleware of others may give up an attempt that still runs.
type call struct {
	operation operation
	request   request // as the middleware passed it on
	newResult func() result

	// skew is how far the service's clock was ahead at the last attempt.
	skew atomic.Int64

	// credentials are for the last attempt.
	credentials atomic.Pointer[aws.Credentials]

	// begun counts the attempts that were given to the HTTP client, and
	// settled those that certainly billed nothing: they never left, or were
	// refused. Where there are more of the former, and no result, it is not
	// known what is billed.
	begun, settled atomic.Int32
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	return middleware.GetStackValue(ctx, callKey{}).(*call)
}

// unconfirmed tells whether the call, if it fails, may have billed something.
func (c *call) unconfirmed() bool {
	switch in := c.request.(type) {
	case *BatchMeterUsageRequest:
	case *MeterUsageRequest:
		if in.DryRun {
			return false
		}
	default:
		return false
	}
	return c.begun.Load() > c.settled.Load()
}

// invoke runs one operation: every call of the package comes through here.
func invoke[In, Out any, PIn interface {
	*In
	request
}, POut interface {
	*Out
	result
}](ctx context.Context, c *Client, op operation, in PIn, optFns []func(*Options)) (POut, error) {
	if in == nil {
		in = new(In)
	}
	state := &call{operation: op, request: in, newResult: func() result { return POut(new(Out)) }}
	state.skew.Store(c.skew.Load())
	out, err := c.run(ctx, state, optFns)
	if err == nil {
		if out, ok := out.(POut); ok {
			return out, nil
		}
		err = errors.New("middleware replaced the result")
	}
	if state.unconfirmed() {
		err = fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	return nil, &smithy.OperationError{ServiceID: ServiceID, OperationName: string(op), Err: err}
}

// run sends a request through the middleware.
func (c *Client) run(ctx context.Context, state *call, optFns []func(*Options)) (any, error) {
	o := &c.options
	if len(optFns) > 0 {
		own := o.copy()
		for _, fn := range optFns {
			fn(&own)
		}
		own.fill()
		if own.RetryMaxAttempts != 0 && own.RetryMaxAttempts != o.RetryMaxAttempts {
			own.Retryer = retry.AddWithMaxAttempts(own.Retryer, own.RetryMaxAttempts)
		}
		o = &own
	}

	// A stack is kept for the next call, but not where middleware of others
	// may hold the state of a call. It serves one call at a time, because
	// smithy's steps write into themselves while they run.
	var handler middleware.Handler
	stacks := c.stacks[state.operation]
	keep := len(optFns) == 0 && len(o.APIOptions) == 0
	if keep {
		handler, _ = stacks.Get().(middleware.Handler)
	}
	if handler == nil {
		var err error
		if handler, err = c.newHandler(state.operation, o); err != nil {
			return nil, err
		}
	}
	if keep {
		defer stacks.Put(handler)
	}

	// What every AWS client tells its middleware.
	ctx = middleware.ClearStackValues(ctx)
	ctx = middleware.WithServiceID(ctx, ServiceID)
	ctx = middleware.WithOperationName(ctx, string(state.operation))
	ctx = middleware.SetLogger(ctx, state.maskLogger(o.Logger))
	ctx = awsmiddleware.SetServiceID(ctx, ServiceID)
	ctx = awsmiddleware.SetRegion(ctx, o.Region)
	ctx = awsmiddleware.SetOperationName(ctx, string(state.operation))
	ctx = middleware.WithStackValue(ctx, callKey{}, state)
	out, _, err := handler.Handle(ctx, state.request)
	return out, err
}
