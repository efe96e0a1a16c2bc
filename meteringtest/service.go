// Package meteringtest is the AWS Marketplace Metering Service, simulated in
// process for tests: no account, no credentials, no network beyond 127.0.0.1.
//
// It speaks the service's own protocol (AWS JSON 1.1), so any client can be
// pointed at it, and it refuses what the service refuses: wrong types, unknown
// products and dimensions, timestamps outside their window, a second quantity
// for an hour that is already reported. A test that passes only because its
// fake is more generous than AWS proves nothing.
//
// # A complete test
//
//	func TestReportsUsage(t *testing.T) {
//		srv := meteringtest.NewServer()
//		defer srv.Close()
//		srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
//		buyer := srv.Subscribe("prod-1", "123456789012")
//
//		client := metering.NewFromConfig(srv.Config()) // or any other AWS client
//		reportUsage(client, buyer.CustomerAWSAccountId) // the code under test
//
//		require.Len(t, srv.Records(), 1)
//		require.Equal(t, int32(12), srv.Records()[0].Quantity)
//	}
//
// # State
//
// A [Service] starts empty. [Service.AddProduct], [Service.Subscribe],
// [Service.Unsubscribe], [Service.RegistrationToken] and [Service.SetEntitled]
// arrange what the seller and its buyers have done before or between calls.
// They panic on a mistake of the test, such as a product that was never added,
// and say what to do; a request never makes the service panic.
//
// [Service.Records] lists what was accepted, and so would be billed.
// [Service.Requests] lists what arrived, the refused calls and retries
// included. [Service.FailNext] makes the next calls fail.
//
// # Time
//
// Every rule about time reads [Options.Now], so a test moves its own clock
// instead of sleeping. No goroutine works in the background.
//
// # What is not known
//
// AWS does not document everything. [Options.DuplicateIdentical] chooses
// between the two readings of a record sent again unchanged; [MaxAhead],
// [FinalRecords] and [RegistrationTokenLifetime] are values that this package
// had to settle on.
package meteringtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// RegistrationTokenLifetime is how long ResolveCustomer accepts a token.
	// AWS says about 4 hours in one place and about 1 hour in another.
	RegistrationTokenLifetime = 4 * time.Hour

	// FinalRecords is how long records for a buyer are still accepted after
	// [Service.Unsubscribe]. AWS says about one hour.
	FinalRecords = time.Hour

	// MaxAhead is how far a record's timestamp may lie in the future of the
	// service's clock. The real tolerance is not known: software should report
	// past hours only, and a test should not lean on this value.
	MaxAhead = 5 * time.Minute

	// MaxRequests is how many requests [Service.Requests] remembers.
	MaxRequests = 10_000
)

// Options configures a [Service]. The zero value is ready for use.
type Options struct {
	// Now is the service's clock. It is called for each request and by the
	// set-up methods, from several goroutines at a time. Nil means time.Now.
	Now func() time.Time

	// DuplicateIdentical makes BatchMeterUsage answer a record that is sent
	// again unchanged with the status DuplicateRecord. By default it is
	// Success. Both carry the first record's MeteringRecordId, and neither
	// bills twice. Which of them AWS answers is not known, so software has to
	// be right under either: run its tests with both.
	DuplicateIdentical bool

	// Region is the Region that the service stands in and that
	// [Server.Config] names. Empty means us-east-1.
	Region string
}

// Product is something that a seller has listed.
type Product struct {
	ProductCode string

	// Dimensions are the API names of what is metered.
	Dimensions []string

	// ConcurrentAgreements marks a product of the newer kind (listed from
	// 2026-06-01), where an AWS account can buy several times: records name a
	// CustomerAWSAccountId and a LicenseArn, and requests no ProductCode.
	ConcurrentAgreements bool
}

// Buyer is who bought a product, as ResolveCustomer tells it.
type Buyer struct {
	ProductCode          string
	CustomerIdentifier   string // empty for a product with ConcurrentAgreements
	CustomerAWSAccountId string
	LicenseArn           string // only for a product with ConcurrentAgreements
}

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

// Request is one HTTP request that arrived. A call that its client retried
// stands here once for each attempt.
type Request struct {
	Time         time.Time
	RequestId    string // as answered in X-Amzn-RequestId
	Operation    string // empty when the request named no operation of the service
	InvocationId string // Amz-Sdk-Invocation-Id, the same for all attempts of a call
	Attempt      int    // from the Amz-Sdk-Request header, from 1; 0 when it has none
	Code         string // the error that was answered; empty for success
}

// Service is the state of a simulated Metering Service, and an http.Handler
// that answers for it. Make one with [NewService]. It is safe for concurrent
// use.
//
// It remembers every accepted record for as long as it lives.
type Service struct {
	opts Options

	mu            sync.Mutex
	products      map[string]*product
	byLicence     map[string]*agreement // by LicenseArn
	registrations map[string]registration
	records       []Record
	accepted      map[recordKey]acceptance
	clientTokens  map[string]acceptance
	faults        []fault
	requests      []Request
	requestCount  int
}

type product struct {
	Product
	byIdentifier map[string]*agreement // by CustomerIdentifier
	byAccount    map[string]*agreement // by CustomerAWSAccountId
	keys         map[int64]signingKey  // by PublicKeyVersion
	notEntitled  bool
}

// agreement is one purchase of a product by one account.
type agreement struct {
	buyer Buyer
	ends  time.Time // no records from then on; zero while subscribed
}

type registration struct {
	buyer   Buyer
	expires time.Time
}

// recordKey is what may be reported once. It has no agreement for MeterUsage.
type recordKey struct {
	product   *product
	agreement *agreement
	dimension string
	hour      int64 // Unix seconds
}

// acceptance tells what was accepted first under a key or client token.
type acceptance struct {
	id      string
	content string // equal for requests that ask for the same
}

type fault struct {
	n    int
	code string
}

// NewService returns a service without products, configured by optFns.
func NewService(optFns ...func(*Options)) *Service {
	var o Options
	for _, fn := range optFns {
		fn(&o)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	return &Service{
		opts:          o,
		products:      map[string]*product{},
		byLicence:     map[string]*agreement{},
		registrations: map[string]registration{},
		accepted:      map[recordKey]acceptance{},
		clientTokens:  map[string]acceptance{},
	}
}

// AddProduct lists a product. It panics if the product code is empty or
// already listed, or if a dimension is empty.
func (s *Service) AddProduct(p Product) {
	if p.ProductCode == "" || slices.Contains(p.Dimensions, "") {
		panic("meteringtest: AddProduct: give the product a ProductCode and no empty dimension")
	}
	p.Dimensions = slices.Clone(p.Dimensions)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.products[p.ProductCode] != nil {
		panic(fmt.Sprintf("meteringtest: AddProduct: %q is already listed: add each product once", p.ProductCode))
	}
	s.products[p.ProductCode] = &product{
		Product:      p,
		byIdentifier: map[string]*agreement{},
		byAccount:    map[string]*agreement{},
		keys:         map[int64]signingKey{1: newSigningKey()},
	}
}

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// Subscribe makes the AWS account (12 digits) a buyer of a product. For a
// product with ConcurrentAgreements each call is a new purchase with a licence
// of its own. For any other product an account buys once: subscribing again
// returns the same buyer, active again if it had unsubscribed.
//
// It panics if the product is not listed or the account is not 12 digits.
func (s *Service) Subscribe(productCode, customerAWSAccountId string) Buyer {
	if !accountID.MatchString(customerAWSAccountId) {
		panic(fmt.Sprintf("meteringtest: Subscribe: %q is not an AWS account: give 12 digits", customerAWSAccountId))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mustProduct("Subscribe", productCode)
	if a := p.byAccount[customerAWSAccountId]; a != nil {
		a.ends = time.Time{}
		return a.buyer
	}
	a := &agreement{buyer: Buyer{ProductCode: productCode, CustomerAWSAccountId: customerAWSAccountId}}
	if p.ConcurrentAgreements {
		a.buyer.LicenseArn = "arn:aws:license-manager::" + customerAWSAccountId + ":license:l-" + hex.EncodeToString(randomBytes(16))
		s.byLicence[a.buyer.LicenseArn] = a
	} else {
		a.buyer.CustomerIdentifier = rand.Text()[:11]
		p.byIdentifier[a.buyer.CustomerIdentifier] = a
		p.byAccount[customerAWSAccountId] = a
	}
	return a.buyer
}

// Unsubscribe ends a buyer's agreement. Records for the buyer are accepted for
// [FinalRecords] longer; from then on their status is CustomerNotSubscribed.
// Unsubscribing again changes nothing. It panics if Subscribe never returned
// the buyer.
func (s *Service) Unsubscribe(b Buyer) {
	now := s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.mustAgreement("Unsubscribe", b); a.ends.IsZero() {
		a.ends = now.Add(FinalRecords)
	}
}

// RegistrationToken returns what the buyer's browser would post to the
// seller's registration page as x-amzn-marketplace-token. ResolveCustomer
// accepts it for [RegistrationTokenLifetime], any number of times.
//
// A token always contains the characters + / and =, so code that forgets to
// encode or decode a form field fails in the test. It panics if Subscribe
// never returned the buyer.
func (s *Service) RegistrationToken(b Buyer) string {
	now := s.opts.Now()
	token := ""
	for !strings.Contains(token, "+") || !strings.Contains(token, "/") {
		token = base64.StdEncoding.EncodeToString(randomBytes(100)) // 100 bytes end in "=="
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.mustAgreement("RegistrationToken", b)
	s.registrations[token] = registration{buyer: a.buyer, expires: now.Add(RegistrationTokenLifetime)}
	return token
}

// SetEntitled tells whether whoever runs the product's software has bought it.
// Every product starts entitled; after false, MeterUsage and RegisterUsage
// answer CustomerNotEntitledException. It panics if the product is not listed.
func (s *Service) SetEntitled(productCode string, entitled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustProduct("SetEntitled", productCode).notEntitled = !entitled
}

// PublicKey returns the key that verifies RegisterUsage's signatures: RSA with
// 3,072 bits in PEM (PKIX), as AWS hands it to a seller. The key is made on
// first use, which takes a few hundred milliseconds. Every product has
// version 1.
//
// It panics if the product is not listed or has no such version.
func (s *Service) PublicKey(productCode string, version int) []byte {
	return publicKeyPEM(s.mustKey(productCode, version)())
}

// FailNext answers the next n requests with an error code, such as
// ThrottlingException or InternalServiceErrorException, and does none of their
// work. Each attempt of a call counts: most AWS clients make 3 before they give
// up. InternalServiceErrorException has the status 500,
// IdempotencyConflictException 409, and any other code 400. Requests that name
// no operation or bear no Authorization are refused as ever and do not count. Calls of FailNext add up and are used in their
// order. It panics if n is negative or the code is empty.
func (s *Service) FailNext(n int, code string) {
	if n < 0 || code == "" {
		panic("meteringtest: FailNext: give a number of requests and an error code, such as ThrottlingException")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		s.faults = append(s.faults, fault{n, code})
	}
}

// Records returns the accepted records in the order of their acceptance. A
// record that was refused, or sent again, is not among them.
func (s *Service) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Requests returns the last [MaxRequests] requests, oldest first.
func (s *Service) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests[max(0, len(s.requests)-MaxRequests):])
}

// RequestCount returns how many requests have arrived, forgotten ones
// included.
func (s *Service) RequestCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requestCount
}

// mustProduct needs s.mu held.
func (s *Service) mustProduct(method, productCode string) *product {
	p := s.products[productCode]
	if p == nil {
		panic(fmt.Sprintf("meteringtest: %s: product %q is not listed: call AddProduct first", method, productCode))
	}
	return p
}

// mustKey returns without making the key, which would hold up every request.
func (s *Service) mustKey(productCode string, version int) signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.mustProduct("PublicKey", productCode).keys[int64(version)]
	if key == nil {
		panic(fmt.Sprintf("meteringtest: PublicKey: %q has no key version %d: ask for version 1", productCode, version))
	}
	return key
}

// mustAgreement needs s.mu held.
func (s *Service) mustAgreement(method string, b Buyer) *agreement {
	a := s.byLicence[b.LicenseArn]
	if p := s.products[b.ProductCode]; a == nil && p != nil {
		a = p.byAccount[b.CustomerAWSAccountId]
	}
	if a != nil && a.buyer == b {
		return a
	}
	panic(fmt.Sprintf("meteringtest: %s: no such buyer of %q: pass a Buyer that Subscribe returned, unchanged", method, b.ProductCode))
}

// logRequest remembers a request. It lets the log grow to twice its limit
// before it drops the older half, so that a request costs no copy of the log.
func (s *Service) logRequest(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requestCount++
	if len(s.requests) >= 2*MaxRequests {
		s.requests = append(s.requests[:0], s.requests[MaxRequests:]...)
	}
	s.requests = append(s.requests, r)
}

// nextFault returns the error that FailNext has asked for, or nil.
func (s *Service) nextFault() *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return nil
	}
	f := &s.faults[0]
	err := refuse(f.code, "The test asked for this error.")
	if f.n--; f.n == 0 {
		s.faults = s.faults[1:]
	}
	return err
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never returns an error
	return b
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	b := randomBytes(16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
