package metering

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
)

// Error is an answer of the service, or of something in between, that is not
// a result: a refusal, a fault, or a body that can't be read. Find it with
// [errors.As]; match what it means with [errors.Is] and the sentinels of this
// package. It is a [smithy.APIError].
type Error struct {
	// Op is the operation that was called, such as "BatchMeterUsage".
	Op string

	// Code is the service's name for the error, such as
	// "ThrottlingException", without namespace; "UnknownError" where the
	// answer names none.
	Code string

	// Message is the service's explanation, at most 4,096 bytes of it, or what
	// is wrong with a body that can't be read, and its first 512 bytes. It never
	// holds the registration token that was sent.
	Message string

	// Fault says on whose side the error lies.
	Fault smithy.ErrorFault

	ResponseMetadata ResponseMetadata

	namespace string // what stood before the # of the code, "" if nothing did
	frontEnd  bool   // the message is about a security token: that of credentials
	cause     error  // why the body of a 200 can't be read
}

// unknownError is the code of an error whose answer names none, as every AWS
// client for Go calls it.
const unknownError = "UnknownError"

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// ErrorCode returns Code; it is part of [smithy.APIError].
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage returns Message; it is part of [smithy.APIError].
func (e *Error) ErrorMessage() string { return e.Message }

// ErrorFault returns Fault; it is part of [smithy.APIError].
func (e *Error) ErrorFault() smithy.ErrorFault { return e.Fault }

// Unwrap returns what made a body unreadable, if that is what is wrong.
func (e *Error) Unwrap() error { return e.cause }

// Is tells whether e is the error of the service that target stands for.
func (e *Error) Is(target error) bool {
	code, ok := target.(errorCode)
	if !ok || string(code) != e.Code {
		return target == ErrExpiredCredentials && e.expired() && !e.expiredToken()
	}
	return code != codeExpiredToken || e.expiredToken()
}

// expired tells whether something is reported as expired: a registration
// token by the service, or the caller's credentials by AWS's front end.
func (e *Error) expired() bool { return e.Code == string(codeExpiredToken) || e.Code == "ExpiredToken" }

// expiredToken tells the service's own ExpiredTokenException from the one by
// which the front end reports expired credentials. In an error that a test's
// fake makes, operation and status may be left out.
func (e *Error) expiredToken() bool {
	status := e.ResponseMetadata.HTTPStatusCode
	return e.Code == string(codeExpiredToken) &&
		(e.Op == string(opResolveCustomer) || e.Op == "") &&
		(status == http.StatusBadRequest || status == 0) &&
		e.namespace != "com.amazon.coral.service" && !e.frontEnd && !isAboutSecurityToken(e.Message)
}

func isAboutSecurityToken(message string) bool {
	return strings.Contains(strings.ToLower(message), "security token")
}

// errorCode is a sentinel: the code of an [Error] that it matches.
type errorCode string

func (c errorCode) Error() string { return string(c) }

const codeExpiredToken errorCode = "ExpiredTokenException"

// The errors of the service, to be matched with [errors.Is]. Unless a comment
// says otherwise, nothing was done, and calling again with the same request
// does not help. Where [ErrUnconfirmed] matches too, an earlier attempt of the
// call may have been billed all the same: ask for that one first.
var (
	// ErrCustomerNotEntitled: the buyer has no active subscription to the
	// product. For RegisterUsage, which says so on the first call of a task or
	// pod only: don't start the software; the buyer subscribes on the
	// product's page in AWS Marketplace.
	ErrCustomerNotEntitled error = errorCode("CustomerNotEntitledException")

	// ErrDisabledApi: the operation is not offered in this Region. A SaaS
	// backend chooses one where it is, once and for all: records sent to two
	// Regions can be billed twice.
	ErrDisabledApi error = errorCode("DisabledApiException")

	// ErrDryRunOperation is the success of a dry run: the call would have
	// metered.
	ErrDryRunOperation error = errorCode("DryRunOperation")

	// ErrDuplicateRequest: the dimension and hour are metered already, with
	// another quantity. The first report stands, this one is not billed. Report
	// an hour once, when it is over.
	ErrDuplicateRequest error = errorCode("DuplicateRequestException")

	// ErrExpiredToken: the registration token is too old. The buyer goes back
	// to AWS Marketplace and chooses to set up the account again. For expired
	// credentials, which AWS reports by the same name, see
	// [ErrExpiredCredentials].
	ErrExpiredToken error = codeExpiredToken

	// ErrIdempotencyConflict: the ClientToken was used before with other
	// parameters. Send what was sent first, or use a new token for what is
	// another report.
	ErrIdempotencyConflict error = errorCode("IdempotencyConflictException")

	// ErrInternalServiceError: a fault inside the service. The client retries
	// it; for MeterUsage and BatchMeterUsage it also matches [ErrUnconfirmed].
	ErrInternalServiceError error = errorCode("InternalServiceErrorException")

	// ErrInvalidCustomerIdentifier: a record names a buyer that the product
	// does not know, or in a form that it does not take.
	ErrInvalidCustomerIdentifier error = errorCode("InvalidCustomerIdentifierException")

	// ErrInvalidEndpointRegion: MeterUsage must be called in the Region where
	// the software runs.
	ErrInvalidEndpointRegion error = errorCode("InvalidEndpointRegionException")

	// ErrInvalidLicense: a LicenseArn is not one of this seller's products, or
	// the records of one request carry those of two. Take it from
	// ResolveCustomer, and send one product a request.
	ErrInvalidLicense error = errorCode("InvalidLicenseException")

	// ErrInvalidProductCode: the product code is wrong, or the caller's
	// account did not publish the product. Compare it with the product's page in
	// the AWS Marketplace Management Portal, and the account of the credentials.
	ErrInvalidProductCode error = errorCode("InvalidProductCodeException")

	// ErrInvalidPublicKeyVersion: the product has no public key of that
	// version. It was given to the seller with the key.
	ErrInvalidPublicKeyVersion error = errorCode("InvalidPublicKeyVersionException")

	// ErrInvalidRegion: RegisterUsage must be called in the Region where the
	// task or pod runs.
	ErrInvalidRegion error = errorCode("InvalidRegionException")

	// ErrInvalidTag: a tag of an allocation is malformed, or there are too
	// many. See [Tag].
	ErrInvalidTag error = errorCode("InvalidTagException")

	// ErrInvalidToken: the registration token is not one of AWS Marketplace,
	// or of a product that another account published.
	ErrInvalidToken error = errorCode("InvalidTokenException")

	// ErrInvalidUsageAllocations: the allocations don't sum to the quantity,
	// or two of them have the same tags. See [UsageAllocation].
	ErrInvalidUsageAllocations error = errorCode("InvalidUsageAllocationsException")

	// ErrInvalidUsageDimension: the product has no such dimension. It is the
	// API name that is asked for, not the one that buyers see.
	ErrInvalidUsageDimension error = errorCode("InvalidUsageDimensionException")

	// ErrPlatformNotSupported: RegisterUsage works on Amazon ECS and EKS only,
	// with the role of the task or pod.
	ErrPlatformNotSupported error = errorCode("PlatformNotSupportedException")

	// ErrThrottling: more calls a second than the account's quota in the
	// Region. The client retries it, and calling again later is safe.
	ErrThrottling error = errorCode("ThrottlingException")

	// ErrTimestampOutOfBounds: a timestamp is too old, or in the future. Look
	// at the clock first.
	ErrTimestampOutOfBounds error = errorCode("TimestampOutOfBoundsException")

	// ErrUnauthorized: a dry run found that the role lacks the permission
	// aws-marketplace:MeterUsage.
	ErrUnauthorized error = errorCode("UnauthorizedException")
)

var (
	// ErrExpiredCredentials: the credentials that signed the request have
	// expired. AWS calls this ExpiredTokenException too; [ErrExpiredToken] does
	// not match it.
	ErrExpiredCredentials = errors.New("expired credentials")

	// ErrUnconfirmed: a call of MeterUsage or BatchMeterUsage ended without
	// word of whether its records are billed: the connection broke or the
	// context ended after the request may have left, or the service answered
	// with a fault or with a body that can't be read, in any attempt of the
	// call. Send the very same request again, with the same ClientToken: that
	// is safe, and the reason to set one before the first call. A dry run, which
	// bills nothing, never matches. Never send the usage in another shape, such as with a later
	// timestamp or summed with the next hour's: that can bill twice.
	//
	// Ask for it before any other error: the last attempt may have been refused
	// or throttled, and then its error matches as well.
	ErrUnconfirmed = errors.New("unconfirmed: not known to be billed, safe to send again unchanged")
)

// ValidationError lists everything in a request that the service would
// refuse. Nothing was sent.
type ValidationError struct {
	// Violations is never empty, and is in the order of the request's members.
	Violations []Violation
}

// Violation is one member of a request that breaks a constraint.
type Violation struct {
	// Path leads to the member from the value that was validated, as in
	// UsageRecords[3].UsageAllocations[0].Tags[1].Key. Indexes count from 0.
	Path string

	// Constraint says what is asked of the member and, where it helps, its
	// length or number; never its text.
	Constraint string
}

// shownViolations bounds the text of a ValidationError; the list is whole.
const shownViolations = 10

func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString("invalid request: ")
	for i, v := range e.Violations {
		if i == shownViolations {
			fmt.Fprintf(&b, "; and %d more", len(e.Violations)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s", v.Path, v.Constraint)
	}
	return b.String()
}
