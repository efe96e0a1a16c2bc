package metering

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// signingName is the service's name in the scope of a signature.
const signingName = "aws-marketplace"

// maxAnswerBytes bounds the memory that an answer can take. The largest real
// one repeats a request of 1 MB.
const maxAnswerBytes = 8 << 20

// newHandler makes the middleware stack of an operation, with the steps and
// names that AWS's clients have, so that the middleware of others finds its
// place in it. What is wrong with the options is said here, before the
// network.
func (c *Client) newHandler(op operation, o *Options) (middleware.Handler, error) {
	if o.invalid != nil {
		return nil, o.invalid
	}
	endpoint, err := resolveEndpoint(o)
	if err != nil {
		return nil, err
	}
	if o.Credentials == nil || aws.IsCredentialsProvider(o.Credentials, (*aws.AnonymousCredentials)(nil)) {
		return nil, errNoCredentials
	}
	telemetry, err := newTelemetry(op, o)
	if err != nil {
		return nil, err
	}

	stack := middleware.NewStack(string(op), smithyhttp.NewStackRequest)
	if !o.SkipValidation {
		err = stack.Initialize.Add(middleware.InitializeMiddlewareFunc("OperationInputValidation", validate), middleware.After)
	}
	err = errors.Join(err,
		stack.Serialize.Add(&serializer{op, telemetry}, middleware.After),

		stack.Build.Add(&awsmiddleware.ClientRequestID{}, middleware.After),
		stack.Build.Add(userAgent(o), middleware.After),
		stack.Build.Add(&awsmiddleware.RecursionDetection{}, middleware.After),

		stack.Finalize.Add(retry.NewAttemptMiddleware(o.Retryer, smithyhttp.RequestCloner, func(r *retry.Attempt) {
			r.LogAttempts = o.ClientLogMode.IsRetries()
			r.OperationMeter = telemetry.meter
			r.ClientSkew = &c.skew
			r.DisableClockSkewCorrection = o.DisableClockSkewCorrection
		}), middleware.After),
		stack.Finalize.Add(&identity{o.Credentials, telemetry}, middleware.After),
		stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("ResolveEndpointV2", endpoint.handleFinalize), middleware.After),
		stack.Finalize.Add(&v4.ComputePayloadSHA256{}, middleware.After),
		stack.Finalize.Add(&signing{o, endpoint.region, telemetry}, middleware.After),

		stack.Deserialize.Add(&awsmiddleware.AddRawResponse{}, middleware.After),
		stack.Deserialize.Add(&awshttp.ResponseErrorWrapper{}, middleware.After),
		stack.Deserialize.Add(&awsmiddleware.RequestIDRetriever{}, middleware.After),
		stack.Deserialize.Add(&deserializer{telemetry}, middleware.After),
		stack.Deserialize.Add(&awsmiddleware.RecordResponseTiming{
			DisableClockSkewCorrection: o.DisableClockSkewCorrection,
		}, middleware.After),
		stack.Deserialize.Add(&messageLogger{o.ClientLogMode}, middleware.After),
		addInterceptors(stack, &o.Interceptors),
	)
	for _, fn := range o.APIOptions {
		err = errors.Join(err, fn(stack))
	}
	if err != nil {
		return nil, fmt.Errorf("middleware: %w", err)
	}
	client := smithyhttp.NewClientHandlerWithOptions(transport{withoutRedirects(o.HTTPClient)}, func(h *smithyhttp.ClientHandler) {
		h.Meter = telemetry.meter
	})
	return telemetry.wrap(middleware.DecorateHandler(client, stack)), nil
}

const whereCredentialsAre = "set Options.Credentials, or what aws-sdk-go-v2/config loads them from: " +
	"AWS_PROFILE, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or the role of the instance, task or pod"

var errNoCredentials = errors.New("no credentials: " + whereCredentialsAre)

func userAgent(o *Options) *awsmiddleware.RequestUserAgent {
	agent := awsmiddleware.NewRequestUserAgent()
	agent.AddSDKAgentKeyValue(awsmiddleware.FrameworkMetadata, "metering", version)
	if o.AppID != "" {
		agent.AddSDKAgentKey(awsmiddleware.ApplicationIdentifier, o.AppID)
	}
	switch o.Retryer.(type) {
	case *retry.Standard:
		agent.AddUserAgentFeature(awsmiddleware.UserAgentFeatureRetryModeStandard)
	case *retry.AdaptiveMode:
		agent.AddUserAgentFeature(awsmiddleware.UserAgentFeatureRetryModeAdaptive)
	}
	if provider, ok := o.Credentials.(aws.CredentialProviderSource); ok {
		for _, source := range provider.ProviderSources() {
			agent.AddCredentialsSource(source)
		}
	}
	return agent
}

// addInterceptors puts them where AWS's clients have them.
func addInterceptors(stack *middleware.Stack, i *smithyhttp.InterceptorRegistry) error {
	if len(i.BeforeExecution)+len(i.BeforeSerialization)+len(i.AfterSerialization)+len(i.BeforeRetryLoop)+
		len(i.BeforeAttempt)+len(i.BeforeSigning)+len(i.AfterSigning)+len(i.BeforeTransmit)+len(i.AfterTransmit)+
		len(i.BeforeDeserialization)+len(i.AfterDeserialization)+len(i.AfterAttempt)+len(i.AfterExecution) == 0 {
		return nil
	}
	return errors.Join(
		stack.Initialize.Add(&smithyhttp.InterceptExecution{BeforeExecution: i.BeforeExecution, AfterExecution: i.AfterExecution}, middleware.Before),
		stack.Serialize.Insert(&smithyhttp.InterceptBeforeSerialization{Interceptors: i.BeforeSerialization}, "OperationSerializer", middleware.Before),
		stack.Serialize.Insert(&smithyhttp.InterceptAfterSerialization{Interceptors: i.AfterSerialization}, "OperationSerializer", middleware.After),
		stack.Finalize.Insert(&smithyhttp.InterceptBeforeRetryLoop{Interceptors: i.BeforeRetryLoop}, "Retry", middleware.Before),
		stack.Finalize.Insert(&smithyhttp.InterceptAttempt{BeforeAttempt: i.BeforeAttempt, AfterAttempt: i.AfterAttempt}, "Retry", middleware.After),
		stack.Finalize.Insert(&smithyhttp.InterceptBeforeSigning{Interceptors: i.BeforeSigning}, "Signing", middleware.Before),
		stack.Finalize.Insert(&smithyhttp.InterceptAfterSigning{Interceptors: i.AfterSigning}, "Signing", middleware.After),
		// An answer passes the Deserialize step from its end to its beginning.
		stack.Deserialize.Insert(&smithyhttp.InterceptBeforeDeserialization{Interceptors: i.BeforeDeserialization}, "OperationDeserializer", middleware.After),
		stack.Deserialize.Insert(&smithyhttp.InterceptAfterDeserialization{Interceptors: i.AfterDeserialization}, "OperationDeserializer", middleware.Before),
		stack.Deserialize.Add(&smithyhttp.InterceptTransmit{BeforeTransmit: i.BeforeTransmit, AfterTransmit: i.AfterTransmit}, middleware.After),
	)
}

// validate refuses a request that the service would refuse, before the
// network.
func validate(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, metadata middleware.Metadata, err error,
) {
	if params, ok := in.Parameters.(request); ok {
		if err := params.Validate(); err != nil {
			return out, metadata, err
		}
	}
	return next.HandleInitialize(ctx, in)
}

// buffers are memory to write requests and read answers in. Nothing of them
// is passed on.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func releaseBuffer(b *bytes.Buffer) {
	if b.Cap() <= 256<<10 { // one huge answer should not be kept for good
		b.Reset()
		buffers.Put(b)
	}
}

// serializer writes the request, once for all attempts.
type serializer struct {
	operation operation
	telemetry *telemetry
}

func (*serializer) ID() string { return "OperationSerializer" }

func (s *serializer) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (
	out middleware.SerializeOutput, metadata middleware.Metadata, err error,
) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, metadata, fmt.Errorf("unexpected transport type %T", in.Request)
	}
	params, ok := in.Parameters.(request)
	if !ok {
		return out, metadata, fmt.Errorf("unexpected input type %T", in.Parameters)
	}
	callOf(ctx).request = params
	_, end := s.telemetry.begin(ctx, "OperationSerializer", "client.call.serialization_duration")
	buffer := buffers.Get().(*bytes.Buffer)
	buffer.Write(params.appendJSON(buffer.AvailableBuffer()))
	body := bytes.Clone(buffer.Bytes())
	releaseBuffer(buffer)
	if req, err = req.SetStream(bytes.NewReader(body)); err != nil {
		return out, metadata, err
	}
	req.Method = http.MethodPost
	req.Header["Content-Type"] = []string{"application/x-amz-json-1.1"}
	req.Header["X-Amz-Target"] = []string{"AWSMPMeteringService." + string(s.operation)}
	in.Request = req
	end()
	return next.HandleSerialize(ctx, in)
}

// handleFinalize addresses the request.
func (e endpoint) handleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, metadata, fmt.Errorf("unexpected transport type %T", in.Request)
	}
	*req.URL = e.url
	return next.HandleFinalize(ctx, in)
}

// identity gets credentials for each attempt: they may have been renewed.
type identity struct {
	provider  aws.CredentialsProvider
	telemetry *telemetry
}

func (*identity) ID() string { return "GetIdentity" }

func (i *identity) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
) {
	spanCtx, end := i.telemetry.begin(ctx, "GetIdentity", "client.call.auth.resolve_identity_duration")
	credentials, err := i.provider.Retrieve(spanCtx)
	end()
	if err != nil {
		return out, metadata, fmt.Errorf("get credentials: %w (%s)", err, whereCredentialsAre)
	}
	if !credentials.HasKeys() {
		return out, metadata, errNoCredentials
	}
	callOf(ctx).credentials.Store(&credentials)
	return next.HandleFinalize(ctx, in)
}

// signing signs each attempt, at the time that it is at the service.
type signing struct {
	options   *Options
	region    string
	telemetry *telemetry
}

func (*signing) ID() string { return "Signing" }

func (s *signing) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, metadata, fmt.Errorf("unexpected transport type %T", in.Request)
	}
	call := callOf(ctx)
	_, end := s.telemetry.begin(ctx, "SignRequest", "client.call.auth.signing_duration")
	now := time.Now()
	if !s.options.DisableClockSkewCorrection {
		now = now.Add(time.Duration(call.skew.Load()))
	}
	var optFns []func(*v4.SignerOptions)
	if s.options.ClientLogMode.IsSigning() {
		optFns = append(optFns, func(o *v4.SignerOptions) {
			o.LogSigning = true
			o.Logger = middleware.GetLogger(ctx)
		})
	}
	err = s.options.signer.SignHTTP(ctx, *call.credentials.Load(), req.Request, v4.GetPayloadHash(ctx), signingName, s.region, now, optFns...)
	end()
	if err != nil {
		return out, metadata, &v4.SigningError{Err: err}
	}
	return next.HandleFinalize(ctx, in)
}

// deserializer reads the answer to each attempt.
type deserializer struct{ telemetry *telemetry }

func (*deserializer) ID() string { return "OperationDeserializer" }

func (d *deserializer) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	out middleware.DeserializeOutput, metadata middleware.Metadata, err error,
) {
	out, metadata, err = next.HandleDeserialize(ctx, in)
	call := callOf(ctx)
	if skew, ok := awsmiddleware.GetAttemptSkew(metadata); ok {
		call.skew.Store(int64(skew))
	}
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if ok {
		defer resp.Body.Close()
	}
	if err != nil {
		return out, metadata, err
	}
	if !ok {
		return out, metadata, &smithy.DeserializationError{Err: fmt.Errorf("unexpected transport type %T", out.RawResponse)}
	}
	_, end := d.telemetry.begin(ctx, "OperationDeserializer", "client.call.deserialization_duration")
	defer end()
	out.Result, err = call.read(resp.Response)
	return out, metadata, err
}

// read turns an answer into a result or an error.
func (c *call) read(resp *http.Response) (result, error) {
	text, err := readBody(resp)
	if resp.StatusCode/100 != 2 {
		return nil, c.refusal(resp, text, err)
	}
	out := c.newResult()
	if err == nil {
		err = readDocument(text, out.readMember)
	}
	if member := out.absentProof(); err == nil && member != "" {
		err = fmt.Errorf("the answer lacks %s", member)
	}
	if err != nil {
		return nil, c.unreadable(resp, text, err)
	}
	*out.metadata() = c.responseMetadata(resp)
	return out, nil
}

// readBody reads the body as far as it comes.
func readBody(resp *http.Response) (string, error) {
	buffer := buffers.Get().(*bytes.Buffer)
	defer releaseBuffer(buffer)
	if n := resp.ContentLength; 0 < n && n <= maxAnswerBytes {
		buffer.Grow(int(n) + bytes.MinRead)
	}
	n, err := buffer.ReadFrom(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if n > maxAnswerBytes {
		return "", fmt.Errorf("the answer is larger than %d bytes", maxAnswerBytes)
	}
	if err != nil {
		err = fmt.Errorf("the answer breaks off: %w", err)
	}
	return buffer.String(), err
}

func (c *call) responseMetadata(resp *http.Response) ResponseMetadata {
	m := ResponseMetadata{
		HostId:         resp.Header.Get("X-Amz-Id-2"),
		HTTPStatusCode: resp.StatusCode,
		HTTPHeaders:    resp.Header,
		RetryAttempts:  max(int(c.begun.Load())-1, 0),
	}
	for _, name := range []string{"X-Amzn-Requestid", "X-Amz-Request-Id", "X-Amz-Requestid"} {
		if m.RequestId == "" {
			m.RequestId = resp.Header.Get(name)
		}
	}
	return m
}

// refusal is the error of an answer with a status other than 2xx. Its body is
// JSON if it is the service's, and anything if it is that of a proxy.
func (c *call) refusal(resp *http.Response, text string, err error) error {
	e := &Error{Op: string(c.operation), Code: unknownError, ResponseMetadata: c.responseMetadata(resp)}
	switch resp.StatusCode / 100 {
	case 4:
		e.Fault = smithy.FaultClient
	case 5:
		e.Fault = smithy.FaultServer
	}
	var body errorBody
	unreadable := err
	if unreadable == nil {
		unreadable = readDocument(text, body.readMember)
	}
	for _, code := range []string{resp.Header.Get("X-Amzn-Errortype"), body.code, body.typ} {
		e.addCode(code)
	}
	if e.isRefusal() {
		c.settled.Add(1)
	}
	switch {
	case err != nil && text == "":
		e.Message = err.Error()
	case resp.StatusCode/100 == 3 && text == "":
		e.Message = "redirects are not followed: is BaseEndpoint right?"
	case unreadable != nil:
		e.Message = c.quote(text, maxQuoted)
	default:
		e.Message = c.quote(body.message, maxMessage)
	}
	// By the message as it came: who chose the token may have chosen it to be
	// masked there.
	e.frontEnd = isAboutSecurityToken(body.message)
	if resp.StatusCode == http.StatusTooManyRequests {
		return retryable{e} // however a proxy words it
	}
	return e
}

// unreadable is the error of an answer that says success but is no proof of
// it. MeterUsage is retried, because its ClientToken makes that safe.
func (c *call) unreadable(resp *http.Response, text string, cause error) error {
	e := &Error{
		Op:               string(c.operation),
		Code:             unknownError,
		Message:          cause.Error(),
		Fault:            smithy.FaultServer,
		ResponseMetadata: c.responseMetadata(resp),
		cause:            &smithy.DeserializationError{Err: cause},
	}
	if c.operation != opRegisterUsage && text != "" { // whose answer may hold a signature
		e.Message += ", and begins: " + c.quote(text, maxQuoted)
	}
	if c.operation == opMeterUsage {
		return retryable{e}
	}
	return e
}

// maxQuoted bounds what an error quotes of a body that can't be read, and
// maxMessage the message of one that can, both in bytes.
const (
	maxQuoted  = 512
	maxMessage = 4096
)

// quote returns the start of a text from elsewhere. It is cut after masking, so
// that no part of a secret is left at the end; what is far behind the end is
// not looked at.
func (c *call) quote(text string, most int) string {
	return startOf(c.withoutSecrets(startOf(text, 16*maxMessage)), most)
}

func startOf(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "?")
}

// errorBody is the body of an error of the service.
type errorBody struct{ code, typ, message string }

func (b *errorBody) readMember(d *reader, name string) {
	if d.peek() != '"' {
		d.skip()
		return
	}
	switch value := d.string(); name {
	case "code":
		b.code = value
	case "__type":
		b.typ = value
	case "message", "Message":
		if value != "" {
			b.message = value
		}
	}
}

// isRefusal tells whether the request certainly did nothing. Some statuses of
// the 400s are a proxy's word about what it had passed on.
func (e *Error) isRefusal() bool {
	switch status := e.ResponseMetadata.HTTPStatusCode; status {
	case http.StatusRequestTimeout, 460, 499:
		return false
	default:
		return (status/100 == 3 || status/100 == 4) && !errors.Is(e, ErrInternalServiceError)
	}
}

// addCode takes a code as in namespace#Name:http://where, of which only the
// name is the code. The first one that is well-formed stands.
func (e *Error) addCode(s string) {
	s, _, _ = strings.Cut(s, ":")
	namespace, name, found := strings.Cut(s, "#")
	if !found {
		namespace, name = "", s
	}
	name = strings.TrimSpace(name)
	if len(name) > 128 || !isAll(name, &codeCharacters) {
		return
	}
	if e.Code == unknownError {
		e.Code = name
	}
	if e.Code == name && e.namespace == "" {
		e.namespace = namespace
	}
}

// retryable makes a Retryer repeat the attempt that ended with the error.
type retryable struct{ error }

func (retryable) RetryableError() bool { return true }
func (r retryable) Unwrap() error      { return r.error }

// withoutRedirects keeps the standard library's client from following them
// unless it was told how to.
func withoutRedirects(client aws.HTTPClient) aws.HTTPClient {
	if c, ok := client.(*http.Client); ok && c.CheckRedirect == nil {
		own := *c
		own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return &own
	}
	return client
}

// transport sends a request with a body of its own, and keeps count of what
// may have left.
//
// The handler above it closes the request's body as soon as Do returns. An
// HTTP/1 server may answer before it has read everything; net/http, which goes
// on to send, then finds the body cut off, breaks the connection, and the
// answer is lost with it.
type transport struct{ client aws.HTTPClient }

func (t transport) Do(r *http.Request) (*http.Response, error) {
	call := callOf(r.Context())
	content := make([]byte, max(r.ContentLength, 0))
	if r.Body != nil {
		if _, err := io.ReadFull(r.Body, content); err != nil {
			return nil, fmt.Errorf("read the request's body: %w", err)
		}
	}
	body := &requestBody{content: bytes.NewReader(content)}
	sent := *r
	sent.Body = body
	call.begun.Add(1)
	resp, err := t.client.Do(&sent)
	if err != nil {
		if body.abandon() && isConnecting(err) {
			call.settled.Add(1)
		}
		err = call.maskError(err)
	}
	if resp != nil && resp.Body == nil { // a fake's
		resp.Body = http.NoBody
	}
	return resp, err
}

// isConnecting tells errors of making a connection, at which nothing has been
// sent yet. Any other error of an HTTP client is taken for one after that.
func isConnecting(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var header tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) ||
		errors.As(err, &header) || errors.As(err, &certificate)
}

// requestBody knows whether anybody began to read it. After an error, nobody
// can any more.
type requestBody struct {
	content *bytes.Reader // not embedded: all reading must pass Read
	state   atomic.Int32
}

const (
	bodyUnread int32 = iota
	bodyRead
	bodyAbandoned
)

func (b *requestBody) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(bodyUnread, bodyRead) && b.state.Load() == bodyAbandoned {
		return 0, errAbandoned
	}
	return b.content.Read(p)
}

var errAbandoned = errors.New("the request was abandoned before it was sent")

// abandon keeps an unread body from ever being read, and tells whether it
// was unread.
func (b *requestBody) abandon() bool {
	return b.state.CompareAndSwap(bodyUnread, bodyAbandoned)
}

// Close leaves the body as it is; there is nothing to release.
func (b *requestBody) Close() error { return nil }

// messageLogger logs requests and answers as AWS's clients do, without their
// secrets.
type messageLogger struct{ mode aws.ClientLogMode }

func (*messageLogger) ID() string { return "RequestResponseLogger" }

func (l *messageLogger) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	out middleware.DeserializeOutput, metadata middleware.Metadata, err error,
) {
	logger := middleware.GetLogger(ctx)
	if req, ok := in.Request.(*smithyhttp.Request); ok && (l.mode.IsRequest() || l.mode.IsRequestWithBody()) {
		var body []byte
		if l.mode.IsRequestWithBody() {
			if body, err = io.ReadAll(req.GetStream()); err == nil {
				err = req.RewindStream()
			}
			if err != nil {
				return out, metadata, err
			}
		}
		logger.Logf(logging.Debug, "Request\n%s", dumpRequest(req, string(body)))
	}

	out, metadata, err = next.HandleDeserialize(ctx, in)

	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || !l.mode.IsResponse() && !l.mode.IsResponseWithBody() {
		return out, metadata, err
	}
	var body []byte
	if l.mode.IsResponseWithBody() {
		// An error comes again to whom reads on.
		body, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	}
	if dump, err := httputil.DumpResponse(resp.Response, false); err == nil {
		logger.Logf(logging.Debug, "Response\n%s%s", dump, body)
	}
	return out, metadata, err
}

// dumpRequest writes out a request, with masks in place of the headers that
// are secrets.
func dumpRequest(req *smithyhttp.Request, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", req.Method, req.URL.RequestURI(), req.URL.Host)
	header := req.Header.Clone()
	for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
		if header.Get(name) != "" {
			header.Set(name, masked)
		}
	}
	header.Write(&b)
	b.WriteString("\r\n")
	b.WriteString(body)
	return b.String()
}
