package meteringtest

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// meterUsage is called by the buyer's software, so that there is no customer
// in it. An access key is taken for one instance of the software.
func (s *Service) meterUsage(c *call) (any, *apiError) {
	code := c.string(c.members["ProductCode"])
	at := c.timestamp(c.members["Timestamp"])
	dimension := c.string(c.members["UsageDimension"])
	usage := c.integer(c.members["UsageQuantity"], 32)
	dryRun := c.bool(c.members["DryRun"])
	allocations := list(c, c.members["UsageAllocations"], c.allocation)
	token := c.string(c.members["ClientToken"])
	if c.err != nil {
		return nil, c.err
	}

	var v violations
	if code == nil {
		v.null("productCode")
	}
	v.productCode("productCode", code)
	if at == nil {
		v.null("timestamp")
	}
	v.dimension("usageDimension", dimension)
	v.quantity("usageQuantity", usage)
	v.allocations("usageAllocations", allocations)
	if token != nil {
		v.length("clientToken", utf8.RuneCountInString(*token), 1, 64)
	}
	if err := v.err(); err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.runningProduct(*code)
	if err != nil {
		return nil, err
	}
	if s.softwareIn != s.opts.Region {
		return nil, refuse("InvalidEndpointRegionException", "The software does not run in this endpoint's Region.")
	}
	if p.notEntitled {
		return nil, notEntitled()
	}
	dim, err := p.checkDimension(*dimension)
	if err != nil {
		return nil, err
	}
	quantity := orZero(usage)
	if err := checkAllocations(quantity, allocations); err != nil {
		return nil, err
	}

	type result struct{ MeteringRecordId string }
	content := canonicalUsage(quantity, allocations)
	request := digestOf(fmt.Appendf(nil, "%q %q %d %x", *code, *dimension, at.t.UnixMicro(), content))
	tokenKey := digestOf(fmt.Appendf(nil, "%q %q", c.account, orEmpty(token)))
	if first, ok := s.clientTokens[tokenKey]; ok && token != nil && !dryRun {
		if first.content != request {
			return nil, refuse("IdempotencyConflictException", "The ClientToken was used with other parameters.")
		}
		return result{first.id.String()}, nil // also when the hour is closed by now
	}
	if err := s.checkTimestamp(c.now, at.t, 6*time.Hour); err != nil {
		return nil, err
	}
	if dryRun { // leaves the hour and the client token unused
		return nil, refuse("DryRunOperation", "The request would have succeeded; DryRun kept it from being done.")
	}

	caller := p.byCaller[c.caller]
	if caller == nil {
		caller = &agreement{}
		p.byCaller[c.caller] = caller
	}
	hour := at.t.Truncate(time.Hour)
	key := recordKey{caller, dim, hoursSince1970(hour)}
	first, ok := s.accepted[key]
	ok = ok && !s.agentCore // where the records of an hour are summed
	if ok && first.content != content {
		return nil, refuse("DuplicateRequestException", "The hour %s of %s is reported with another quantity.", hour.Format(time.RFC3339), *dimension)
	}
	if !ok {
		first = acceptance{newUUID(), content}
		s.accepted[key] = first
		s.records.add(Record{
			Operation:        "MeterUsage",
			MeteringRecordId: first.id.String(),
			ProductCode:      p.ProductCode,
			Dimension:        p.Dimensions[dim],
			Timestamp:        at.t,
			Hour:             hour,
			Quantity:         int32(quantity),
			UsageAllocations: exported(allocations),
			ClientToken:      orEmpty(token),
		})
	}
	if token != nil {
		s.clientTokens[tokenKey] = acceptance{first.id, request}
	}
	return result{first.id.String()}, nil
}

func (s *Service) registerUsage(c *call) (any, *apiError) {
	code := c.string(c.members["ProductCode"])
	version := c.integer(c.members["PublicKeyVersion"], 32)
	nonce := orEmpty(c.string(c.members["Nonce"]))
	if c.err != nil {
		return nil, c.err
	}

	var v violations
	if code == nil {
		v.null("productCode")
	}
	v.productCode("productCode", code)
	if version == nil {
		v.null("publicKeyVersion")
	} else if *version < 1 {
		v.add("publicKeyVersion", "have value greater than or equal to 1")
	}
	v.length("nonce", utf8.RuneCountInString(nonce), 0, 255)
	if err := v.err(); err != nil {
		return nil, err
	}

	key, rotated, err := s.registerKey(c, *code, *version)
	if err != nil {
		return nil, err
	}
	signature, signErr := signJWT(key(), claims{*code, *version, nonce, c.now.Unix()})
	if signErr != nil {
		return nil, refuse("InternalServiceErrorException", "Signing failed.")
	}
	return struct {
		PublicKeyRotationTimestamp int64 `json:",omitempty"` // Unix seconds
		Signature                  string
	}{rotated, signature}, nil
}

// registerKey returns the key to sign with, and when it was rotated. Making a
// key and signing take long, so they happen without s.mu.
func (s *Service) registerKey(c *call, code string, version int64) (key signingKey, rotated int64, err *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.runningProduct(code)
	if err != nil {
		return nil, 0, err
	}
	if s.softwareIn != s.opts.Region {
		return nil, 0, refuse("InvalidRegionException", "The software does not run in this endpoint's Region.")
	}
	k := p.key(version)
	if k == nil {
		return nil, 0, refuse("InvalidPublicKeyVersionException", "The product has no public key of version %d.", version)
	}
	who := [2]string{c.caller, code}
	again := s.registered[who]
	s.registered[who] = true
	if !again || !s.opts.RegisterRefusedOnce {
		if s.unsupported {
			return nil, 0, refuse("PlatformNotSupportedException", "AWS Marketplace does not meter software on this platform.")
		}
		if p.notEntitled {
			return nil, 0, notEntitled()
		}
	}
	if !k.rotated.IsZero() && !c.now.Before(k.rotated) {
		rotated = k.rotated.Unix()
	}
	return k.signingKey, rotated, nil
}

// resolveCustomer never repeats the token in a message: whoever has it can
// register as the buyer.
func (s *Service) resolveCustomer(c *call) (any, *apiError) {
	token := c.string(c.members["RegistrationToken"])
	if c.err != nil {
		return nil, c.err
	}

	var v violations
	if token == nil {
		v.null("registrationToken")
	} else if *token == "" {
		v.add("registrationToken", "have length greater than or equal to 1")
	}
	if err := v.err(); err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkStore(); err != nil {
		return nil, err
	}
	r := s.registrations[*token]
	if r == nil || !s.products[r.buyer.ProductCode].isSoldBy(c.account) {
		return nil, refuse("InvalidTokenException", "The registration token is not valid.")
	}
	if !c.now.Before(r.expires) || r.resolved && s.opts.RegistrationTokenOnce {
		return nil, refuse("ExpiredTokenException", "The registration token has expired.")
	}
	r.resolved = true
	return struct {
		CustomerIdentifier   string `json:",omitempty"`
		CustomerAWSAccountId string
		LicenseArn           string `json:",omitempty"`
		ProductCode          string
	}{r.buyer.CustomerIdentifier, r.buyer.CustomerAWSAccountId, r.buyer.LicenseArn, r.buyer.ProductCode}, nil
}

// runningProduct returns the product that a buyer's software runs as. It needs
// s.mu held.
func (s *Service) runningProduct(code string) (*product, *apiError) {
	if err := s.checkStore(); err != nil {
		return nil, err
	}
	p := s.products[code]
	if p == nil {
		return nil, refuse("InvalidProductCodeException", "The product code %s is not known.", code)
	}
	return p, nil
}

// isSoldBy tells whether a caller's account is the seller's.
func (p *product) isSoldBy(account string) bool {
	return p.SellerAccountID == "" || p.SellerAccountID == account
}

func notEntitled() *apiError {
	return refuse("CustomerNotEntitledException", "The customer has no subscription to the product.")
}

// checkDimension returns the dimension's index.
func (p *product) checkDimension(dimension string) (int32, *apiError) {
	if i := slices.Index(p.Dimensions, dimension); i >= 0 {
		return int32(i), nil
	}
	return 0, refuse("InvalidUsageDimensionException", "The product %s has no dimension %s.", p.ProductCode, dimension)
}

func hoursSince1970(hour time.Time) int32 { return int32(hour.Unix() / 3600) }
