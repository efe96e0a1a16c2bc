package meteringtest

import (
	"slices"
	"time"
)

// Record is a usage record that the service accepted and would bill.
type Record struct {
	Operation        string // BatchMeterUsage or MeterUsage
	MeteringRecordId string
	ProductCode      string

	// Who is billed, with every identifier that the buyer has, whichever the
	// request used. All three are empty for MeterUsage, where the buyer is
	// whoever runs the software.
	CustomerIdentifier   string
	CustomerAWSAccountId string
	LicenseArn           string

	Dimension        string
	Timestamp        time.Time // as sent, to the microsecond, in UTC
	Hour             time.Time // Timestamp rounded down to the hour
	Quantity         int32
	UsageAllocations []UsageAllocation // read only: the service keeps the same slice
	ClientToken      string            // MeterUsage only
}

// UsageAllocation is the part of a record's quantity that belongs to a set of
// tags.
type UsageAllocation struct {
	AllocatedUsageQuantity int32
	Tags                   []Tag
}

// Tag is a key and a value that split usage into allocations.
type Tag struct {
	Key   string
	Value string
}

// Refusal is a record or a request that the service did not take.
type Refusal struct {
	Time      time.Time // of the request, by the service's clock
	RequestId string
	Operation string // empty when the request named no operation of the service

	// Reason is the error that answered the request, such as
	// InvalidTagException, or the status of one of its records, such as
	// CustomerNotSubscribed.
	Reason  string
	Message string // why, in words; never with a registration token or a signature

	// Record is what was refused if Reason is a record's status, with the
	// identifiers that the request used and, for DuplicateRecord, with the
	// MeteringRecordId of the record that stands. It is zero otherwise.
	Record Record
}

// Request is one HTTP request that arrived. A call that its client retried
// stands here once for each attempt.
type Request struct {
	Time         time.Time // by the service's clock
	RequestId    string    // as answered in X-Amzn-RequestId
	Operation    string    // empty when the request named no operation of the service
	InvocationId string    // Amz-Sdk-Invocation-Id, the same for all attempts of a call
	Attempt      int       // from the Amz-Sdk-Request header, from 1; 0 when it has none
	Status       int       // the HTTP status that was answered; 0 if a Fault dropped the connection
	Code         string    // the error that was answered; empty for success, and for a Fault without a Code
}

// Records returns the accepted records in the order of their acceptance, all
// of them or the newest [Options.KeepRecords]. A record that was refused, or
// sent again, is not among them.
func (s *Service) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records.newest()
}

// Refused returns the newest [MaxRequests] or [Options.KeepRecords] refusals,
// oldest first: every request that was answered with an error, injected ones
// included, and every record whose status was not Success. A record that came
// back unprocessed is not refused, and neither is a dry run that would have
// succeeded, nor what a [Fault] answered without a Code.
func (s *Service) Refused() []Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals.newest()
}

// Requests returns the newest [MaxRequests] or [Options.KeepRecords] requests
// that were answered or dropped, in that order. One that a [Fault]'s Latency
// holds up is not there yet.
func (s *Service) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.newest()
}

// RequestCount returns how many requests were answered or dropped, those
// included that Requests has forgotten.
func (s *Service) RequestCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requestCount
}

// logRequest remembers a request, and its refusal if it was refused.
func (s *Service) logRequest(r Request, err *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requestCount++
	s.requests.add(r)
	if r.Code != "" && r.Code != "DryRunOperation" {
		s.refusals.add(Refusal{Time: r.Time, RequestId: r.RequestId, Operation: r.Operation, Reason: r.Code, Message: err.message})
	}
}

// history is a list that keeps its newest entries.
type history[T any] struct {
	bound   int // 0 for none
	entries []T
}

// add lets the list grow to twice its bound before it drops the older half, so
// that an entry costs no copy of the list.
func (h *history[T]) add(e T) {
	if h.bound > 0 && len(h.entries) >= 2*h.bound {
		h.entries = append(h.entries[:0], h.entries[h.bound:]...)
	}
	h.entries = append(h.entries, e)
}

func (h *history[T]) newest() []T {
	if h.bound > 0 && len(h.entries) > h.bound {
		return slices.Clone(h.entries[len(h.entries)-h.bound:])
	}
	return slices.Clone(h.entries)
}
