package meteringtest

import (
	"time"
	"unicode/utf8"
)

// wireRecord is a UsageRecord as read, and as echoed in the answer: what was
// absent stays absent, and a timestamp keeps its spelling.
type wireRecord struct {
	Timestamp            *timestamp
	CustomerIdentifier   *string `json:",omitempty"`
	CustomerAWSAccountId *string `json:",omitempty"`
	LicenseArn           *string `json:",omitempty"`
	Dimension            *string
	Quantity             *int64           `json:",omitempty"`
	UsageAllocations     []wireAllocation `json:",omitempty"`
}

type batchMeterUsageResult struct {
	Results            []wireResult
	UnprocessedRecords []wireRecord // never nil: the service sends the list even when it is empty
}

type wireResult struct {
	UsageRecord      wireRecord
	MeteringRecordId string `json:",omitempty"`
	Status           string
}

// batchMeterUsage checks the whole request before it accepts a record, because
// one bad record keeps all of them from being metered.
func (s *Service) batchMeterUsage(c *call) (any, *apiError) {
	code := c.string(c.members["ProductCode"])
	if all, ok := c.members["UsageRecords"].([]any); ok && len(all) > 25 {
		var v violations // without a look at what may be a million records
		v.length("usageRecords", len(all), 0, 25)
		return nil, v.err()
	}
	records := list(c, c.members["UsageRecords"], c.usageRecord)
	if c.err != nil {
		return nil, c.err
	}
	if err := s.validateBatch(c.size, code, records); err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkStore(); err != nil {
		return nil, err
	}
	p, err := s.batchProduct(orEmpty(code), records)
	if err != nil {
		return nil, err
	}
	if !p.isSoldBy(c.account) {
		return nil, refuse("InvalidProductCodeException", "The product %s is not one of the caller's.", p.ProductCode)
	}
	if err := s.checkCustomers(records); err != nil {
		return nil, err
	}
	dimensions := make([]int32, len(records)) // indices
	for i, r := range records {
		if dimensions[i], err = p.checkDimension(*r.Dimension); err != nil {
			return nil, err
		}
		if err := s.checkTimestamp(c.now, r.Timestamp.t, 24*time.Hour); err != nil {
			return nil, err
		}
		if err := checkAllocations(orZero(r.Quantity), r.UsageAllocations); err != nil {
			return nil, err
		}
	}
	out := batchMeterUsageResult{Results: make([]wireResult, 0, len(records)), UnprocessedRecords: []wireRecord{}}
	omit := c.fault.OmitSuccess
	for i, r := range records {
		if i < c.fault.Unprocessed {
			out.UnprocessedRecords = append(out.UnprocessedRecords, r)
			continue
		}
		id, status := s.acceptRecord(c, p, r, dimensions[i])
		if status == "Success" && omit > 0 {
			omit--
			continue
		}
		out.Results = append(out.Results, wireResult{r, id, status})
	}
	return out, nil
}

func (c *call) usageRecord(v any) wireRecord {
	m := c.object(v)
	return wireRecord{
		Timestamp:            c.timestamp(m["Timestamp"]),
		CustomerIdentifier:   c.string(m["CustomerIdentifier"]),
		CustomerAWSAccountId: c.string(m["CustomerAWSAccountId"]),
		LicenseArn:           c.string(m["LicenseArn"]),
		Dimension:            c.string(m["Dimension"]),
		Quantity:             c.integer(m["Quantity"], 32),
		UsageAllocations:     list(c, m["UsageAllocations"], c.allocation),
	}
}

func (s *Service) validateBatch(size int, code *string, records []wireRecord) *apiError {
	var v violations
	if size >= s.opts.MaxBatchBytes {
		v.add("request", "have size less than %d bytes", s.opts.MaxBatchBytes)
	}
	v.productCode("productCode", code)
	if records == nil {
		v.null("usageRecords")
	}
	for i, r := range records {
		v.record = i + 1
		if r.Timestamp == nil {
			v.null("timestamp")
		}
		v.length("customerIdentifier", utf8.RuneCountInString(orEmpty(r.CustomerIdentifier)), 0, 255)
		v.account("customerAWSAccountId", r.CustomerAWSAccountId)
		v.licence("licenseArn", r.LicenseArn)
		v.dimension("dimension", r.Dimension)
		v.quantity("quantity", r.Quantity)
		v.allocations("usageAllocations", r.UsageAllocations)
	}
	return v.err()
}

// batchProduct returns the one product that a request is about: the one that
// it names, or the one that all its licences are for. It needs s.mu held.
func (s *Service) batchProduct(code string, records []wireRecord) (*product, *apiError) {
	licences := 0
	for _, r := range records {
		if r.LicenseArn != nil {
			licences++
		}
	}
	if code != "" {
		p := s.products[code]
		switch {
		case p == nil:
			return nil, refuse("InvalidProductCodeException", "The product code %s is not known.", code)
		case licences > 0:
			return nil, refuse("InvalidLicenseException", "A request has a ProductCode or LicenseArns, not both.")
		case p.ConcurrentAgreements:
			return nil, refuse("InvalidLicenseException", "The product has concurrent agreements: leave ProductCode out and give each record its LicenseArn.")
		}
		return p, nil
	}
	if licences == 0 {
		return nil, refuse("InvalidProductCodeException", "A request needs a ProductCode, or a LicenseArn on each record.")
	}
	var p *product
	for _, r := range records {
		a := s.byLicence[orEmpty(r.LicenseArn)]
		if a == nil {
			return nil, refuse("InvalidLicenseException", "A record has no LicenseArn, or one that is not known.")
		}
		of := s.products[a.buyer.ProductCode]
		if p != nil && p != of {
			return nil, refuse("InvalidLicenseException", "The LicenseArns of a request must be of one product.")
		}
		p = of
	}
	return p, nil
}

// checkCustomers checks how the records name their customers. Whether there is
// such a customer is for the record's status to say. It needs s.mu held.
func (s *Service) checkCustomers(records []wireRecord) *apiError {
	var byIdentifier, byAccount bool
	for _, r := range records {
		identifier, account := orEmpty(r.CustomerIdentifier), orEmpty(r.CustomerAWSAccountId)
		byIdentifier = byIdentifier || identifier != ""
		byAccount = byAccount || account != ""
		switch {
		case identifier == "" && account == "":
			return refuse("InvalidCustomerIdentifierException", "A record needs a CustomerIdentifier or a CustomerAWSAccountId.")
		case byIdentifier && byAccount:
			return refuse("InvalidCustomerIdentifierException", "A request has CustomerIdentifiers or CustomerAWSAccountIds, not both.")
		case r.LicenseArn == nil:
		case account == "":
			return refuse("InvalidCustomerIdentifierException", "A record with a LicenseArn needs a CustomerAWSAccountId.")
		case s.byLicence[*r.LicenseArn].buyer.CustomerAWSAccountId != account:
			return refuse("InvalidLicenseException", "A LicenseArn is not of the record's CustomerAWSAccountId.")
		}
	}
	return nil
}

// acceptRecord returns the MeteringRecordId and status of a record of a
// request that has passed every check. It needs s.mu held.
func (s *Service) acceptRecord(c *call, p *product, r wireRecord, dimension int32) (id, status string) {
	a := p.byIdentifier[orEmpty(r.CustomerIdentifier)]
	switch {
	case r.LicenseArn != nil:
		a = s.byLicence[*r.LicenseArn]
	case r.CustomerAWSAccountId != nil:
		a = p.byAccount[*r.CustomerAWSAccountId]
	}
	record := Record{
		Operation:            "BatchMeterUsage",
		ProductCode:          p.ProductCode,
		CustomerIdentifier:   orEmpty(r.CustomerIdentifier),
		CustomerAWSAccountId: orEmpty(r.CustomerAWSAccountId),
		LicenseArn:           orEmpty(r.LicenseArn),
		Dimension:            p.Dimensions[dimension],
		Timestamp:            r.Timestamp.t,
		Hour:                 r.Timestamp.t.Truncate(time.Hour),
		Quantity:             int32(orZero(r.Quantity)),
	}
	refused := func(status, message string) (string, string) {
		record.UsageAllocations = exported(r.UsageAllocations)
		s.refusals.add(Refusal{Time: c.now, RequestId: c.id, Operation: record.Operation, Reason: status, Message: message, Record: record})
		return record.MeteringRecordId, status
	}
	if a == nil {
		return refused("CustomerNotSubscribed", "The customer has never bought the product.")
	}
	if !a.ends.IsZero() && !c.now.Before(a.ends) {
		return refused("CustomerNotSubscribed", "The customer's agreement ended, and the time for final records is over.")
	}
	content := canonicalUsage(orZero(r.Quantity), r.UsageAllocations)
	key := recordKey{a, dimension, hoursSince1970(record.Hour)}
	if first, ok := s.accepted[key]; ok {
		// Not billed, but with the id of the record that stands, so that code
		// which takes an id for a success is found out.
		record.MeteringRecordId = first.id.String()
		switch {
		case first.content != content:
			return refused("DuplicateRecord", "The hour is reported with another quantity or other allocations, which stand.")
		case s.opts.DuplicateIdentical:
			return refused("DuplicateRecord", "The hour is reported already, in the same way.")
		}
		return record.MeteringRecordId, "Success"
	}
	first := acceptance{newUUID(), content}
	s.accepted[key] = first
	record.MeteringRecordId = first.id.String()
	record.CustomerIdentifier = a.buyer.CustomerIdentifier
	record.CustomerAWSAccountId = a.buyer.CustomerAWSAccountId
	record.LicenseArn = a.buyer.LicenseArn
	record.UsageAllocations = exported(r.UsageAllocations)
	s.records.add(record)
	return record.MeteringRecordId, "Success"
}
