package metering

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"regexp"
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
	err = errors.Join(
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
		addInterceptors(stack, &o.Interceptors),
	)
	if o.ClientLogMode.IsRequest() || o.ClientLogMode.IsRequestWithBody() ||
		o.ClientLogMode.IsResponse() || o.ClientLogMode.IsResponseWithBody() {
		err = errors.Join(err, stack.Deserialize.Add(&messageLogger{o.ClientLogMode}, middleware.After))
	}
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

// buffers hold requests while they are sent, and answers while they are read.
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
	end := s.telemetry.begin(ctx, "OperationSerializer", "client.call.serialization_duration")
	buffer := buffers.Get().(*bytes.Buffer)
	defer releaseBuffer(buffer) // transport sends a copy
	buffer.Write(params.appendJSON(buffer.AvailableBuffer()))
	if req, err = req.SetStream(bytes.NewReader(buffer.Bytes())); err != nil {
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

// signing signs each attempt, with the credentials and the time of that
// attempt.
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

	end := s.telemetry.begin(ctx, "GetIdentity", "client.call.auth.resolve_identity_duration")
	call.credentials, err = s.options.Credentials.Retrieve(ctx)
	end()
	if err != nil {
		return out, metadata, fmt.Errorf("get credentials: %w (%s)", err, whereCredentialsAre)
	}
	if !call.credentials.HasKeys() {
		return out, metadata, errNoCredentials
	}

	end = s.telemetry.begin(ctx, "SignRequest", "client.call.auth.signing_duration")
	now := time.Now()
	if !s.options.DisableClockSkewCorrection {
		now = now.Add(call.skew)
	}
	var optFns []func(*v4.SignerOptions)
	if s.options.ClientLogMode.IsSigning() {
		optFns = append(optFns, func(o *v4.SignerOptions) {
			o.LogSigning = true
			o.Logger = maskingLogger{s.options.Logger, call.credentials.SessionToken}
		})
	}
	err = s.options.signer.SignHTTP(ctx, call.credentials, req.Request, v4.GetPayloadHash(ctx), signingName, s.region, now, optFns...)
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
		call.skew = skew
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
	defer d.telemetry.begin(ctx, "OperationDeserializer", "client.call.deserialization_duration")()
	out.Result, err = call.read(resp.Response)
	return out, metadata, err
}

// read turns an answer into a result or an error.
func (c *call) read(resp *http.Response) (result, error) {
	text, err := readBody(resp)
	if resp.StatusCode/100 != 2 {
		if resp.StatusCode/100 == 3 || resp.StatusCode/100 == 4 {
			c.answered++ // refused, in so many words
		}
		return nil, c.refusal(resp, text, err)
	}
	out := c.newResult()
	if err == nil {
		err = readDocument(text, out.readMember)
	}
	if member := out.unproven(); err == nil && member != "" {
		err = fmt.Errorf("the answer lacks %s", member)
	}
	if err == nil {
		c.answered++
		*out.metadata() = newResponseMetadata(resp)
		return out, nil
	}
	return nil, c.unreadable(resp, text, err)
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

func newResponseMetadata(resp *http.Response) ResponseMetadata {
	m := ResponseMetadata{
		HostId:         resp.Header.Get("X-Amz-Id-2"),
		HTTPStatusCode: resp.StatusCode,
		HTTPHeaders:    resp.Header,
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
	e := &Error{Op: string(c.operation), ResponseMetadata: newResponseMetadata(resp)}
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
		if e.setCode(code) {
			break
		}
	}
	switch {
	case err != nil && text == "":
		e.Message = err.Error()
	case resp.StatusCode/100 == 3 && text == "":
		e.Message = "redirects are not followed: is BaseEndpoint right?"
	case unreadable != nil:
		e.Message = c.quote(text)
	default:
		e.Message = c.withoutSecrets(startOf(body.message, maxMessage))
	}
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
		ResponseMetadata: newResponseMetadata(resp),
		cause:            &smithy.DeserializationError{Err: cause},
	}
	if c.operation != opRegisterUsage && text != "" { // whose answer may hold a signature
		e.Message += ", and begins: " + c.quote(text)
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

func (c *call) quote(body string) string {
	return c.withoutSecrets(maskMembers(startOf(body, maxQuoted)))
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

// setCode takes a code as in namespace#Name:http://where, of which only the
// name is the code, and tells whether it is one.
func (e *Error) setCode(s string) bool {
	s, _, _ = strings.Cut(s, ":")
	namespace, name, found := strings.Cut(s, "#")
	if !found {
		namespace, name = "", s
	}
	name = strings.TrimSpace(name)
	if len(name) > 128 || !isAll(name, func(c byte) bool { return isWord(c) || c == '.' || c == '-' }) {
		e.Code = unknownError
		return false
	}
	e.Code, e.namespace = name, namespace
	return true
}

// retryable makes a Retryer repeat the attempt that ended with the error.
type retryable struct{ error }

func (retryable) RetryableError() bool { return true }
func (r retryable) Unwrap() error      { return r.error }

// withoutSecrets masks, in text from elsewhere, what the call must keep to
// itself. AWS's message about a wrong signature repeats the session token.
func (c *call) withoutSecrets(text string) string {
	text = withoutSecret(text, c.credentials.SessionToken)
	if in, ok := c.request.(*ResolveCustomerRequest); ok {
		text = withoutSecret(text, in.RegistrationToken)
	}
	return text
}

// withoutSecret masks the secret, and leaves out the whole text where parts of
// it remain, as after escaping or where the text breaks off.
func withoutSecret(text, secret string) string {
	if secret == "" {
		return text
	}
	text = strings.ReplaceAll(text, secret, masked)
	const part = 8
	for i := 0; i+part <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+part]) {
			return "[left out, because it repeats a secret]"
		}
	}
	return text
}

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
	resp, err := t.client.Do(&sent)
	if err == nil || !body.abandon() {
		call.sent++
	}
	return resp, err
}

// requestBody knows whether anybody began to read it: where nobody did, the
// request has not left.
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
	logger, call := middleware.GetLogger(ctx), callOf(ctx)
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
		logger.Logf(logging.Debug, "Response\n%s", call.withoutSecrets(string(dump)+maskMembers(string(body))))
	}
	return out, metadata, err
}

// dumpRequest writes out a request, with masks in place of secrets.
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
	b.WriteString(maskMembers(body))
	return b.String()
}

// maskMembers masks the members that are secrets in the text of a request or
// answer, which may be cut off.
func maskMembers(text string) string {
	return secretMembers().ReplaceAllString(text, `${1}`+masked)
}

// secretMembers is compiled only where messages are logged.
var secretMembers = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`("(?:RegistrationToken|Signature)"\s*:\s*")(?:[^"\\]|\\.)+`)
})

// maskingLogger masks a secret in what it logs.
type maskingLogger struct {
	logging.Logger
	secret string
}

func (l maskingLogger) Logf(c logging.Classification, format string, v ...any) {
	l.Logger.Logf(c, "%s", withoutSecret(fmt.Sprintf(format, v...), l.secret))
}
