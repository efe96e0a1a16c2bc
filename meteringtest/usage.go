package meteringtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What BatchMeterUsage and MeterUsage have in common: allocations, and the
// model's constraints on what both of them carry.

type wireAllocation struct {
	AllocatedUsageQuantity *int64
	Tags                   []wireTag `json:",omitempty"`
}

type wireTag struct {
	Key   *string
	Value *string
}

func (c *call) allocation(v any) wireAllocation {
	m := c.object(v)
	return wireAllocation{
		AllocatedUsageQuantity: c.integer(m["AllocatedUsageQuantity"], 32),
		Tags: list(c, m["Tags"], func(v any) wireTag {
			m := c.object(v)
			return wireTag{c.string(m["Key"]), c.string(m["Value"])}
		}),
	}
}

// The characters of the model's patterns. They are checked by hand because
// regular expressions took a third of the time of a batch.
const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	productCodeShape = "^[-a-zA-Z0-9/=:_.@]*$"
	accountShape     = "^[0-9]+$"
	tagShape         = `^[a-zA-Z0-9+ -=._:\/@]+$` // " -=" is a range
)

var (
	productCodeChars = charsetOf(digits + letters + "-/=:_.@")
	accountChars     = charsetOf(digits)
	tagChars         = charsetOf(digits + letters + " !\"#$%&'()*+,-./:;<=" + "_@")
	partitionChars   = charsetOf(letters + "-")
	arnChars         = charsetOf(digits + letters + "_/.-")
	resourceChars    = charsetOf(digits + letters + "_/.-" + ":+=,@")
	firstChars       = charsetOf(digits + letters)
)

// charset tells which bytes belong to it.
type charset [256]bool

func charsetOf(chars string) *charset {
	var c charset
	for i := range len(chars) {
		c[chars[i]] = true
	}
	return &c
}

// has tells whether s has no characters but these.
func (c *charset) has(s string) bool {
	for i := range len(s) {
		if !c[s[i]] {
			return false
		}
	}
	return true
}

// licenceShape tells whether s matches
// ^arn:aws[a-zA-Z-]*:[A-Za-z0-9][A-Za-z0-9_/.-]{0,62}:[A-Za-z0-9_/.-]{0,63}:[A-Za-z0-9_/.-]{0,63}:[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,1023}$
func licenceShape(s string) bool {
	p := strings.SplitN(s, ":", 6)
	if len(p) < 6 || p[2] == "" || p[5] == "" {
		return false
	}
	partition, ok := strings.CutPrefix(p[1], "aws")
	return p[0] == "arn" && ok && partitionChars.has(partition) &&
		firstChars.has(p[2][:1]) && arnChars.has(p[2]) && len(p[2]) <= 63 &&
		arnChars.has(p[3]) && len(p[3]) <= 63 &&
		arnChars.has(p[4]) && len(p[4]) <= 63 &&
		firstChars.has(p[5][:1]) && resourceChars.has(p[5]) && len(p[5]) <= 1024
}

func (v *violations) productCode(path string, code *string) {
	if code == nil {
		return
	}
	v.length(path, utf8.RuneCountInString(*code), 0, 255)
	if !productCodeChars.has(*code) {
		v.add(path, "satisfy regular expression pattern: %s", productCodeShape)
	}
}

func (v *violations) account(path string, account *string) {
	if account == nil {
		return
	}
	v.length(path, utf8.RuneCountInString(*account), 1, 255)
	if *account == "" || !accountChars.has(*account) {
		v.add(path, "satisfy regular expression pattern: %s", accountShape)
	}
}

func (v *violations) licence(path string, arn *string) {
	if arn == nil {
		return
	}
	if !licenceShape(*arn) {
		v.add(path, "be an ARN of a licence")
	}
}

func (v *violations) dimension(path string, dimension *string) {
	if dimension == nil {
		v.null(path)
		return
	}
	v.length(path, utf8.RuneCountInString(*dimension), 1, 255)
}

func (v *violations) quantity(path string, quantity *int64) {
	if quantity != nil && *quantity < 0 {
		v.add(path, "have value greater than or equal to 0")
	}
}

// allocations leaves the constraints on tags to checkAllocations, because the
// service has an error of its own for them.
func (v *violations) allocations(path string, allocations []wireAllocation) {
	if allocations == nil {
		return
	}
	v.length(path, len(allocations), 1, 2500)
	for i, a := range allocations {
		at := func(member string) string { return fmt.Sprintf("%s.%d.member.%s", path, i+1, member) }
		if a.AllocatedUsageQuantity == nil {
			v.null(at("allocatedUsageQuantity"))
		} else if *a.AllocatedUsageQuantity < 0 {
			v.quantity(at("allocatedUsageQuantity"), a.AllocatedUsageQuantity)
		}
		for j, t := range a.Tags {
			if t.Key == nil {
				v.null(at(fmt.Sprintf("tags.%d.member.key", j+1)))
			}
			if t.Value == nil {
				v.null(at(fmt.Sprintf("tags.%d.member.value", j+1)))
			}
		}
	}
}

// checkAllocations needs allocations whose members are all there.
func checkAllocations(quantity int64, allocations []wireAllocation) *apiError {
	if allocations == nil {
		return nil
	}
	var sum int64
	seen := map[string]bool{}
	for _, a := range allocations {
		sum += *a.AllocatedUsageQuantity
		if a.Tags != nil && (len(a.Tags) < 1 || len(a.Tags) > 5) {
			return refuse("InvalidTagException", "An allocation takes 1 to 5 tags; one has %d.", len(a.Tags))
		}
		for _, t := range a.Tags {
			if n := utf8.RuneCountInString(*t.Key); n < 1 || n > 100 || !tagChars.has(*t.Key) {
				return refuse("InvalidTagException", "A tag's key of %d characters is not 1 to 100 characters of %s.", n, tagShape)
			}
			// The model's pattern asks for a character and its text says that
			// a value can be empty: the text has it, as nobody is known to
			// have been refused for it.
			if n := utf8.RuneCountInString(*t.Value); n > 256 || !tagChars.has(*t.Value) {
				return refuse("InvalidTagException", "A tag's value of %d characters is not 0 to 256 characters of %s.", n, tagShape)
			}
		}
		set := canonicalTags(a.Tags)
		if seen[set] {
			return refuse("InvalidUsageAllocationsException", "Two allocations of a record have the same tags.")
		}
		seen[set] = true
	}
	if sum != quantity {
		return refuse("InvalidUsageAllocationsException", "The allocations add up to %d, the usage is %d.", sum, quantity)
	}
	return nil
}

// checkTimestamp holds a record's time to the time that it may be reported in.
func (s *Service) checkTimestamp(now, t time.Time, window time.Duration) *apiError {
	outOfBounds := func(why string) *apiError {
		return refuse("TimestampOutOfBoundsException", "The timestamp %s is %s.", t.Format(time.RFC3339Nano), why)
	}
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Before(now.Add(-window)):
		return outOfBounds(fmt.Sprintf("more than %.0f hours ago", window.Hours()))
	case t.After(now.Add(max(0, s.opts.MaxAhead))):
		return outOfBounds("in the future")
	case t.Before(month) && !now.Before(month.Add(6*time.Hour)):
		return outOfBounds("in a month that closed at 06:00 UTC on the 1st")
	}
	return nil
}

// canonicalUsage is equal for records that report the same, in whatever order
// they list allocations and tags.
func canonicalUsage(quantity int64, allocations []wireAllocation) digest {
	parts := make([]string, len(allocations))
	for i, a := range allocations {
		parts[i] = strconv.FormatInt(*a.AllocatedUsageQuantity, 10) + canonicalTags(a.Tags)
	}
	slices.Sort(parts)
	b := strconv.AppendInt(nil, quantity, 10)
	for _, p := range parts {
		b = append(append(b, '\n'), p...)
	}
	return digestOf(b)
}

// canonicalTags is equal for equal sets of tags. The shape of tags has
// no control characters, so those part them.
func canonicalTags(tags []wireTag) string {
	parts := make([]string, len(tags))
	for i, t := range tags {
		parts[i] = "\t" + *t.Key + "\t" + *t.Value
	}
	slices.Sort(parts)
	return strings.Join(parts, "")
}

// exported turns what was read into what Records returns.
func exported(allocations []wireAllocation) []UsageAllocation {
	var out []UsageAllocation
	for _, a := range allocations {
		u := UsageAllocation{AllocatedUsageQuantity: int32(*a.AllocatedUsageQuantity)}
		for _, t := range a.Tags {
			u.Tags = append(u.Tags, Tag{*t.Key, *t.Value})
		}
		out = append(out, u)
	}
	return out
}

// orZero returns the quantity that an absent one means.
func orZero(quantity *int64) int64 {
	if quantity == nil {
		return 0
	}
	return *quantity
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
