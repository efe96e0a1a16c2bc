package meteringtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Signature Version 4, verified from its specification and not with the SDK's
// signer: a mistake that both sides shared would go unseen.

const (
	signingName      = "aws-marketplace"
	signingAlgorithm = "AWS4-HMAC-SHA256"
	isoBasic         = "20060102T150405Z"
	maxSignatureSkew = 5 * time.Minute
)

// authenticate returns the credentials that signed a request. No message
// repeats a canonical request, a signature or a token, though AWS's do.
func (s *Service) authenticate(now time.Time, r *http.Request, body []byte) (*aws.Credentials, *apiError) {
	a, err := parseAuthorization(r.Header)
	if err != nil {
		return nil, err
	}
	creds := s.credentials[a.accessKey]
	if err := s.checkScope(a); err != nil {
		return nil, err
	}
	if err := checkSignedHeaders(a, r.Header); err != nil {
		return nil, err
	}
	if creds == nil || !hmac.Equal([]byte(creds.SessionToken), []byte(r.Header.Get("X-Amz-Security-Token"))) {
		return nil, refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	if creds.CanExpire && !now.Before(creds.Expires) {
		e := refuse("ExpiredTokenException", "The security token included in the request is expired")
		e.namespace = coralService // the service's own ExpiredTokenException is about registration tokens
		return nil, e
	}
	if err := checkSignatureDate(a.date, s.signatureNow()); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(body)
	bodyHash := hex.EncodeToString(hash[:])
	sent := r.Header.Get("X-Amz-Content-Sha256")
	want := signature(creds.SecretAccessKey, a, canonicalRequest(r, a.signedHeaders, bodyHash))
	if sent != "" && sent != bodyHash || !hmac.Equal([]byte(want), []byte(a.signature)) {
		return nil, refuse("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return creds, nil
}

// authorization is what a request says about its signature.
type authorization struct {
	accessKey     string
	scope         []string // date, Region, service, aws4_request
	signedHeaders []string
	signature     string
	date          time.Time
}

func parseAuthorization(h http.Header) (*authorization, *apiError) {
	header := h.Get("Authorization")
	if header == "" {
		return nil, refuse("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	incomplete := func(format string, args ...any) (*authorization, *apiError) {
		return nil, refuse("IncompleteSignatureException", format, args...)
	}
	algorithm, rest, _ := strings.Cut(header, " ")
	parts := map[string]string{}
	if algorithm == signingAlgorithm {
		for part := range strings.SplitSeq(rest, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if _, twice := parts[name]; !ok || twice {
				return incomplete("The Authorization header has a part that is not a key=value pair, or has it twice.")
			}
			parts[name] = value
		}
	}
	var missing []string
	for _, name := range []string{"Credential", "Signature", "SignedHeaders"} {
		if parts[name] == "" {
			missing = append(missing, "Authorization header requires '"+name+"' parameter.")
		}
	}
	date := h.Get("X-Amz-Date")
	if date == "" {
		date = h.Get("Date")
	}
	if date == "" {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if names := parts["SignedHeaders"]; names != strings.ToLower(names) || !isAscending(strings.Split(names, ";")) {
		missing = append(missing, "'SignedHeaders' must be lowercase, sorted, and each once.")
	}
	if len(h.Values("Authorization")) > 1 || len(missing) > 0 {
		return incomplete("%s", strings.Join(append(missing, "The Authorization header is incomplete."), " "))
	}
	a := &authorization{signature: parts["Signature"], signedHeaders: strings.Split(parts["SignedHeaders"], ";")}
	a.accessKey, rest, _ = strings.Cut(parts["Credential"], "/")
	if a.scope = strings.Split(rest, "/"); len(a.scope) != 4 {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	var err error
	if a.date, err = time.Parse(isoBasic, date); err != nil {
		if a.date, err = http.ParseTime(date); err != nil {
			return incomplete("Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601")
		}
	}
	return a, nil
}

func isAscending(names []string) bool {
	for i := 1; i < len(names); i++ {
		if names[i-1] >= names[i] {
			return false
		}
	}
	return true
}

func (s *Service) checkScope(a *authorization) *apiError {
	var wrong []string
	if a.scope[3] != "aws4_request" {
		wrong = append(wrong, "Credential should be scoped with a valid terminator: 'aws4_request'.")
	}
	if a.scope[1] != s.opts.Region {
		wrong = append(wrong, "Credential should be scoped to a valid region.")
	}
	if a.scope[2] != signingName {
		wrong = append(wrong, "Credential should be scoped to correct service: '"+signingName+"'.")
	}
	if a.scope[0] != a.date.UTC().Format("20060102") {
		wrong = append(wrong, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
	}
	if wrong == nil {
		return nil
	}
	return refuse("InvalidSignatureException", "%s", strings.Join(wrong, " "))
}

// checkSignedHeaders asks for every header that AWS reads: one that is not
// signed could be changed by whoever carries the request.
func checkSignedHeaders(a *authorization, h http.Header) *apiError {
	unsigned := func(name string) *apiError {
		return refuse("InvalidSignatureException", "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
	}
	if !slices.Contains(a.signedHeaders, "host") {
		return unsigned("Host")
	}
	if h.Get("X-Amz-Date") == "" && !slices.Contains(a.signedHeaders, "date") {
		return unsigned("Date")
	}
	first := "" // of several always the same one
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-") && !slices.Contains(a.signedHeaders, strings.ToLower(name)) && (first == "" || name < first) {
			first = name
		}
	}
	if first != "" {
		return unsigned(first)
	}
	return nil
}

func checkSignatureDate(date, now time.Time) *apiError {
	stamp := func(t time.Time) string { return t.UTC().Format(isoBasic) }
	switch {
	case date.Before(now.Add(-maxSignatureSkew)):
		return refuse("InvalidSignatureException", "Signature expired: %s is now earlier than %s (%s - 5 min.)", stamp(date), stamp(now.Add(-maxSignatureSkew)), stamp(now))
	case date.After(now.Add(maxSignatureSkew)):
		return refuse("InvalidSignatureException", "Signature not yet current: %s is still later than %s (%s + 5 min.)", stamp(date), stamp(now.Add(maxSignatureSkew)), stamp(now))
	}
	return nil
}

// canonicalRequest needs a request for the path "/", the only one there is.
func canonicalRequest(r *http.Request, signedHeaders []string, bodyHash string) []byte {
	b := make([]byte, 0, 1024)
	b = append(b, r.Method...)
	b = append(b, "\n/\n"...)
	b = append(b, canonicalQuery(r.URL.RawQuery)...)
	b = append(b, '\n')
	for _, name := range signedHeaders {
		b = append(b, name...)
		b = append(b, ':')
		b = append(b, canonicalHeader(r, name)...)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, strings.Join(signedHeaders, ";")...)
	b = append(b, '\n')
	return append(b, bodyHash...)
}

func canonicalHeader(r *http.Request, name string) string {
	switch name { // net/http takes these two out of the header
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	// A query that can't be read leaves the signature without a match.
	query, _ := url.ParseQuery(raw)
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func signature(secret string, a *authorization, canonicalRequest []byte) string {
	key := []byte("AWS4" + secret)
	for _, part := range a.scope {
		key = hmacSHA256(key, []byte(part))
	}
	hash := sha256.Sum256(canonicalRequest)
	return hex.EncodeToString(hmacSHA256(key, fmt.Appendf(nil, "%s\n%s\n%s\n%x",
		signingAlgorithm, a.date.UTC().Format(isoBasic), strings.Join(a.scope, "/"), hash)))
}

func hmacSHA256(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}
