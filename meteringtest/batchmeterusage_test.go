package meteringtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-b0a93349/metering/meteringtest"
	"github.com/stretchr/testify/require"
)

// record is a good record for a buyer, an hour old.
func record(b meteringtest.Buyer) object {
	r := object{"Timestamp": start.Add(-time.Hour).Unix(), "Dimension": "users", "Quantity": 3, "CustomerAWSAccountId": b.CustomerAWSAccountId}
	if b.LicenseArn != "" {
		r["LicenseArn"] = b.LicenseArn
	}
	return r
}

func batch(records ...object) object {
	return object{"ProductCode": "prod-1", "UsageRecords": records}
}

func licensed(records ...object) object {
	return object{"UsageRecords": records}
}

func allocation(quantity int, tags ...string) object {
	a := object{"AllocatedUsageQuantity": quantity}
	for i := 0; i < len(tags); i += 2 {
		old, _ := a["Tags"].(list)
		a["Tags"] = append(old, object{"Key": tags[i], "Value": tags[i+1]})
	}
	return a
}

// outcome is what a request says of a record.
type outcome struct{ status, id string }

func (s *service) batch(in object) []outcome {
	s.t.Helper()
	a := s.call("BatchMeterUsage", in)
	require.Equal(s.t, 200, a.status, a.body)
	var out []outcome
	for _, r := range a.json["Results"].(list) {
		status, _ := r.(object)["Status"].(string)
		id, _ := r.(object)["MeteringRecordId"].(string)
		out = append(out, outcome{status, id})
	}
	return out
}

// status returns the status of a request's only record.
func (s *service) status(in object) string {
	s.t.Helper()
	out := s.batch(in)
	require.Len(s.t, out, 1)
	return out[0].status
}

func TestBatchMeterUsage(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	a := s.do("BatchMeterUsage", fmt.Sprintf(`{"ProductCode":"prod-1","UsageRecords":[
		{"Timestamp":1.7954268005E9,"CustomerIdentifier":%q,"Dimension":"users","Quantity":3,
		 "UsageAllocations":[{"AllocatedUsageQuantity":3,"Tags":[{"Key":"team","Value":"blue"}]},{"AllocatedUsageQuantity":0}],"Later":1},
		{"Timestamp":1795426800,"CustomerIdentifier":"nobody","Dimension":"GB"}]}`, buyer.CustomerIdentifier), nil)
	require.Equal(t, 200, a.status, a.body)
	got := s.Records()
	require.Len(t, got, 1)
	require.JSONEq(t, fmt.Sprintf(`{"Results":[
		{"MeteringRecordId":%q,"Status":"Success","UsageRecord":{"Timestamp":1795426800.5,"CustomerIdentifier":%q,"Dimension":"users","Quantity":3,
		 "UsageAllocations":[{"AllocatedUsageQuantity":3,"Tags":[{"Key":"team","Value":"blue"}]},{"AllocatedUsageQuantity":0}]}},
		{"Status":"CustomerNotSubscribed","UsageRecord":{"Timestamp":1795426800,"CustomerIdentifier":"nobody","Dimension":"GB"}}],
		"UnprocessedRecords":[]}`, got[0].MeteringRecordId, buyer.CustomerIdentifier), a.body)
	require.Equal(t, meteringtest.Record{
		Operation:            "BatchMeterUsage",
		MeteringRecordId:     got[0].MeteringRecordId,
		ProductCode:          "prod-1",
		CustomerIdentifier:   buyer.CustomerIdentifier,
		CustomerAWSAccountId: account,
		Dimension:            "users",
		Timestamp:            time.Date(2026, 11, 23, 9, 40, 0, 500_000_000, time.UTC),
		Hour:                 time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		Quantity:             3,
		UsageAllocations: []meteringtest.UsageAllocation{
			{AllocatedUsageQuantity: 3, Tags: []meteringtest.Tag{{Key: "team", Value: "blue"}}},
			{AllocatedUsageQuantity: 0},
		},
	}, got[0])
}

func TestBatchWithoutRecords(t *testing.T) {
	s := newService(t)
	a := s.call("BatchMeterUsage", batch([]object{}...))
	require.JSONEq(t, `{"Results":[],"UnprocessedRecords":[]}`, a.body)
}

func TestBatchWithLicences(t *testing.T) {
	s := newService(t)
	first, second := s.Subscribe("new-1", account), s.Subscribe("new-1", account)
	out := s.batch(licensed(record(first), record(second), record(first)))
	require.Equal(t, []string{"Success", "Success", "Success"}, []string{out[0].status, out[1].status, out[2].status})
	require.Equal(t, out[0].id, out[2].id)
	got := s.Records()
	require.Len(t, got, 2, "the licence is part of the key")
	require.Equal(t, first.LicenseArn, got[0].LicenseArn)
	require.Equal(t, "new-1", got[0].ProductCode)
	require.Empty(t, got[0].CustomerIdentifier)
}

func TestBatchRefusesProductsAndLicences(t *testing.T) {
	s := newService(t)
	old := record(s.Subscribe("prod-1", account))
	licence := record(s.Subscribe("new-1", account))
	otherProduct := record(s.Subscribe("new-2", account))
	const unknownArn = "arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef"
	for name, tc := range map[string]struct {
		code string
		in   object
	}{
		"unknown product":              {"InvalidProductCodeException", with(batch(old), "ProductCode", "prod-9")},
		"neither product nor licence":  {"InvalidProductCodeException", with(batch(old), "ProductCode", absent)},
		"empty product, no licence":    {"InvalidProductCodeException", with(batch(old), "ProductCode", "")},
		"no records, no product":       {"InvalidProductCodeException", licensed([]object{}...)},
		"product and licence":          {"InvalidLicenseException", with(batch(licence), "ProductCode", "new-1")},
		"product and one licence":      {"InvalidLicenseException", batch(old, licence)},
		"product that needs licences":  {"InvalidLicenseException", with(batch(with(licence, "LicenseArn", absent)), "ProductCode", "new-1")},
		"a licence missing":            {"InvalidLicenseException", licensed(licence, old)},
		"unknown licence":              {"InvalidLicenseException", licensed(with(licence, "LicenseArn", unknownArn))},
		"licences of two products":     {"InvalidLicenseException", licensed(licence, otherProduct)},
		"licence of another account":   {"InvalidLicenseException", licensed(with(licence, "CustomerAWSAccountId", "210987654321"))},
		"licence without account":      {"InvalidCustomerIdentifierException", licensed(with(licence, "CustomerAWSAccountId", absent))},
		"licence with identifier only": {"InvalidCustomerIdentifierException", licensed(with(with(licence, "CustomerAWSAccountId", absent), "CustomerIdentifier", "c"))},
	} {
		t.Run(name, func(t *testing.T) {
			(&service{s.Server, t, s.clock}).refused(tc.code, "BatchMeterUsage", tc.in)
		})
	}
	require.Empty(t, s.Records())
}

// One bad record keeps the good one beside it from being metered.
func TestBatchRefusesWholeRequest(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	good := with(record(buyer), "Dimension", "GB")
	bad := func(member string, v any) object { return with(record(buyer), member, v) }
	long := strings.Repeat("k", 101)
	six := allocation(3, "a", "1", "b", "1", "c", "1", "d", "1", "e", "1", "f", "1")
	for name, tc := range map[string]struct {
		code string
		bad  object
	}{
		"dimension":           {"InvalidUsageDimensionException", bad("Dimension", "seats")},
		"too old":             {"TimestampOutOfBoundsException", bad("Timestamp", start.Add(-25*time.Hour).Unix())},
		"too new":             {"TimestampOutOfBoundsException", bad("Timestamp", start.Add(time.Hour).Unix())},
		"no customer":         {"InvalidCustomerIdentifierException", bad("CustomerAWSAccountId", absent)},
		"both identifiers":    {"InvalidCustomerIdentifierException", bad("CustomerIdentifier", buyer.CustomerIdentifier)},
		"mixed identifiers":   {"InvalidCustomerIdentifierException", with(bad("CustomerIdentifier", buyer.CustomerIdentifier), "CustomerAWSAccountId", absent)},
		"sum too small":       {"InvalidUsageAllocationsException", bad("UsageAllocations", list{allocation(2, "a", "1")})},
		"sum too large":       {"InvalidUsageAllocationsException", bad("UsageAllocations", list{allocation(4, "a", "1")})},
		"sum over 32 bits":    {"InvalidUsageAllocationsException", bad("UsageAllocations", list{allocation(1<<31-1, "a", "1"), allocation(1<<31-1, "a", "2"), allocation(5)})},
		"sum without usage":   {"InvalidUsageAllocationsException", with(bad("UsageAllocations", list{allocation(3)}), "Quantity", absent)},
		"same tags twice":     {"InvalidUsageAllocationsException", bad("UsageAllocations", list{allocation(1, "a", "1", "b", "2"), allocation(2, "b", "2", "a", "1")})},
		"no tags twice":       {"InvalidUsageAllocationsException", bad("UsageAllocations", list{allocation(1), allocation(2)})},
		"six tags":            {"InvalidTagException", bad("UsageAllocations", list{six})},
		"empty list of tags":  {"InvalidTagException", bad("UsageAllocations", list{with(allocation(3), "Tags", list{})})},
		"empty tag key":       {"InvalidTagException", bad("UsageAllocations", list{allocation(3, "", "1")})},
		"long tag key":        {"InvalidTagException", bad("UsageAllocations", list{allocation(3, long, "1")})},
		"tag key character":   {"InvalidTagException", bad("UsageAllocations", list{allocation(3, "a?", "1")})},
		"long tag value":      {"InvalidTagException", bad("UsageAllocations", list{allocation(3, "a", strings.Repeat("v", 257))})},
		"tag value character": {"InvalidTagException", bad("UsageAllocations", list{allocation(3, "a", "ü")})},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{s.Server, t, s.clock}
			s.refused(tc.code, "BatchMeterUsage", batch(good, tc.bad))
			require.Empty(t, s.Records(), "nothing is metered")
		})
	}
	require.Equal(t, "Success", s.status(batch(good)))
}

func TestBatchValidation(t *testing.T) {
	s := newService(t)
	good := record(s.Subscribe("prod-1", account))
	bad := func(member string, v any) object { return batch(with(good, member, v)) }
	long := strings.Repeat("ü", 256)
	const longArn = "arn:aws:a:::"
	records := func(n int) []object {
		out := make([]object, n)
		for i := range out {
			out[i] = good
		}
		return out
	}
	for name, tc := range map[string]struct {
		message string
		in      object
	}{
		"no records member":         {"Value null at 'usageRecords' failed to satisfy constraint: Member must not be null", object{"ProductCode": "prod-1"}},
		"26 records":                {"1 validation error detected: Value at 'usageRecords' failed to satisfy constraint: Member must have length less than or equal to 25", batch(records(26)...)},
		"product code's characters": {"'productCode' failed to satisfy constraint: Member must satisfy regular expression pattern", with(batch(good), "ProductCode", "a b")},
		"product code's length":     {"'productCode' failed to satisfy constraint: Member must have length less than or equal to 255", with(batch(good), "ProductCode", strings.Repeat("a", 256))},
		"no timestamp":              {"Value null at 'usageRecords.1.member.timestamp'", bad("Timestamp", absent)},
		"no dimension":              {"Value null at 'usageRecords.1.member.dimension'", bad("Dimension", absent)},
		"empty dimension":           {"'usageRecords.1.member.dimension' failed to satisfy constraint: Member must have length greater than or equal to 1", bad("Dimension", "")},
		"long dimension":            {"less than or equal to 255", bad("Dimension", long)},
		"long identifier":           {"'usageRecords.1.member.customerIdentifier'", bad("CustomerIdentifier", long)},
		"account's characters":      {"'usageRecords.1.member.customerAWSAccountId'", bad("CustomerAWSAccountId", "12a")},
		"empty account":             {"'usageRecords.1.member.customerAWSAccountId'", bad("CustomerAWSAccountId", "")},
		"licence":                   {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "l-1")},
		"licence of no partition":   {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:gcp:a:::l")},
		"licence of no service":     {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws::::l")},
		"licence's service":         {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws:-a:::l")},
		"licence's long Region":     {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws:a:"+strings.Repeat("r", 64)+"::l")},
		"licence's account":         {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws:a::+:l")},
		"licence without resource":  {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws:a:::")},
		"licence's resource":        {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws:a:::-l")},
		"licence's characters":      {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", "arn:aws:a:::l l")},
		"long licence":              {"'usageRecords.1.member.licenseArn'", bad("LicenseArn", longArn+strings.Repeat("l", 1025))},
		"negative quantity":         {"'usageRecords.1.member.quantity' failed to satisfy constraint: Member must have value greater than or equal to 0", bad("Quantity", -1)},
		"empty allocations":         {"'usageRecords.1.member.usageAllocations' failed to satisfy constraint: Member must have length greater than or equal to 1", bad("UsageAllocations", list{})},
		"2,501 allocations":         {"less than or equal to 2500", bad("UsageAllocations", make([]object, 2501))},
		"allocation's quantity":     {"Value null at 'usageRecords.1.member.usageAllocations.1.member.allocatedUsageQuantity'", bad("UsageAllocations", list{object{}})},
		"negative allocation":       {"usageAllocations.1.member.allocatedUsageQuantity' failed to satisfy constraint: Member must have value", bad("UsageAllocations", list{allocation(-1)})},
		"tag without key":           {"usageAllocations.1.member.tags.1.member.key'", bad("UsageAllocations", list{with(allocation(3), "Tags", list{object{"Value": "1"}})})},
		"tag without value":         {"usageAllocations.1.member.tags.1.member.value'", bad("UsageAllocations", list{with(allocation(3), "Tags", list{object{"Key": "1"}})})},
	} {
		t.Run(name, func(t *testing.T) {
			(&service{s.Server, t, s.clock}).invalid(tc.message, "BatchMeterUsage", tc.in)
		})
	}
	require.Empty(t, s.Records())

	t.Run("as much as the model allows", func(t *testing.T) {
		full := make(list, 2500)
		for i := range full {
			full[i] = allocation(i%2, "key !#(,;<"+strings.Repeat("k", 90), fmt.Sprint(i), "empty", "")
		}
		s := &service{s.Server, t, s.clock}
		full[0] = allocation(0, strings.Repeat("k", 100), strings.Repeat("v", 256))
		r := with(with(good, "Quantity", 1250), "UsageAllocations", full)
		require.Equal(t, "Success", s.status(batch(r)))
		s.refused("InvalidLicenseException", "BatchMeterUsage", licensed(with(good, "LicenseArn", longArn+strings.Repeat("l", 1024))))
	})
}

func TestBatchTimestamps(t *testing.T) {
	first := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		now, at time.Time
		ok      bool
	}{
		"24 hours ago":                 {start, start.Add(-24 * time.Hour), true},
		"half a second more":           {start, start.Add(-24*time.Hour - 500*time.Millisecond), false},
		"a second more":                {start, start.Add(-24*time.Hour - time.Second), false},
		"now":                          {start, start, true},
		"slightly ahead":               {start, start.Add(5 * time.Minute), true},
		"further ahead":                {start, start.Add(5*time.Minute + time.Second), false},
		"last month before 06:00":      {first.Add(6*time.Hour - time.Second), first.Add(-time.Second), true},
		"last month at 06:00":          {first.Add(6 * time.Hour), first.Add(-time.Second), false},
		"this month at 06:00":          {first.Add(6 * time.Hour), first, true},
		"last month, but too long ago": {first.Add(5 * time.Hour), first.Add(-20 * time.Hour), false},
		"ahead into the next month":    {first.Add(-time.Minute), first.Add(time.Minute), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.clock.Set(tc.now)
			in := batch(with(record(s.Subscribe("prod-1", account)), "Timestamp", tc.at.Unix()))
			if tc.ok {
				require.Equal(t, "Success", s.status(in))
			} else {
				s.refused("TimestampOutOfBoundsException", "BatchMeterUsage", in)
			}
		})
	}
}

func TestBatchOneRecordAnHour(t *testing.T) {
	for name, tc := range map[string]struct {
		duplicateIdentical bool
		identical          string
	}{
		"identical is Success":   {false, "Success"},
		"identical is Duplicate": {true, "DuplicateRecord"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(o *meteringtest.Options) { o.DuplicateIdentical = tc.duplicateIdentical })
			buyer := s.Subscribe("prod-1", account)
			one := with(record(buyer), "UsageAllocations", list{allocation(1, "a", "1", "b", "2"), allocation(2, "a", "1")})
			byIdentifier := with(with(one, "CustomerAWSAccountId", absent), "CustomerIdentifier", buyer.CustomerIdentifier)

			first := s.batch(batch(one))[0]
			require.Equal(t, "Success", first.status)
			require.Len(t, s.Records(), 1)

			for what, again := range map[string]object{
				"unchanged":                    one,
				"by the other identifier":      byIdentifier,
				"later in the hour":            with(one, "Timestamp", start.Add(-time.Hour+time.Minute).Unix()),
				"allocations in another order": with(one, "UsageAllocations", list{allocation(2, "a", "1"), allocation(1, "b", "2", "a", "1")}),
			} {
				require.Equal(t, outcome{tc.identical, first.id}, s.batch(batch(again))[0], what)
			}
			for what, other := range map[string]object{
				"other quantity":         with(with(one, "Quantity", 4), "UsageAllocations", absent),
				"without allocations":    with(one, "UsageAllocations", absent),
				"with other allocations": with(one, "UsageAllocations", list{allocation(3, "a", "1")}),
			} {
				require.Equal(t, "DuplicateRecord", s.status(batch(other)), what)
			}
			require.Len(t, s.Records(), 1, "nothing is billed twice")

			for what, next := range map[string]object{
				"next hour":       with(one, "Timestamp", start.Unix()),
				"other dimension": with(one, "Dimension", "GB"),
				"other customer":  with(one, "CustomerAWSAccountId", s.Subscribe("prod-1", "210987654321").CustomerAWSAccountId),
			} {
				require.Equal(t, "Success", s.status(batch(next)), what)
			}
			s.Subscribe("prod-2", account)
			require.Equal(t, "Success", s.status(with(batch(one), "ProductCode", "prod-2")), "other product")
			require.Len(t, s.Records(), 5)
		})
	}
}

func TestBatchSameHourWithinARequest(t *testing.T) {
	s := newService(t)
	r := record(s.Subscribe("prod-1", account))
	out := s.batch(batch(r, with(r, "Quantity", 9), r))
	require.Equal(t, []outcome{{"Success", out[0].id}, {"DuplicateRecord", out[0].id}, {"Success", out[0].id}}, out)
	require.Len(t, s.Records(), 1, "the first one wins")
	require.Equal(t, int32(3), s.Records()[0].Quantity)
}

func TestBatchZeroQuantity(t *testing.T) {
	s := newService(t)
	r := record(s.Subscribe("prod-1", account))
	first := s.batch(batch(with(r, "Quantity", 0)))
	require.Equal(t, first, s.batch(batch(with(r, "Quantity", absent))), "an absent quantity is 0")
	require.Len(t, s.Records(), 1)
}

func TestCustomerNotSubscribed(t *testing.T) {
	s := newService(t)
	buyer := s.Subscribe("prod-1", account)
	licence := s.Subscribe("new-1", account)
	report := func() (string, string) {
		t.Helper()
		at := s.clock.Now().Add(-time.Minute).Unix()
		return s.status(batch(with(record(buyer), "Timestamp", at))), s.status(licensed(with(record(licence), "Timestamp", at)))
	}
	requireBoth := func(want string) {
		t.Helper()
		old, new := report()
		require.Equal(t, []string{want, want}, []string{old, new})
	}

	require.Equal(t, "CustomerNotSubscribed", s.status(with(batch(record(buyer)), "ProductCode", "prod-2")), "a buyer of another product")
	out := s.batch(batch(with(record(buyer), "CustomerAWSAccountId", "210987654321"), record(buyer)))
	require.Equal(t, outcome{"CustomerNotSubscribed", ""}, out[0])
	require.Equal(t, "Success", out[1].status, "the others are metered")

	s.Unsubscribe(buyer)
	s.Unsubscribe(licence)
	s.clock.Advance(meteringtest.FinalRecords - time.Second)
	requireBoth("Success")
	s.Unsubscribe(buyer)
	s.clock.Advance(time.Second)
	requireBoth("CustomerNotSubscribed")

	require.Equal(t, buyer, s.Subscribe("prod-1", account))
	old, _ := report()
	require.Equal(t, "Success", old, "subscribed again")
}
