package meteringtest

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// meterUsage is called by the buyer's software, so that there is no customer
// in it. All callers are taken for one instance of the software.
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
	p, err := s.entitledProduct(*code)
	if err != nil {
		return nil, err
	}
	if err := p.checkDimension(*dimension); err != nil {
		return nil, err
	}
	if err := checkTimestamp(c.now, at.t, 6*time.Hour); err != nil {
		return nil, err
	}
	quantity := orZero(usage)
	if err := checkAllocations(quantity, allocations); err != nil {
		return nil, err
	}
	if dryRun { // leaves the hour and the client token unused
		return nil, refuse("DryRunOperation", "The request would have succeeded; DryRun kept it from being done.")
	}

	type result struct{ MeteringRecordId string }
	content := canonicalUsage(quantity, allocations)
	request := fmt.Sprintf("%q %q %d %s", *code, *dimension, at.t.UnixMicro(), content)
	if token != nil {
		if first, ok := s.clientTokens[*token]; ok {
			if first.content != request {
				return nil, refuse("IdempotencyConflictException", "The ClientToken was used with other parameters.")
			}
			return result{first.id}, nil
		}
	}
	hour := at.t.Truncate(time.Hour)
	key := recordKey{product: p, dimension: *dimension, hour: hour.Unix()}
	first, ok := s.accepted[key]
	if ok && first.content != content {
		return nil, refuse("DuplicateRequestException", "The hour %s of %s is reported with another quantity.", hour.Format(time.RFC3339), *dimension)
	}
	if !ok {
		first = acceptance{newUUID(), content}
		s.accepted[key] = first
		s.records = append(s.records, Record{
			Operation:        "MeterUsage",
			MeteringRecordId: first.id,
			ProductCode:      p.ProductCode,
			Dimension:        *dimension,
			Timestamp:        at.t,
			Hour:             hour,
			Quantity:         int32(quantity),
			UsageAllocations: exported(allocations),
			ClientToken:      orEmpty(token),
		})
	}
	if token != nil {
		s.clientTokens[*token] = acceptance{first.id, request}
	}
	return result{first.id}, nil
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

	key, err := s.registerKey(*code, *version)
	if err != nil {
		return nil, err
	}
	signature, signErr := signJWT(key(), claims{*code, *version, nonce, c.now.Unix()})
	if signErr != nil {
		return nil, refuse("InternalServiceErrorException", "Signing failed.")
	}
	return struct{ Signature string }{signature}, nil
}

// registerKey returns the key to sign with. Making a key and signing take long,
// so they happen without s.mu.
func (s *Service) registerKey(code string, version int64) (signingKey, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.entitledProduct(code)
	if err != nil {
		return nil, err
	}
	key := p.keys[version]
	if key == nil {
		return nil, refuse("InvalidPublicKeyVersionException", "The product has no public key of version %d.", version)
	}
	return key, nil
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
	r, ok := s.registrations[*token]
	if !ok {
		return nil, refuse("InvalidTokenException", "The registration token is not valid.")
	}
	if !c.now.Before(r.expires) {
		return nil, refuse("ExpiredTokenException", "The registration token has expired.")
	}
	return struct {
		CustomerIdentifier   string `json:",omitempty"`
		CustomerAWSAccountId string
		LicenseArn           string `json:",omitempty"`
		ProductCode          string
	}{r.buyer.CustomerIdentifier, r.buyer.CustomerAWSAccountId, r.buyer.LicenseArn, r.buyer.ProductCode}, nil
}

// entitledProduct returns the product that a buyer's software runs as. It needs
// s.mu held.
func (s *Service) entitledProduct(code string) (*product, *apiError) {
	p := s.products[code]
	if p == nil {
		return nil, refuse("InvalidProductCodeException", "The product code %s is not known.", code)
	}
	if p.notEntitled {
		return nil, refuse("CustomerNotEntitledException", "The customer has no subscription to the product.")
	}
	return p, nil
}

func (p *product) checkDimension(dimension string) *apiError {
	if slices.Contains(p.Dimensions, dimension) {
		return nil
	}
	return refuse("InvalidUsageDimensionException", "The product %s has no dimension %s.", p.ProductCode, dimension)
}
