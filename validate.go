package metering

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of the service's model. Strings are counted in code points.
const (
	maxRecords           = 25
	maxBatchBytes        = 1_048_576 // a BatchMeterUsage of this size is refused
	maxProductCode       = 255
	maxCustomer          = 255
	maxDimension         = 255
	maxClientToken       = 64
	maxNonce             = 255
	maxAllocations       = 2500
	maxTagsPerAllocation = 5
	maxTagKey            = 100
	maxTagValue          = 256
)

// Validate lists what the service would refuse in r at any time, as one
// [ValidationError]; nil means nothing. [Client.MeterUsage] calls it.
func (r MeterUsageRequest) Validate() error {
	var v violations
	v.productCode(r.ProductCode)
	v.require("ProductCode", r.ProductCode != "")
	v.require("Timestamp", !r.Timestamp.IsZero())
	v.require("UsageDimension", r.UsageDimension != "")
	v.text("UsageDimension", r.UsageDimension, maxDimension)
	v.notNegative("UsageQuantity", r.UsageQuantity)
	v.allocations(r.UsageAllocations, "UsageQuantity", r.UsageQuantity)
	v.text("ClientToken", r.ClientToken, maxClientToken)
	return v.err()
}

// Validate lists what the service would refuse in r at any time, as one
// [ValidationError]; nil means nothing. It also refuses what bills twice: a
// LicenseArn beside a ProductCode. [Client.BatchMeterUsage] calls it.
func (r BatchMeterUsageRequest) Validate() error {
	var v violations
	v.productCode(r.ProductCode)
	licensed := slices.ContainsFunc(r.UsageRecords, func(r UsageRecord) bool { return r.LicenseArn != "" })
	if r.ProductCode == "" && !licensed {
		v.add("ProductCode", "is required, unless each record has a LicenseArn")
	}
	v.require("UsageRecords", r.UsageRecords != nil)
	if n := len(r.UsageRecords); n > maxRecords {
		v.add("UsageRecords", "must be at most %d, are %d", maxRecords, n)
	}
	if n := r.encodedLen(); n >= maxBatchBytes {
		v.add("UsageRecords", "must make a request of less than %d bytes, make one of %d", maxBatchBytes, n)
	}
	for i := range r.UsageRecords {
		record := &r.UsageRecords[i]
		of := record.violations()
		switch {
		case r.ProductCode != "" && record.LicenseArn != "":
			of.add("LicenseArn", "must not stand beside the request's ProductCode: that bills twice")
		case r.ProductCode == "" && licensed && record.LicenseArn == "":
			of.add("LicenseArn", "is required, as other records of the request have one")
		}
		v.under("UsageRecords", i, of)
	}
	return v.err()
}

// Validate lists what the service would refuse in r at any time, whatever the
// request around it, as one [ValidationError]; nil means nothing.
func (r UsageRecord) Validate() error {
	v := r.violations()
	return v.err()
}

func (r *UsageRecord) violations() violations {
	var v violations
	v.require("Timestamp", !r.Timestamp.IsZero())
	switch {
	case r.CustomerIdentifier == "" && r.CustomerAWSAccountId == "":
		v.add("CustomerAWSAccountId", "is required, or CustomerIdentifier")
	case r.CustomerIdentifier != "" && r.CustomerAWSAccountId != "":
		v.add("CustomerAWSAccountId", "must not stand beside CustomerIdentifier")
	}
	v.text("CustomerIdentifier", r.CustomerIdentifier, maxCustomer)
	v.text("CustomerAWSAccountId", r.CustomerAWSAccountId, maxCustomer)
	if r.CustomerAWSAccountId != "" && !isAll(r.CustomerAWSAccountId, &digits) {
		v.add("CustomerAWSAccountId", "must be digits only")
	}
	if r.LicenseArn != "" && !isLicenseArn(r.LicenseArn) {
		v.add("LicenseArn", "must be an ARN, as in arn:aws:license-manager::123456789012:license:l-0123456789abcdef")
	}
	v.require("Dimension", r.Dimension != "")
	v.text("Dimension", r.Dimension, maxDimension)
	v.notNegative("Quantity", r.Quantity)
	v.allocations(r.UsageAllocations, "Quantity", r.Quantity)
	return v
}

// Validate lists what the service would refuse in r at any time, as one
// [ValidationError]; nil means nothing. [Client.RegisterUsage] calls it.
func (r RegisterUsageRequest) Validate() error {
	var v violations
	v.productCode(r.ProductCode)
	v.require("ProductCode", r.ProductCode != "")
	if r.PublicKeyVersion < 1 {
		v.add("PublicKeyVersion", "must be at least 1, is %d", r.PublicKeyVersion)
	}
	v.text("Nonce", r.Nonce, maxNonce)
	return v.err()
}

// Validate lists what the service would refuse in r at any time, as one
// [ValidationError]; nil means nothing. [Client.ResolveCustomer] calls it.
func (r ResolveCustomerRequest) Validate() error {
	var v violations
	v.require("RegistrationToken", r.RegistrationToken != "")
	if !utf8.ValidString(r.RegistrationToken) {
		v.add("RegistrationToken", "must be UTF-8")
	}
	return v.err()
}

// violations collects what is wrong with a value, with paths that start at
// that value. Nothing is allocated where nothing is wrong.
type violations []Violation

func (v *violations) err() error {
	if len(*v) == 0 {
		return nil
	}
	return &ValidationError{Violations: *v}
}

func (v *violations) add(path, constraint string, args ...any) {
	*v = append(*v, Violation{path, fmt.Sprintf(constraint, args...)})
}

// under adds the violations of the i-th element of a list.
func (v *violations) under(list string, i int, of violations) {
	for _, one := range of {
		*v = append(*v, Violation{fmt.Sprintf("%s[%d].%s", list, i, one.Path), one.Constraint})
	}
}

func (v *violations) require(path string, present bool) {
	if !present {
		v.add(path, "is required")
	}
}

// text checks what is asked of every string: a length, and that JSON can
// carry it. Bytes that are not UTF-8 would arrive as other text than was
// given.
func (v *violations) text(path, s string, most int) {
	if len(s) > most { // in bytes, which are never fewer
		if n := utf8.RuneCountInString(s); n > most {
			v.add(path, "must be at most %d characters, is %d", most, n)
		}
	}
	if !utf8.ValidString(s) {
		v.add(path, "must be UTF-8")
	}
}

func (v *violations) productCode(s string) {
	v.text("ProductCode", s, maxProductCode)
	if s != "" && !isAll(s, &productCodeCharacters) {
		v.add("ProductCode", "must have only letters, digits and -/=:_.@")
	}
}

func (v *violations) notNegative(path string, n int32) {
	if n < 0 {
		v.add(path, "must be at least 0, is %d", n)
	}
}

// allocations checks the split of a quantity. An empty list is not sent.
func (v *violations) allocations(all []UsageAllocation, quantityName string, quantity int32) {
	if len(all) == 0 {
		return
	}
	if len(all) > maxAllocations {
		v.add("UsageAllocations", "must be at most %d, are %d", maxAllocations, len(all))
	}
	var sum int64
	for i := range all {
		sum += int64(all[i].AllocatedUsageQuantity)
		v.under("UsageAllocations", i, all[i].violations())
	}
	if sum != int64(quantity) {
		v.add("UsageAllocations", "must sum to %s, %d, but sum to %d", quantityName, quantity, sum)
	}
	v.distinctTags(all)
}

func (a *UsageAllocation) violations() violations {
	var v violations
	v.notNegative("AllocatedUsageQuantity", a.AllocatedUsageQuantity)
	if len(a.Tags) > maxTagsPerAllocation {
		v.add("Tags", "must be at most %d, are %d", maxTagsPerAllocation, len(a.Tags))
	}
	for i, tag := range a.Tags {
		v.under("Tags", i, tag.violations())
	}
	return v
}

const tagAlphabet = "letters, digits, spaces and !\"#$%%&'()*+,-./:;<=_@"

func (t Tag) violations() violations {
	var v violations
	v.require("Key", t.Key != "")
	v.text("Key", t.Key, maxTagKey)
	if t.Key != "" && !isAll(t.Key, &tagCharacters) {
		v.add("Key", "must have only "+tagAlphabet)
	}
	v.text("Value", t.Value, maxTagValue)
	if t.Value != "" && !isAll(t.Value, &tagCharacters) {
		v.add("Value", "must have only "+tagAlphabet)
	}
	return v
}

// tagSet is the tags of the allocation at an index, in an order that makes
// equal sets equal.
type tagSet struct {
	tags  [maxTagsPerAllocation]Tag
	index int
}

// distinctTags refuses allocations of one record with the same tags, in
// whatever order.
func (v *violations) distinctTags(all []UsageAllocation) {
	if len(all) == 1 {
		return
	}
	var few [8]tagSet // most records have no more, and need no memory then
	sets := few[:0]
	for i, a := range all {
		if len(a.Tags) > maxTagsPerAllocation {
			continue // said already
		}
		set := tagSet{index: i}
		n := copy(set.tags[:], a.Tags)
		slices.SortFunc(set.tags[:n], compareTags)
		sets = append(sets, set)
	}
	slices.SortFunc(sets, func(a, b tagSet) int {
		return cmp.Or(slices.CompareFunc(a.tags[:], b.tags[:], compareTags), a.index-b.index)
	})
	for i := 1; i < len(sets); i++ {
		if sets[i].tags == sets[i-1].tags {
			v.add(fmt.Sprintf("UsageAllocations[%d].Tags", sets[i].index),
				"must differ from those of UsageAllocations[%d]", sets[i-1].index)
		}
	}
}

func compareTags(a, b Tag) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.Value, b.Value))
}

// class is a set of bytes, as between the brackets of a regular expression.
type class [256]bool

func classOf(ranges ...string) (c class) {
	for _, r := range ranges { // the first and the last byte, or one byte
		for b := int(r[0]); b <= int(r[len(r)-1]); b++ {
			c[b] = true
		}
	}
	return c
}

// The classes of the model's patterns, read as they stand: in that of tags,
// " -=" is a range, from the space to the equals sign.
var (
	digits                = classOf("09")
	wordCharacters        = classOf("az", "AZ", "09", "_")
	codeCharacters        = classOf("az", "AZ", "09", "_", ".", "-")
	hostCharacters        = classOf("az", "AZ", "09", "-")
	productCodeCharacters = classOf("az", "AZ", "09", "-", "/", "=", ":", "_", ".", "@")
	tagCharacters         = classOf("az", "AZ", "09", "+", " =", ".", "_", ":", "/", "@")
	partitionCharacters   = classOf("az", "AZ", "-")
	arnStart              = classOf("az", "AZ", "09")
	arnCharacters         = classOf("az", "AZ", "09", "_", "/", ".", "-")
	arnResourceCharacters = classOf("az", "AZ", "09", ":", "_", "/", "+", "=", ",", "@", ".", "-")
)

// isAll tells whether s is not empty and has only bytes of a class.
func isAll(s string, c *class) bool {
	for i := range len(s) {
		if !c[s[i]] {
			return false
		}
	}
	return s != ""
}

func isAllOrEmpty(s string, c *class) bool { return s == "" || isAll(s, c) }

// isLicenseArn reads the model's pattern for licences:
//
//	arn:aws[a-zA-Z-]*:[A-Za-z0-9][A-Za-z0-9_/.-]{0,62}:[A-Za-z0-9_/.-]{0,63}:
//	[A-Za-z0-9_/.-]{0,63}:[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,1023}
func isLicenseArn(s string) bool {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return false
	}
	letters, ok := strings.CutPrefix(parts[1], "aws")
	service, region, account, resource := parts[2], parts[3], parts[4], parts[5]
	return ok && isAllOrEmpty(letters, &partitionCharacters) &&
		len(service) <= 63 && isAll(service, &arnCharacters) && arnStart[service[0]] &&
		len(region) <= 63 && isAllOrEmpty(region, &arnCharacters) &&
		len(account) <= 63 && isAllOrEmpty(account, &arnCharacters) &&
		len(resource) <= 1024 && isAll(resource, &arnResourceCharacters) && arnStart[resource[0]]
}
