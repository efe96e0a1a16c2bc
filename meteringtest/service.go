// Package meteringtest is the AWS Marketplace Metering Service, simulated in
// process for tests: no account, no credentials, no network beyond 127.0.0.1.
//
// It speaks the service's own protocol (AWS JSON 1.1), so any client can be
// pointed at it, and it refuses what the service refuses: wrong signatures and
// types, unknown products and dimensions, timestamps outside their window, a
// second quantity for an hour that is already reported. A test that passes only
// because its fake is more generous than AWS proves nothing.
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
// [Service.Unsubscribe], [Service.RegistrationToken], [Service.AddPublicKey],
// [Service.ExpirePublicKey] and [Service.SetEntitled] arrange what the seller
// and its buyers have done before or between calls; [Service.RunIn],
// [Service.RunOnAgentCore] and [Service.SetPlatformSupported] where the
// buyer's software runs; [Service.SetPermitted], [Service.SetOffered] and
// [Service.SetOutage] what AWS makes of its callers. They panic on a mistake of
// the test, such as a product that was never added, and say what to do; no
// request makes the service panic, unless a [Fault] drops its connection.
//
// [Service.Records] lists what was accepted, and so would be billed;
// [Service.Refused] what was not, and why; [Service.Requests] what arrived,
// retries included.
//
// # Signatures
//
// Every request has to be signed (Signature Version 4) with one of
// [Options.Credentials], for the service's Region, no more than 5 minutes ago.
// [Server.Config] does all of that. Any other client needs the access key
// "test" with the secret "test", the Region us-east-1, and the service's URL.
//
// # Time
//
// Every rule about usage reads the service's own clock: [Options.Now], which
// [Service.SetTime] and [Service.Advance] move on, so a test does not sleep. No
// goroutine works in the background.
//
// With [Options.InMemory] a test runs inside testing/synctest, retries and
// waiting included, in no time: a real socket never lets its clock advance.
// Make the server inside the bubble, and close it before the bubble ends. A
// bubble begins at midnight UTC on the 1st of a month, so that 6 hours later the
// records of the month before are closed.
//
// # Faults
//
// [Service.Inject] makes calls fail in the ways that networks and services
// have: errors, proxies' pages, latency, connections dropped before or after
// the work, answers cut short or incomplete. [Service.FailNext] is its short
// form. [Options.Quotas] throttles as AWS does.
//
// # What is not known
//
// AWS does not document everything. [Options.DuplicateIdentical],
// [Options.RegistrationTokenOnce], [Options.RegistrationTokenLifetime],
// [Options.MaxAhead], [Options.MaxBatchBytes] and [Options.RegisterRefusedOnce]
// choose between readings, and software has to be right under all of them.
// [FinalRecords] is a value that this package had to settle on, and so are the
// status 409 of IdempotencyConflictException (400 elsewhere at AWS), that an
// empty Tag.Value is accepted, that a LicenseArn beside a ProductCode is refused
// (AWS says that it bills twice), and what becomes of requests that no client
// sends: 404 for another path, 413 for more than a megabyte. The texts of
// messages are its own for the most part.
//
// Not simulated: two Regions that share products, the 6 hours after launch
// within which a container has to register, the kinds of roles on EKS, and
// suspended accounts.
package meteringtest

import (
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

const (
	// RegistrationTokenLifetime is how long ResolveCustomer accepts a token,
	// unless [Options.RegistrationTokenLifetime] says otherwise.
	RegistrationTokenLifetime = 4 * time.Hour

	// FinalRecords is how long records for a buyer are still accepted after
	// [Service.Unsubscribe]. AWS says about one hour.
	FinalRecords = time.Hour

	// MaxRequests is how many entries [Service.Requests] and [Service.Refused]
	// remember unless [Options.KeepRecords] says otherwise.
	MaxRequests = 10_000

	defaultMaxAhead = 5 * time.Minute
)

// Options configures a [Service]. The zero value is ready for use.
type Options struct {
	// Now is what the service's clock starts from; [Service.SetTime] and
	// [Service.Advance] add to it. It is called for each request and by the
	// set-up methods, from several goroutines at a time. Nil means time.Now.
	Now func() time.Time

	// SignatureNow is the clock that signatures are held against (they are good
	// for 5 minutes either way) and that the Date header of answers tells, from
	// which clients correct their own. Nil means time.Now and not the service's
	// clock, because clients sign with their machine's time, which a test can't
	// move. A test of a client whose clock is wrong sets it.
	SignatureNow func() time.Time

	// Credentials are who may call. Empty means one pair, with the access key
	// "test" and the secret "test". [Server.Config] uses the first of them.
	// Requests must carry the SessionToken of those that have one, and those
	// that can expire are refused from Expires on, by the service's clock. An
	// AccountID tells whose quota a request counts against; credentials
	// without one share an account. An access key stands for one instance,
	// task or pod that runs the software; AWS tells them apart by other means.
	Credentials []aws.Credentials

	// Region is the Region that the service stands in, that signatures have to
	// name, and that [Server.Config] names. Empty means us-east-1.
	Region string

	// DuplicateIdentical makes BatchMeterUsage answer a record that is sent
	// again unchanged with the status DuplicateRecord. By default it is
	// Success. Both carry the first record's MeteringRecordId, and neither
	// bills twice. Which of them AWS answers is not known, so software has to
	// be right under either: run its tests with both.
	DuplicateIdentical bool

	// MaxAhead is how far a record's timestamp may lie in the future of the
	// service's clock. 0 means 5 minutes; a negative duration tolerates
	// nothing. AWS's tolerance is not known: software should report past hours
	// only, and then has no need of any.
	MaxAhead time.Duration

	// RegistrationTokenLifetime is how long ResolveCustomer accepts a token; 0
	// means 4 hours. AWS says about 4 hours in one place and about 1 hour in
	// another.
	RegistrationTokenLifetime time.Duration

	// RegistrationTokenOnce makes ResolveCustomer answer ExpiredTokenException
	// to a token that was resolved before, as the service's model has it. By
	// default it gives the same answer again, as AWS's guidance has it.
	RegistrationTokenOnce bool

	// MaxBatchBytes is the size in bytes from which a BatchMeterUsage is
	// refused; 0 means 1,000,000. AWS says 1 MB, which may be 1,048,576.
	MaxBatchBytes int

	// RegisterRefusedOnce makes RegisterUsage refuse (not entitled, platform
	// not supported) only the first call for a product of each access key, and
	// let every later one succeed. By default each call is refused. AWS says
	// that only the first call throws, not what a later one answers: software
	// that goes on after a refusal must not take a later success for payment.
	RegisterRefusedOnce bool

	// Quotas holds each account to 10 BatchMeterUsage, 10 MeterUsage and 5
	// RegisterUsage requests a second, in buckets that hold a second's worth,
	// by the service's clock. What goes beyond is answered with
	// ThrottlingException. Every request that is signed rightly counts when it
	// arrives, also one that is then refused or hit by a [Fault]; one that was
	// throttled does not.
	Quotas bool

	// KeepRecords bounds each of the lists that Records, Refused and Requests
	// return: they keep the newest. It does not bound what makes a record a
	// duplicate, or a ClientToken a used one, which takes about 100 bytes for
	// each. 0 means every record and
	// [MaxRequests] refusals and requests. NewService panics if it is negative.
	KeepRecords int

	// InMemory makes NewServer listen in memory instead of on a socket, for
	// tests inside testing/synctest: call NewServer inside the bubble.
	// NewService ignores it.
	InMemory bool

	// Seed starts the draws for [Fault.Probability]: the same seed makes the
	// same draws. Concurrent requests still race for them.
	Seed uint64
}

// Product is something that a seller has listed.
type Product struct {
	// ProductCode is the code that AWS gave to it.
	ProductCode string

	// SellerAccountID is the AWS account that published it. Callers with
	// another AccountID among [Options.Credentials] can't resolve its buyers or
	// meter their usage. Empty means that any of them can.
	SellerAccountID string

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

// Service is the state of a simulated Metering Service, and an http.Handler
// that answers for it. Make one with [NewService]. It is safe for concurrent
// use.
//
// It remembers which hours are reported for as long as it lives.
type Service struct {
	opts        Options
	credentials map[string]*aws.Credentials // by access key
	offset      atomic.Int64                // nanoseconds that the clock is ahead of opts.Now

	mu            sync.Mutex
	products      map[string]*product
	byLicence     map[string]*agreement // by LicenseArn
	registrations map[string]*registration
	accepted      map[recordKey]acceptance
	clientTokens  map[digest]acceptance // by account and token
	registered    map[[2]string]bool    // access key and product code that have called RegisterUsage

	disabled    map[string]bool // operations
	forbidden   map[string]bool // operations
	softwareIn  string          // Region
	agentCore   bool
	unsupported bool // the platform
	outage      bool

	faults  []*Fault
	random  *rand.Rand
	buckets map[[2]string]*bucket // by account and operation

	records      history[Record]
	refusals     history[Refusal]
	requests     history[Request]
	requestCount int
}

type product struct {
	Product
	byIdentifier map[string]*agreement // by CustomerIdentifier
	byAccount    map[string]*agreement // by CustomerAWSAccountId
	byCaller     map[string]*agreement // by access key, for MeterUsage
	keys         []*publicKey          // version 1 first
	notEntitled  bool
}

type publicKey struct {
	signingKey
	rotated time.Time // zero while the version is current
}

// agreement is one purchase of a product by one account. For MeterUsage, which
// names no buyer, it is the software that calls.
type agreement struct {
	buyer Buyer
	ends  time.Time // no records from then on; zero while subscribed
}

type registration struct {
	buyer    Buyer
	expires  time.Time
	resolved bool
}

// recordKey is what may be reported once. It is small because a test may
// report millions.
type recordKey struct {
	agreement *agreement // of one product
	dimension int32      // index in the product's Dimensions
	hour      int32      // hours since 1970
}

// acceptance tells what was accepted first under a key or client token.
type acceptance struct {
	id      uuid
	content digest // equal for requests that ask for the same
}

// digest is the half of a SHA-256, which is plenty to tell contents apart.
type digest [16]byte

func digestOf(content []byte) digest {
	sum := sha256.Sum256(content)
	return digest(sum[:16])
}

// NewService returns a service without products, configured by optFns. It
// panics if two Credentials have the same access key or one lacks a key.
func NewService(optFns ...func(*Options)) *Service {
	var o Options
	for _, fn := range optFns {
		fn(&o)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SignatureNow == nil {
		o.SignatureNow = time.Now
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.MaxAhead == 0 {
		o.MaxAhead = defaultMaxAhead
	}
	if o.RegistrationTokenLifetime == 0 {
		o.RegistrationTokenLifetime = RegistrationTokenLifetime
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = 1_000_000
	}
	o.Credentials = slices.Clone(o.Credentials)
	if len(o.Credentials) == 0 {
		o.Credentials = []aws.Credentials{{AccessKeyID: "test", SecretAccessKey: "test", Source: "meteringtest"}}
	}
	if o.KeepRecords < 0 {
		panic("meteringtest: NewService: KeepRecords is negative: give a bound, or 0 for none")
	}
	logBound := MaxRequests
	if o.KeepRecords > 0 {
		logBound = o.KeepRecords
	}
	s := &Service{
		opts:          o,
		credentials:   map[string]*aws.Credentials{},
		products:      map[string]*product{},
		byLicence:     map[string]*agreement{},
		registrations: map[string]*registration{},
		accepted:      map[recordKey]acceptance{},
		clientTokens:  map[digest]acceptance{},
		registered:    map[[2]string]bool{},
		disabled:      map[string]bool{},
		forbidden:     map[string]bool{},
		softwareIn:    o.Region,
		random:        rand.New(rand.NewPCG(o.Seed, 0)),
		buckets:       map[[2]string]*bucket{},
		records:       history[Record]{bound: o.KeepRecords},
		refusals:      history[Refusal]{bound: logBound},
		requests:      history[Request]{bound: logBound},
	}
	for i, c := range o.Credentials {
		if c.AccessKeyID == "" || c.SecretAccessKey == "" || s.credentials[c.AccessKeyID] != nil {
			panic("meteringtest: NewService: give each of Credentials an access key of its own and a secret")
		}
		s.credentials[c.AccessKeyID] = &o.Credentials[i]
	}
	return s
}

// now reads the service's clock.
func (s *Service) now() time.Time {
	return s.opts.Now().Add(time.Duration(s.offset.Load())).UTC()
}

func (s *Service) signatureNow() time.Time { return s.opts.SignatureNow() }

// SetTime sets the service's clock, which goes on from there as Options.Now
// goes on. It may be set back.
func (s *Service) SetTime(t time.Time) { s.offset.Store(int64(t.Sub(s.opts.Now()))) }

// Advance moves the service's clock on by d, or back if d is negative.
func (s *Service) Advance(d time.Duration) { s.offset.Add(int64(d)) }

// AddProduct lists a product, with version 1 of a public key. It panics if the
// product code is empty or already listed, or if a dimension is empty.
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
		byCaller:     map[string]*agreement{},
		keys:         []*publicKey{{signingKey: newSigningKey()}},
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
		a.buyer.CustomerIdentifier = cryptorand.Text()[:11]
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
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.mustAgreement("Unsubscribe", b); a.ends.IsZero() {
		a.ends = now.Add(FinalRecords)
	}
}

// RegistrationToken returns what the buyer's browser would post to the
// seller's registration page as x-amzn-marketplace-token. ResolveCustomer
// accepts it for [Options.RegistrationTokenLifetime], and any number of times
// unless [Options.RegistrationTokenOnce] says otherwise.
//
// A token always contains the characters + / and =, so code that forgets to
// encode or decode a form field fails in the test. It panics if Subscribe
// never returned the buyer.
func (s *Service) RegistrationToken(b Buyer) string {
	now := s.now()
	token := ""
	for !strings.Contains(token, "+") || !strings.Contains(token, "/") {
		token = base64.StdEncoding.EncodeToString(randomBytes(100)) // 100 bytes end in "=="
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.mustAgreement("RegistrationToken", b)
	s.registrations[token] = &registration{buyer: a.buyer, expires: now.Add(s.opts.RegistrationTokenLifetime)}
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
// first use, which takes a few hundred milliseconds.
//
// It panics if the product is not listed or has no such version.
func (s *Service) PublicKey(productCode string, version int) []byte {
	return publicKeyPEM(s.mustKey("PublicKey", productCode, version).signingKey())
}

// AddPublicKey gives a product its next key and returns the version. The older
// versions stay as they are. It panics if the product is not listed.
func (s *Service) AddPublicKey(productCode string) (version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mustProduct("AddPublicKey", productCode)
	p.keys = append(p.keys, &publicKey{signingKey: newSigningKey()})
	return len(p.keys)
}

// ExpirePublicKey lets a version of a product's key expire at rotation. From
// then on, by the service's clock, RegisterUsage still signs with it and adds
// the PublicKeyRotationTimestamp. It panics if the product is not listed or has
// no such version, or if rotation is the zero time.
func (s *Service) ExpirePublicKey(productCode string, version int, rotation time.Time) {
	if rotation.IsZero() {
		panic("meteringtest: ExpirePublicKey: give the time of the rotation")
	}
	key := s.mustKey("ExpirePublicKey", productCode, version)
	s.mu.Lock()
	defer s.mu.Unlock()
	key.rotated = rotation
}

// RunIn tells the Region where the buyer's software runs, at first the
// service's own. Elsewhere MeterUsage answers InvalidEndpointRegionException
// and RegisterUsage InvalidRegionException.
func (s *Service) RunIn(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.softwareIn = region
}

// RunOnAgentCore tells whether the buyer's software runs on Bedrock AgentCore
// Runtime. There every MeterUsage with a ClientToken of its own, or with none,
// is a record of its own, and the records of an hour are summed.
func (s *Service) RunOnAgentCore(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agentCore = on
}

// SetPlatformSupported tells whether the buyer's software runs on a platform
// that AWS meters, as it does at first. After false RegisterUsage answers
// PlatformNotSupportedException.
func (s *Service) SetPlatformSupported(supported bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsupported = !supported
}

// SetOffered tells whether AWS offers the operation in the service's Region, as
// it does at first. After false it answers DisabledApiException. It panics on
// MeterUsage, whose model has no such error, and on an operation that the
// service does not have.
func (s *Service) SetOffered(operation string, offered bool) {
	mustOperation("SetOffered", operation)
	if operation == "MeterUsage" {
		panic("meteringtest: SetOffered: MeterUsage is never disabled: use RunIn for a wrong Region")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disabled[operation] = !offered
}

// SetPermitted tells whether the callers' IAM policies allow the operation, as
// they do at first. After false it answers AccessDeniedException, or
// UnauthorizedException to a MeterUsage with DryRun. It panics on an operation
// that the service does not have.
func (s *Service) SetPermitted(operation string, permitted bool) {
	mustOperation("SetPermitted", operation)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forbidden[operation] = !permitted
}

// SetOutage tells whether the service has lost its store: then every request
// that is well formed is answered with InternalServiceErrorException (500), and
// nothing is metered.
func (s *Service) SetOutage(outage bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = outage
}

func mustOperation(method, operation string) {
	if operations[operation] == nil {
		panic(fmt.Sprintf("meteringtest: %s: the service has no operation %q: give BatchMeterUsage, MeterUsage, RegisterUsage or ResolveCustomer", method, operation))
	}
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
func (s *Service) mustKey(method, productCode string, version int) *publicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.mustProduct(method, productCode).key(int64(version))
	if key == nil {
		panic(fmt.Sprintf("meteringtest: %s: %q has no key version %d: ask for version 1 or one that AddPublicKey returned", method, productCode, version))
	}
	return key
}

// key returns nil if there is no such version.
func (p *product) key(version int64) *publicKey {
	if version < 1 || version > int64(len(p.keys)) {
		return nil
	}
	return p.keys[version-1]
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

func randomBytes(n int) []byte {
	b := make([]byte, n)
	cryptorand.Read(b) // never returns an error
	return b
}

// uuid is a MeteringRecordId or RequestId, in the form that takes least memory.
type uuid [16]byte

// newUUID returns a random UUID (version 4).
func newUUID() (u uuid) {
	cryptorand.Read(u[:]) // never returns an error
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

func (u uuid) String() string {
	b := make([]byte, 0, 36)
	for i, part := range [][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return string(b)
}
