package metering

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/smithy-go/logging"
)

// This file keeps registration tokens, signatures and credentials out of
// errors and logs, into which an answer that repeats them could bring them.

// withoutSecrets masks what the call must keep to itself. AWS repeats the
// session token in its message about a wrong signature, and the Authorization
// header in that about a malformed one.
func (c *call) withoutSecrets(text string) string {
	if credentials := c.credentials.Load(); credentials != nil {
		text = withoutSecret(text, credentials.SessionToken)
	}
	if in, ok := c.request.(*ResolveCustomerRequest); ok {
		text = withoutSecret(text, in.RegistrationToken)
	}
	return secretPattern().ReplaceAllString(text, "${1}"+masked)
}

// secretPattern finds secrets by what stands before them: the names of
// members, also inside a quoted text, and of parts of an Authorization header.
// It is compiled only where something is logged or fails.
var secretPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`((?:Signature|Credential)=|"(?:RegistrationToken|Signature)\\?"\s*:\s*\\?")[^\s"\\,&]+`)
})

// withoutSecret masks the secret, and leaves out the whole text where parts of
// it remain, as after escaping or where the text breaks off.
func withoutSecret(text, secret string) string {
	if secret == "" {
		return text
	}
	text = strings.ReplaceAll(text, secret, masked)
	if sharePart(text, secret) {
		return "[left out, because it repeats a secret]"
	}
	return text
}

// secretPart is how many bytes in a row betray a secret. No word of a message
// is as long, and of a token with hundreds of bytes fewer are of no use.
const secretPart = 16

// sharePart tells whether two texts have secretPart bytes in a row in common,
// in time that grows with the sum of their lengths, not the product: a stranger
// may choose both.
func sharePart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	parts := make(map[string]bool, len(a))
	for i := 0; i+secretPart <= len(a); i++ {
		parts[a[i:i+secretPart]] = true
	}
	for i := 0; i+secretPart <= len(b); i++ {
		if parts[b[i:i+secretPart]] {
			return true
		}
	}
	return false
}

// maskError masks the text of an error of the HTTP client that repeats a
// secret, such as one about an answer that it can't read.
func (c *call) maskError(err error) error {
	text := err.Error()
	if without := c.withoutSecrets(text); without != text {
		return &maskedError{without, err}
	}
	return err
}

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }

// maskLogger masks the lines that a call logs.
func (c *call) maskLogger(logger logging.Logger) logging.Logger {
	if _, ok := logger.(logging.Nop); ok {
		return logger
	}
	return &maskingLogger{logger, c}
}

type maskingLogger struct {
	logger logging.Logger
	call   *call
}

func (l *maskingLogger) WithContext(ctx context.Context) logging.Logger {
	return &maskingLogger{logging.WithContext(ctx, l.logger), l.call}
}

func (l *maskingLogger) Logf(c logging.Classification, format string, v ...any) {
	l.logger.Logf(c, "%s", l.call.withoutSecrets(fmt.Sprintf(format, v...)))
}
