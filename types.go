package metering

import (
	"fmt"
	"net/http"
	"time"
)

// MeterUsageRequest reports what one EC2 instance, ECS task or EKS pod used in
// one hour, from inside that software and with the buyer's role.
type MeterUsageRequest struct {
	// ProductCode is the code that AWS Marketplace gave to the product.
	// Required.
	ProductCode string

	// Timestamp is the hour of the usage. The service rounds it down to the
	// hour, UTC, and accepts it until 6 hours after the event. It is sent with
	// milliseconds; what is finer is cut off. Required.
	Timestamp time.Time

	// UsageDimension is one of the product's dimensions. Required.
	UsageDimension string

	// UsageQuantity is how much of the dimension was used in that hour; 0, the
	// default, is sent as it is.
	UsageQuantity int32

	// DryRun asks whether this process may meter, and meters nothing. The
	// service then answers with an error in either case: [ErrDryRunOperation]
	// means yes. [Client.CanMeter] makes that a plain nil.
	DryRun bool

	// UsageAllocations splits UsageQuantity over sets of tags; their
	// quantities must sum to it. Empty means that the record is not split.
	UsageAllocations []UsageAllocation

	// ClientToken makes the report safe to repeat: the service answers the
	// same token with the same parameters by the first call's answer, and with
	// other parameters by [ErrIdempotencyConflict]. 1 to 64 characters.
	//
	// When empty, [Client.MeterUsage] makes a new one for the call, the same
	// for each of its retries. That does not cover a program that calls again
	// after an error: on platforms where the reports of an hour are summed, a
	// second call under another token bills twice. Whoever may call again sets
	// a token made by [NewClientToken] and stores it with the report before
	// the first call.
	ClientToken string
}

// MeterUsageResult is the answer to a [MeterUsageRequest] that was metered.
type MeterUsageResult struct {
	// MeteringRecordId names the record; it is never empty in a result that a
	// [Client] returned.
	MeteringRecordId string

	ResponseMetadata ResponseMetadata
}

// BatchMeterUsageRequest reports the usage of buyers of one SaaS product.
type BatchMeterUsageRequest struct {
	// ProductCode is the code that AWS Marketplace gave to the product. It
	// must be empty where the records carry a LicenseArn, because a customer
	// and hour reported both ways are billed twice, and must be set where they
	// don't.
	ProductCode string

	// UsageRecords holds at most 25 records, which together must be less than
	// 1,048,576 bytes as sent. One bad record makes the service refuse them
	// all. Required; nil is refused, an empty list is sent as it is.
	UsageRecords []UsageRecord
}

// BatchMeterUsageResult says what became of each record of a
// [BatchMeterUsageRequest]. That there is a result does not mean that anything
// was billed: look at the Status of each element of Results, and send
// UnprocessedRecords and what [BatchMeterUsageResult.Missing] names again.
type BatchMeterUsageResult struct {
	// Results holds the records that the service decided about, the refused
	// ones too; see Status. Match them to yours by customer, LicenseArn,
	// Dimension and hour: neither their order nor the exact time is promised.
	Results []UsageRecordResult

	// UnprocessedRecords failed inside the service. They are not billed, and
	// are to be sent again unchanged.
	UnprocessedRecords []UsageRecord

	ResponseMetadata ResponseMetadata
}

// UsageRecord is what one buyer used of one dimension in one hour.
//
// There is one record for a product, buyer, dimension and hour, and the first
// one wins. Sent again unchanged it is safe; with another quantity it is
// refused as [StatusDuplicateRecord] and not billed. So report an hour only
// when it is over, store the record before it is sent, and repeat exactly that.
type UsageRecord struct {
	// Timestamp is the hour of the usage, UTC. The service accepts it until
	// 24 hours after the event, and for the month before only until 06:00 UTC
	// on the 1st. It is sent with milliseconds; what is finer is cut off.
	// Required.
	Timestamp time.Time

	// CustomerIdentifier names the buyer of an older product. Either this or
	// CustomerAWSAccountId is required, and never both.
	CustomerIdentifier string

	// CustomerAWSAccountId names the buyer by AWS account, as
	// [Client.ResolveCustomer] gave it.
	CustomerAWSAccountId string

	// LicenseArn names the buyer's licence, for products with concurrent
	// agreements (those listed from June 2026 on). The request must then carry
	// no ProductCode.
	LicenseArn string

	// Dimension is one of the product's dimensions. Required.
	Dimension string

	// Quantity is how much of the dimension was used in that hour; 0, the
	// default, is sent as it is.
	Quantity int32

	// UsageAllocations splits Quantity over sets of tags; their quantities
	// must sum to it. Empty means that the record is not split.
	UsageAllocations []UsageAllocation
}

// UsageRecordResult says what became of one record.
type UsageRecordResult struct {
	// UsageRecord is the record as the service repeats it.
	UsageRecord UsageRecord

	// MeteringRecordId names the record in the service. It may be set on a
	// refused record too.
	MeteringRecordId string

	// Status says whether the record is billed. [StatusSuccess] means that it
	// is, [StatusDuplicateRecord] that an earlier one stands; any other value,
	// a new one too, that it is not.
	Status UsageRecordResultStatus
}

// UsageRecordResultStatus is the service's verdict on one record. A value that
// is not among the constants is kept as it came, and does not mean success.
type UsageRecordResultStatus string

const (
	// StatusSuccess: the record is accepted and billed.
	StatusSuccess UsageRecordResultStatus = "Success"

	// StatusCustomerNotSubscribed: the identifier is wrong, the buyer has no
	// active agreement, or the account is suspended. The record is not billed;
	// sending it again does not help.
	StatusCustomerNotSubscribed UsageRecordResultStatus = "CustomerNotSubscribed"

	// StatusDuplicateRecord: the buyer, dimension and hour have a record
	// already, and the service does not say which. Who has only ever sent this
	// one quantity for that hour has it billed, once. Who may have sent another
	// has that one billed, and not this: let a person look, and don't bill the
	// difference under another hour unseen.
	StatusDuplicateRecord UsageRecordResultStatus = "DuplicateRecord"
)

// UsageAllocation is the part of a record's quantity that belongs to one set
// of tags.
type UsageAllocation struct {
	// AllocatedUsageQuantity is that part; 0, the default, is sent as it is.
	AllocatedUsageQuantity int32

	// Tags has at most 5 tags, in a combination that no other allocation of
	// the record has. Empty stands for usage without tags.
	Tags []Tag
}

// Tag is a label on usage that the buyer sees in AWS's cost tools.
type Tag struct {
	// Key has 1 to 100 characters.
	Key string

	// Value has at most 256 characters; an empty one is sent as "".
	Value string
}

// RegisterUsageRequest asks, once at the start of a paid container, whether
// its buyer is entitled to it.
type RegisterUsageRequest struct {
	// ProductCode is the code that AWS Marketplace gave to the product.
	// Required.
	ProductCode string

	// PublicKeyVersion is the version of the key that AWS Marketplace gave
	// with the product code, 1 or more. Required.
	PublicKeyVersion int32

	// Nonce, at most 255 characters, comes back inside the signature, so that
	// an old answer can't be played again. Empty sends none.
	Nonce string
}

// RegisterUsageResult proves that the buyer is entitled, once its Signature
// has been verified.
type RegisterUsageResult struct {
	// PublicKeyRotationTimestamp is set only when the key version asked with
	// has expired: until then software with the new key must be shipped. The
	// zero time means that the answer had none.
	PublicKeyRotationTimestamp time.Time

	// Signature is a JWT signed with PS256. It is never empty in a result that
	// a [Client] returned, and proves nothing until it is verified with the
	// public key. It is masked by fmt and slog and left out of JSON; see
	// [RegisterUsageResult.Format].
	Signature string `json:"-"`

	ResponseMetadata ResponseMetadata
}

// ResolveCustomerRequest trades the token that a buyer's browser brought from
// AWS Marketplace for the buyer's identity.
type ResolveCustomerRequest struct {
	// RegistrationToken is the value of the form field
	// x-amzn-marketplace-token. Resolve it at once. It is masked by fmt and
	// slog and left out of JSON; see [ResolveCustomerRequest.Format].
	// Required.
	RegistrationToken string `json:"-"`
}

// ResolveCustomerResult is a buyer's identity. At least one of
// CustomerAWSAccountId and CustomerIdentifier is set in a result that a
// [Client] returned.
//
// Who has a LicenseArn is identified by it together with
// CustomerAWSAccountId, never by the account alone: one account can hold
// several licences.
type ResolveCustomerResult struct {
	// CustomerIdentifier is empty for newer products.
	CustomerIdentifier string

	// CustomerAWSAccountId is the buyer's AWS account.
	CustomerAWSAccountId string

	// LicenseArn is empty for products without concurrent agreements.
	LicenseArn string

	// ProductCode is the product that was bought. A seller of several
	// products compares it.
	ProductCode string

	ResponseMetadata ResponseMetadata
}

// ResponseMetadata is what an answer says about itself. It stands in every
// result and in every [Error].
type ResponseMetadata struct {
	// RequestId is AWS's name for the request, to be given to its support.
	// Empty if the answer had none.
	RequestId string

	// HostId is the x-amz-id-2 header, which this service seldom sends.
	HostId string

	// HTTPStatusCode is the status of the answer, such as 200.
	HTTPStatusCode int

	// HTTPHeaders are the headers of the answer, not to be changed.
	HTTPHeaders http.Header

	// RetryAttempts counts the attempts after the first one.
	RetryAttempts int
}

// masked stands in for a secret that is not empty.
const masked = "[masked]"

func mask(secret string) string {
	if secret == "" {
		return ""
	}
	return masked
}

// Format masks RegistrationToken under every verb of fmt, and so under slog's
// TextHandler; its JSONHandler leaves the field out. fmt calls no methods on
// what it reaches through an unexported field: a struct of yours that holds a
// request in one must mask it itself. One that embeds a request is printed as
// that request alone.
func (r ResolveCustomerRequest) Format(f fmt.State, verb rune) {
	type request ResolveCustomerRequest // without the method, which would call itself
	r.RegistrationToken = mask(r.RegistrationToken)
	fmt.Fprintf(f, fmt.FormatString(f, verb), request(r))
}

// Format masks Signature under every verb of fmt, and so under slog's
// TextHandler; its JSONHandler leaves the field out. fmt calls no methods on
// what it reaches through an unexported field: a struct of yours that holds a
// result in one must mask it itself. One that embeds a result is printed as
// that result alone.
func (r RegisterUsageResult) Format(f fmt.State, verb rune) {
	type result RegisterUsageResult // without the method, which would call itself
	r.Signature = mask(r.Signature)
	fmt.Fprintf(f, fmt.FormatString(f, verb), result(r))
}
