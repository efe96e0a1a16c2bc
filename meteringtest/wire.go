package meteringtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "AWSMPMeteringService."

	// maxBodyBytes bounds what a request makes the service hold in memory.
	maxBodyBytes = 1<<20 + 64<<10
)

// operations are what X-Amz-Target can name.
var operations = map[string]func(*Service, *call) (any, *apiError){
	"BatchMeterUsage": (*Service).batchMeterUsage,
	"MeterUsage":      (*Service).meterUsage,
	"RegisterUsage":   (*Service).registerUsage,
	"ResolveCustomer": (*Service).resolveCustomer,
}

// ServeHTTP answers one request of the service's protocol. It panics with
// http.ErrAbortHandler, which net/http.Server understands, if a [Fault] drops
// the connection.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := Request{
		Time:         s.now(),
		RequestId:    newUUID().String(),
		InvocationId: r.Header.Get("Amz-Sdk-Invocation-Id"),
		Attempt:      attempt(r.Header.Get("Amz-Sdk-Request")),
	}
	op, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if ok && operations[op] != nil {
		entry.Operation = op
	}
	c := &call{id: entry.RequestId, now: entry.Time}
	out, err := s.answer(c, entry.Operation, r)
	entry.Status = http.StatusOK
	if err != nil {
		out, entry.Status, entry.Code = err, err.status, err.code
	}
	dropped := c.fault.DropBefore || c.fault.DropAfter
	if dropped {
		entry.Status = 0
	}
	// Before the answer leaves, so that whoever has the answer finds the
	// request in the log.
	s.logRequest(entry, err)
	if dropped {
		panic(http.ErrAbortHandler)
	}

	h := w.Header()
	var body []byte
	if err != nil && err.raw != nil {
		body = []byte(*err.raw)
	} else {
		body = marshal(out)
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Date", s.signatureNow().UTC().Format(http.TimeFormat))
	h.Set("X-Amzn-RequestId", entry.RequestId)
	w.WriteHeader(entry.Status)
	if cut := c.fault.CutBody; cut > 0 && cut < len(body) {
		_, _ = w.Write(body[:cut])
		_ = http.NewResponseController(w).Flush() // else the abort takes it along
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

func marshal(out any) []byte {
	body, err := json.Marshal(out)
	if err != nil { // the result structs hold nothing that fails
		panic(err)
	}
	return body
}

// answer takes a request through the doors of AWS's front end (operation,
// signature, quota, permission, JSON), with the faults behind the signature;
// and then does the operation's work. An empty op is one that the service does
// not have.
func (s *Service) answer(c *call, op string, r *http.Request) (any, *apiError) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	// The front end has no page for anything but this.
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || r.URL.Path != "/" || mediaType != contentType {
		return nil, &apiError{status: http.StatusNotFound, namespace: coralService, code: "UnknownOperationException", message: "Send POST / with Content-Type " + contentType + "."}
	}
	if op == "" {
		return nil, refuse("UnknownOperationException", "X-Amz-Target names no operation of this service.")
	}
	creds, err := s.authenticate(c.now, r, body)
	if err != nil {
		return nil, err
	}
	inQuota := s.takeToken(c.now, creds.AccountID, op)
	c.fault = s.nextFault(op)
	c.fault.wait(r)
	if c.fault.DropBefore {
		return nil, nil
	}
	if err := c.fault.answer(); err != nil {
		return nil, err
	}
	if !inQuota {
		return nil, refuse("ThrottlingException", "Rate exceeded")
	}
	members, err := parseObject(body)
	// Before what is wrong with the JSON, of which only DryRun counts here.
	if denied := s.checkPermission(op, members["DryRun"] == true); denied != nil {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	c.account, c.caller, c.size, c.members = creds.AccountID, creds.AccessKeyID, len(body), members
	return operations[op](s, c)
}

func (s *Service) checkPermission(op string, dryRun bool) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.forbidden[op] && dryRun && op == "MeterUsage":
		return refuse("UnauthorizedException", "The caller is not permitted to call MeterUsage.")
	case s.forbidden[op]:
		return refuse("AccessDeniedException", "The caller is not authorized to perform: aws-marketplace:%s", op)
	case s.disabled[op]:
		return refuse("DisabledApiException", "%s is not offered in this Region.", op)
	}
	return nil
}

// checkStore comes after the checks of the model and before the rules, which
// need the store. It needs s.mu held.
func (s *Service) checkStore() *apiError {
	if s.outage {
		return refuse("InternalServiceErrorException", "The service is not available.")
	}
	return nil
}

func readBody(r *http.Request) ([]byte, *apiError) {
	if r.Body == nil { // as http.NewRequest leaves it, without a server around
		return nil, nil
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), maxBodyBytes)) + bytes.MinRead) // read at once, if the length is right
	_, err := b.ReadFrom(io.LimitReader(r.Body, maxBodyBytes+1))
	body := b.Bytes()
	if err != nil {
		return nil, refuse("SerializationException", "The request ended early.")
	}
	if len(body) > maxBodyBytes {
		// A client that is still writing when the connection closes sees a
		// broken pipe instead of the answer, so read on for a while.
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 16<<20))
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, namespace: coralService, code: "RequestEntityTooLargeException", message: "Request body is too large."}
	}
	return body, nil
}

// attempt reads the number out of "attempt=2; max=3"; 0 if there is none.
func attempt(header string) int {
	for field := range strings.SplitSeq(header, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(field), "attempt="); ok {
			n, _ := strconv.Atoi(v)
			return n
		}
	}
	return 0
}

// apiError is an error answer.
type apiError struct {
	status    int
	namespace string
	code      string
	message   string
	raw       *string // a fault's body, in place of all but the status
}

const (
	serviceSpace  = "com.amazonaws.marketplacemetering"
	coralService  = "com.amazon.coral.service"  // AWS's front end
	coralValidate = "com.amazon.coral.validate" // the checks of the model
)

// refuse returns an error with the status and namespace that its code has.
func refuse(code, format string, args ...any) *apiError {
	e := &apiError{status: http.StatusBadRequest, namespace: serviceSpace, code: code, message: fmt.Sprintf(format, args...)}
	switch code {
	case "InternalServiceErrorException":
		e.status = http.StatusInternalServerError
	case "IdempotencyConflictException":
		e.status = http.StatusConflict
	case "InternalFailure", "InternalServerError":
		e.status, e.namespace = http.StatusInternalServerError, coralService
	case "ServiceUnavailable", "ServiceUnavailableException":
		e.status, e.namespace = http.StatusServiceUnavailable, coralService
	case "AccessDeniedException", "IncompleteSignatureException", "InvalidSignatureException", "MissingAuthenticationTokenException",
		"SerializationException", "UnknownOperationException", "UnrecognizedClientException":
		e.namespace = coralService
	case "ValidationException":
		e.namespace = coralValidate
	}
	return e
}

func (e *apiError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{e.namespace + "#" + e.code, e.message})
}

// call is a request on its way through an operation. Its methods read members;
// the first one that has the wrong type is kept in err, which an operation
// looks at when it has read them all. A member that is null counts as absent.
//
// Members are read by hand because encoding/json matches the names of struct
// fields in any case: a client that sent "productCode" would be understood
// here and not by AWS.
type call struct {
	id      string    // RequestId
	now     time.Time // UTC
	account string    // of the credentials, may be empty
	caller  string    // access key
	fault   Fault     // what is to go wrong
	size    int       // of the body, in bytes
	members map[string]any
	err     *apiError
}

// parseObject reads a body that must be one JSON object and nothing else.
func parseObject(body []byte) (map[string]any, *apiError) {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	err := d.Decode(&v)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	members, ok := v.(map[string]any)
	// encoding/json would turn invalid UTF-8 into replacement characters.
	if err != nil || !ok || !utf8.Valid(body) {
		return nil, refuse("SerializationException", "The request is not a JSON object.")
	}
	return members, nil
}

func (c *call) wrongType(got any, want string) {
	if c.err != nil {
		return
	}
	kind := "STRUCTURE_VALUE"
	switch got.(type) {
	case string:
		kind = "STRING_VALUE"
	case json.Number:
		kind = "NUMBER_VALUE"
	case bool:
		kind = "BOOLEAN_VALUE"
	case []any:
		kind = "LIST_VALUE"
	}
	c.err = refuse("SerializationException", "%s can not be converted to %s", kind, want)
}

// read returns v as a T, or nil if it is absent.
func read[T any](c *call, v any, want string) *T {
	t, ok := v.(T)
	if !ok {
		if v != nil {
			c.wrongType(v, want)
		}
		return nil
	}
	return &t
}

func (c *call) string(v any) *string { return read[string](c, v, "a String") }

func (c *call) bool(v any) bool {
	b := read[bool](c, v, "a Boolean")
	return b != nil && *b
}

// object returns nil if v is absent, and a nil map has no members.
func (c *call) object(v any) map[string]any {
	if m := read[map[string]any](c, v, "a Structure"); m != nil {
		return *m
	}
	return nil
}

// list returns nil if v is absent, and otherwise what each makes of the
// elements.
func list[T any](c *call, v any, each func(any) T) []T {
	l := read[[]any](c, v, "a List")
	if l == nil {
		return nil
	}
	out := make([]T, len(*l))
	for i, e := range *l {
		out[i] = each(e)
	}
	return out
}

// integer reads a whole number of the given size, written without fraction or
// exponent.
func (c *call) integer(v any, bits int) *int64 {
	n := read[json.Number](c, v, "an Integer")
	if n == nil {
		return nil
	}
	i, err := strconv.ParseInt(n.String(), 10, bits)
	if err != nil {
		c.wrongType(v, "an Integer")
		return nil
	}
	return &i
}

// timestamp is a time in a request: epoch seconds, with a fraction if need be.
type timestamp struct {
	sent json.Number // for the echo
	t    time.Time   // UTC
}

func (t timestamp) MarshalJSON() ([]byte, error) { return []byte(t.sent), nil }

func (c *call) timestamp(v any) *timestamp {
	n := read[json.Number](c, v, "a Timestamp")
	if n == nil {
		return nil
	}
	seconds, err := n.Float64()
	if err != nil || math.Abs(seconds) > 1e11 {
		c.wrongType(v, "a Timestamp")
		return nil
	}
	// A float64 of today's epoch seconds is good for a quarter of a
	// microsecond; rounding takes away the rest.
	return &timestamp{*n, time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC()}
}

// violations are the constraints of the model that a request does not meet.
type violations struct {
	record int // of usageRecords, counted from 1, that paths are in; 0 for none
	found  []string
}

func (v *violations) path(path string) string {
	if v.record > 0 {
		return fmt.Sprintf("usageRecords.%d.member.%s", v.record, path)
	}
	return path
}

// null says that a required member is absent.
func (v *violations) null(path string) {
	v.found = append(v.found, "Value null at '"+v.path(path)+"' failed to satisfy constraint: Member must not be null")
}

func (v *violations) add(path, constraint string, args ...any) {
	v.found = append(v.found, "Value at '"+v.path(path)+"' failed to satisfy constraint: Member must "+fmt.Sprintf(constraint, args...))
}

// length checks a string's length in code points, or the length of a list.
func (v *violations) length(path string, n, least, most int) {
	if n < least {
		v.add(path, "have length greater than or equal to %d", least)
	}
	if n > most {
		v.add(path, "have length less than or equal to %d", most)
	}
}

// err returns nil if there are no violations. The message names the first ten.
func (v *violations) err() *apiError {
	switch n := len(v.found); n {
	case 0:
		return nil
	case 1:
		return refuse("ValidationException", "1 validation error detected: %s", v.found[0])
	default:
		return refuse("ValidationException", "%d validation errors detected: %s", n, strings.Join(v.found[:min(n, 10)], "; "))
	}
}
