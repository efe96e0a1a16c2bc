package metering

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// This file is the AWS JSON 1.1 codec: requests are appended to a buffer,
// answers are read in one pass. Absent members are left out, but quantities
// are always written; an empty identifier means absent.

func (r *MeterUsageRequest) appendJSON(b []byte) []byte {
	w := writer{b}
	w.open('{')
	w.text("ProductCode", r.ProductCode)
	w.time("Timestamp", r.Timestamp)
	w.text("UsageDimension", r.UsageDimension)
	w.integer("UsageQuantity", r.UsageQuantity)
	if r.DryRun {
		w.name("DryRun")
		w.b = append(w.b, "true"...)
	}
	w.allocations(r.UsageAllocations)
	w.text("ClientToken", r.ClientToken)
	w.close('}')
	return w.b
}

func (r *BatchMeterUsageRequest) appendJSON(b []byte) []byte {
	w := writer{b}
	w.open('{')
	w.text("ProductCode", r.ProductCode)
	w.name("UsageRecords")
	w.open('[')
	for i := range r.UsageRecords {
		w.usageRecord(&r.UsageRecords[i])
	}
	w.close(']')
	w.close('}')
	return w.b
}

// encodedLen is the number of bytes that r takes on the wire, or, where that
// is certainly less than maxBatchBytes, some number in between, which is
// cheaper to find.
func (r *BatchMeterUsageRequest) encodedLen() int {
	const escaped = 6 // bytes that one byte of text can take
	most := 64 + escaped*len(r.ProductCode)
	for i := range r.UsageRecords {
		record := &r.UsageRecords[i]
		most += 256 + escaped*(len(record.CustomerIdentifier)+len(record.CustomerAWSAccountId)+
			len(record.LicenseArn)+len(record.Dimension))
		for _, a := range record.UsageAllocations {
			most += 64
			for _, tag := range a.Tags {
				most += 32 + escaped*(len(tag.Key)+len(tag.Value))
			}
		}
	}
	if most < maxBatchBytes {
		return most
	}
	return len(r.appendJSON(nil))
}

func (r *RegisterUsageRequest) appendJSON(b []byte) []byte {
	w := writer{b}
	w.open('{')
	w.text("ProductCode", r.ProductCode)
	w.integer("PublicKeyVersion", r.PublicKeyVersion)
	w.text("Nonce", r.Nonce)
	w.close('}')
	return w.b
}

func (r *ResolveCustomerRequest) appendJSON(b []byte) []byte {
	w := writer{b}
	w.open('{')
	w.text("RegistrationToken", r.RegistrationToken)
	w.close('}')
	return w.b
}

// writer appends JSON to b.
type writer struct{ b []byte }

func (w *writer) usageRecord(r *UsageRecord) {
	w.open('{')
	w.time("Timestamp", r.Timestamp)
	w.text("CustomerIdentifier", r.CustomerIdentifier)
	w.text("CustomerAWSAccountId", r.CustomerAWSAccountId)
	w.text("LicenseArn", r.LicenseArn)
	w.text("Dimension", r.Dimension)
	w.integer("Quantity", r.Quantity)
	w.allocations(r.UsageAllocations)
	w.close('}')
}

func (w *writer) allocations(all []UsageAllocation) {
	if len(all) == 0 {
		return
	}
	w.name("UsageAllocations")
	w.open('[')
	for _, a := range all {
		w.open('{')
		w.integer("AllocatedUsageQuantity", a.AllocatedUsageQuantity)
		if len(a.Tags) > 0 {
			w.name("Tags")
			w.open('[')
			for _, tag := range a.Tags {
				w.open('{')
				w.name("Key")
				w.string(tag.Key)
				w.name("Value")
				w.string(tag.Value)
				w.close('}')
			}
			w.close(']')
		}
		w.close('}')
	}
	w.close(']')
}

func (w *writer) open(bracket byte)  { w.comma(); w.b = append(w.b, bracket) }
func (w *writer) close(bracket byte) { w.b = append(w.b, bracket) }

// comma parts what follows from a member or element before it.
func (w *writer) comma() {
	if n := len(w.b); n > 0 {
		switch w.b[n-1] {
		case '{', '[', ':':
		default:
			w.b = append(w.b, ',')
		}
	}
}

func (w *writer) name(name string) {
	w.comma()
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

// text writes a member that is absent when empty.
func (w *writer) text(name, s string) {
	if s != "" {
		w.name(name)
		w.string(s)
	}
}

func (w *writer) integer(name string, n int32) {
	w.name(name)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
}

// time writes epoch seconds, cut to milliseconds, and no more decimals than
// needed. The zero time is absent.
func (w *writer) time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	w.name(name)
	ms := t.UnixMilli() // rounds down, before 1970 too
	if ms < 0 {
		w.b = append(w.b, '-')
		ms = -ms
	}
	w.b = strconv.AppendInt(w.b, ms/1000, 10)
	if ms %= 1000; ms != 0 {
		w.b = append(w.b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		for w.b[len(w.b)-1] == '0' {
			w.b = w.b[:len(w.b)-1]
		}
	}
}

func (w *writer) string(s string) {
	w.b = append(w.b, '"')
	start := 0 // of what needs no escape
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		size := 1
		if s[i] >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		w.b = append(w.b, s[start:i]...)
		switch c := s[i]; {
		case c >= utf8.RuneSelf: // a byte that is not UTF-8
			w.b = append(w.b, "\ufffd"...)
		case c == '"' || c == '\\':
			w.b = append(w.b, '\\', c)
		default:
			const hex = "0123456789abcdef"
			w.b = append(w.b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i += size
		start = i
	}
	w.b = append(w.b, s[start:]...)
	w.b = append(w.b, '"')
}

// plain holds the bytes that stand for themselves in a JSON string.
var plain = func() (table [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

func (r *MeterUsageResult) readMember(d *reader, name string) {
	switch name {
	case "MeteringRecordId":
		r.MeteringRecordId = d.string()
	default:
		d.skip()
	}
}

func (r *BatchMeterUsageResult) readMember(d *reader, name string) {
	switch name {
	case "Results":
		r.Results = readList(d, &d.results, readUsageRecordResult)
	case "UnprocessedRecords":
		r.UnprocessedRecords = readList(d, &d.records, readUsageRecord)
	default:
		d.skip()
	}
}

func (r *RegisterUsageResult) readMember(d *reader, name string) {
	switch name {
	case "PublicKeyRotationTimestamp":
		r.PublicKeyRotationTimestamp = d.time()
	case "Signature":
		r.Signature = d.string()
	default:
		d.skip()
	}
}

func (r *ResolveCustomerResult) readMember(d *reader, name string) {
	switch name {
	case "CustomerIdentifier":
		r.CustomerIdentifier = d.string()
	case "CustomerAWSAccountId":
		r.CustomerAWSAccountId = d.string()
	case "LicenseArn":
		r.LicenseArn = d.string()
	case "ProductCode":
		r.ProductCode = d.string()
	default:
		d.skip()
	}
}

func readUsageRecordResult(d *reader, r *UsageRecordResult) {
	d.object(func(name string) {
		switch name {
		case "UsageRecord":
			readUsageRecord(d, &r.UsageRecord)
		case "MeteringRecordId":
			r.MeteringRecordId = strings.Clone(d.string()) // who keeps it need not keep the answer
		case "Status":
			r.Status = UsageRecordResultStatus(d.string())
		default:
			d.skip()
		}
	})
}

func readUsageRecord(d *reader, r *UsageRecord) {
	d.object(func(name string) {
		switch name {
		case "Timestamp":
			r.Timestamp = d.time()
		case "CustomerIdentifier":
			r.CustomerIdentifier = d.string()
		case "CustomerAWSAccountId":
			r.CustomerAWSAccountId = d.string()
		case "LicenseArn":
			r.LicenseArn = d.string()
		case "Dimension":
			r.Dimension = d.string()
		case "Quantity":
			r.Quantity = d.integer()
		case "UsageAllocations":
			r.UsageAllocations = readList(d, &d.allocations, readUsageAllocation)
		default:
			d.skip()
		}
	})
}

func readUsageAllocation(d *reader, a *UsageAllocation) {
	d.object(func(name string) {
		switch name {
		case "AllocatedUsageQuantity":
			a.AllocatedUsageQuantity = d.integer()
		case "Tags":
			a.Tags = readList(d, &d.tags, readTag)
		default:
			d.skip()
		}
	})
}

func readTag(d *reader, t *Tag) {
	d.object(func(name string) {
		switch name {
		case "Key":
			t.Key = d.string()
		case "Value":
			t.Value = d.string()
		default:
			d.skip()
		}
	})
}

// readDocument reads a whole answer, which must be one JSON object.
func readDocument(text string, member func(d *reader, name string)) error {
	d := reader{text: text}
	d.space()
	if d.peek() == 'n' { // a null stands for an absent value, not for an answer
		d.expected("an object")
	}
	d.object(func(name string) { member(&d, name) })
	if d.space(); d.err == nil && d.pos < len(d.text) {
		d.fail("goes on after its end")
	}
	return d.err
}

// reader reads JSON from text. The strings that it returns are parts of text
// where they need no unescaping, and the elements of lists of one kind share
// an array: an answer of 25 records takes tens of allocations, not hundreds.
// After an error, the first of which stays in err, nothing more is read.
type reader struct {
	text  string
	pos   int
	depth int
	err   error

	results     []UsageRecordResult
	records     []UsageRecord
	allocations []UsageAllocation
	tags        []Tag
}

// maxDepth bounds the nesting of an answer, of which the service's has 7
// levels, and maxElements the elements of each kind, of which a request of
// 1 MB can't hold half as many: 8 MB of empty ones would take gigabytes.
const (
	maxDepth    = 512
	maxElements = 100_000
)

func (d *reader) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("the answer %s at byte %d of %d", what, d.pos, len(d.text))
		d.pos = len(d.text)
	}
}

// peek returns the next byte, 0 at the end.
func (d *reader) peek() byte {
	if d.pos < len(d.text) {
		return d.text[d.pos]
	}
	return 0
}

// take skips over c and tells whether it was there.
func (d *reader) take(c byte) bool {
	if d.pos < len(d.text) && d.text[d.pos] == c {
		d.pos++
		return true
	}
	return false
}

func (d *reader) space() {
	for d.pos < len(d.text) {
		switch d.text[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// expected fails at a place where something else stands.
func (d *reader) expected(what string) {
	if d.pos >= len(d.text) {
		d.fail("ends instead of " + what)
	} else {
		d.fail("has something else than " + what)
	}
}

// null skips over a null, which stands for an absent value.
func (d *reader) null() bool { return d.peek() == 'n' && d.literal("null") }

func (d *reader) literal(word string) bool {
	if !strings.HasPrefix(d.text[d.pos:], word) {
		d.expected(word)
		return false
	}
	d.pos += len(word)
	return true
}

// object reads an object or null, and calls member at the value of each
// member, which member must read.
func (d *reader) object(member func(name string)) {
	if d.null() {
		return
	}
	d.elements('{', '}', "an object", func() {
		name := d.quoted()
		d.space()
		if !d.take(':') {
			d.expected("a colon")
			return
		}
		d.space()
		member(name)
	})
}

// readList reads a list or null. Its elements are appended to array, of which
// the list is a part that can't grow into the next one.
func readList[T any](d *reader, array *[]T, read func(*reader, *T)) []T {
	if d.null() {
		return nil
	}
	start := len(*array)
	d.elements('[', ']', "a list", func() {
		if len(*array) == maxElements {
			d.fail("has too many elements")
			return
		}
		*array = append(*array, *new(T))
		read(d, &(*array)[len(*array)-1])
	})
	if len(*array) == start {
		return []T{}
	}
	return (*array)[start:len(*array):len(*array)]
}

// elements reads what stands between two brackets, parted by commas.
func (d *reader) elements(opening, closing byte, what string, element func()) {
	if !d.take(opening) {
		d.expected(what)
		return
	}
	if d.depth++; d.depth > maxDepth {
		d.fail("is nested too deep")
		return
	}
	d.space()
	for first := true; d.err == nil && !d.take(closing); first = false {
		if !first {
			if !d.take(',') {
				d.expected("a comma or the end of " + what)
				return
			}
			d.space()
		}
		element()
		d.space()
	}
	d.depth--
}

// skip reads a value of any kind.
func (d *reader) skip() {
	switch c := d.peek(); {
	case c == '{':
		d.object(func(string) { d.skip() })
	case c == '[':
		d.elements('[', ']', "a list", d.skip)
	case c == '"':
		d.string()
	case c == 't':
		d.literal("true")
	case c == 'f':
		d.literal("false")
	case c == 'n':
		d.null()
	default:
		d.number()
	}
}

// string reads a string or null. What is not UTF-8, and halves of surrogate
// pairs, become U+FFFD.
func (d *reader) string() string {
	if d.null() {
		return ""
	}
	return d.quoted()
}

func (d *reader) quoted() string {
	if !d.take('"') {
		d.expected("a string")
		return ""
	}
	start := d.pos
	for d.pos < len(d.text) && plain[d.text[d.pos]] {
		d.pos++
	}
	if d.take('"') {
		return d.text[start : d.pos-1]
	}
	return d.unescape(start)
}

// unescape goes on with a string that began at start, from its first byte
// that does not stand for itself.
func (d *reader) unescape(start int) string {
	b := []byte(d.text[start:d.pos])
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; {
		case c == '"':
			d.pos++
			return string(b)
		case c == '\\':
			d.pos++
			b = d.escape(b)
		case c < ' ':
			d.fail("has a control character in a string")
		case c < utf8.RuneSelf:
			b = append(b, c)
			d.pos++
		default:
			r, size := utf8.DecodeRuneInString(d.text[d.pos:])
			b = utf8.AppendRune(b, r)
			d.pos += size
		}
	}
	d.expected("the end of a string")
	return ""
}

func (d *reader) escape(b []byte) []byte {
	c := d.peek()
	d.pos++
	switch c {
	case '"', '\\', '/':
		return append(b, c)
	case 'b':
		return append(b, '\b')
	case 'f':
		return append(b, '\f')
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
		r := d.hex()
		if utf16.IsSurrogate(r) {
			high := r
			r = utf8.RuneError
			if rest := d.text[min(d.pos, len(d.text)):]; strings.HasPrefix(rest, `\u`) {
				before := d.pos
				d.pos += len(`\u`)
				if r = utf16.DecodeRune(high, d.hex()); r == utf8.RuneError {
					d.pos = before // what follows stands for itself
				}
			}
		}
		return utf8.AppendRune(b, r)
	}
	d.pos--
	d.fail("has an unknown escape in a string")
	return b
}

func (d *reader) hex() rune {
	if d.pos+4 <= len(d.text) {
		if n, err := strconv.ParseUint(d.text[d.pos:d.pos+4], 16, 16); err == nil {
			d.pos += 4
			return rune(n)
		}
	}
	d.fail("has a bad escape in a string")
	return utf8.RuneError
}

// number reads the text of a number, "" after an error.
func (d *reader) number() string {
	start := d.pos
	d.take('-')
	if !d.take('0') && !d.digits() {
		d.pos = start
		d.expected("a number")
		return ""
	}
	if d.take('.') && !d.digits() {
		d.expected("decimals")
		return ""
	}
	if d.take('e') || d.take('E') {
		if !d.take('+') {
			d.take('-')
		}
		if !d.digits() {
			d.expected("an exponent")
			return ""
		}
	}
	return d.text[start:d.pos]
}

func (d *reader) digits() bool {
	start := d.pos
	for digits[d.peek()] {
		d.pos++
	}
	return d.pos > start
}

// integer reads an integer in any spelling, such as 3.0 or 3E0, or null.
func (d *reader) integer() int32 {
	if d.null() {
		return 0
	}
	text := d.number()
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		var nanos int64
		if n, nanos, err = parseDecimal(text); nanos != 0 || n != int64(int32(n)) {
			err = strconv.ErrRange
		}
	}
	if err != nil {
		d.fail("has a number that is no 32-bit integer")
		return 0
	}
	return int32(n)
}

// maxEpochSeconds is the end of the year 9999.
const maxEpochSeconds = 253402300799

// time reads epoch seconds in any spelling, or null. Decimals are read exactly,
// because a record that has to be sent again must not be a millisecond off.
func (d *reader) time() time.Time {
	if d.null() {
		return time.Time{}
	}
	text := d.number()
	seconds, err := strconv.ParseInt(text, 10, 64)
	var nanos int64
	if err != nil {
		seconds, nanos, err = parseDecimal(text)
	}
	if err != nil || seconds > maxEpochSeconds || seconds < -maxEpochSeconds {
		d.fail("has a time out of range")
		return time.Time{}
	}
	return time.Unix(seconds, nanos).UTC()
}

// parseDecimal reads the text of a JSON number exactly, as a whole number and
// a billionth of the rest, which has the same sign.
func parseDecimal(text string) (whole, nanos int64, err error) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	before, after, _ := strings.Cut(mantissa, ".")
	digits := before + after
	point := len(before) // where it stands in digits
	for point > 0 && strings.HasPrefix(digits, "0") {
		digits, point = digits[1:], point-1
	}
	if exponent != "" {
		shift, err := strconv.Atoi(exponent)
		if errors.Is(err, strconv.ErrRange) {
			shift = len(text) + 100 // far enough, either way
			if strings.HasPrefix(exponent, "-") {
				shift = -shift
			}
		} else if err != nil {
			return 0, 0, err
		}
		point += min(max(shift, -len(text)-100), len(text)+100)
	}
	if strings.Trim(digits, "0") == "" {
		return 0, 0, nil
	}
	const most, decimals = 18, 9 // digits of an int64, and of nanoseconds
	if point > most {
		return 0, 0, strconv.ErrRange
	}
	// Zeros around the digits, as far as they are looked at.
	if point < 0 {
		digits, point = strings.Repeat("0", min(-point, decimals))+digits, 0
	}
	digits += strings.Repeat("0", most+decimals)
	if whole, err = strconv.ParseInt(sign+"0"+digits[:point], 10, 64); err != nil {
		return 0, 0, err
	}
	nanos, err = strconv.ParseInt(sign+digits[point:point+decimals], 10, 64)
	return whole, nanos, err
}
