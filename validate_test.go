package metering

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const licence = "arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef"

func violationsOf(t testing.TB, err error) []Violation {
	if err == nil {
		return nil
	}
	var invalid *ValidationError
	require.True(t, errors.As(err, &invalid), "%T", err)
	require.NotEmpty(t, invalid.Violations)
	return invalid.Violations
}

func requirePaths(t testing.TB, err error, paths ...string) {
	t.Helper()
	var got []string
	for _, v := range violationsOf(t, err) {
		got = append(got, v.Path)
	}
	require.Equal(t, paths, got, "%v", err)
}

func validRecord() UsageRecord {
	return UsageRecord{Timestamp: hour, CustomerAWSAccountId: "123456789012", Dimension: "users", Quantity: 10}
}

func TestValidateUsageRecord(t *testing.T) {
	tags := func(pairs ...string) (tags []Tag) {
		for i := 0; i < len(pairs); i += 2 {
			tags = append(tags, Tag{pairs[i], pairs[i+1]})
		}
		return tags
	}
	many := func(n int) (all []UsageAllocation) {
		for i := range n {
			all = append(all, UsageAllocation{Tags: tags("k", fmt.Sprint(i))})
		}
		return all
	}
	for name, c := range map[string]struct {
		change func(*UsageRecord)
		paths  []string
	}{
		"valid":                      {func(r *UsageRecord) {}, nil},
		"by CustomerIdentifier":      {func(r *UsageRecord) { r.CustomerAWSAccountId, r.CustomerIdentifier = "", "any thing: ü" }, nil},
		"with LicenseArn":            {func(r *UsageRecord) { r.LicenseArn = licence }, nil},
		"quantity 0":                 {func(r *UsageRecord) { r.Quantity = 0 }, nil},
		"largest quantity":           {func(r *UsageRecord) { r.Quantity = math.MaxInt32 }, nil},
		"old and future times":       {func(r *UsageRecord) { r.Timestamp = time.Unix(0, 0) }, nil},
		"no timestamp":               {func(r *UsageRecord) { r.Timestamp = time.Time{} }, []string{"Timestamp"}},
		"no customer":                {func(r *UsageRecord) { r.CustomerAWSAccountId = "" }, []string{"CustomerAWSAccountId"}},
		"two customers":              {func(r *UsageRecord) { r.CustomerIdentifier = "c" }, []string{"CustomerAWSAccountId"}},
		"account with letters":       {func(r *UsageRecord) { r.CustomerAWSAccountId = "12a" }, []string{"CustomerAWSAccountId"}},
		"account of other digits":    {func(r *UsageRecord) { r.CustomerAWSAccountId = "١٢٣" }, []string{"CustomerAWSAccountId"}},
		"short account":              {func(r *UsageRecord) { r.CustomerAWSAccountId = "1" }, nil},
		"account of 255":             {func(r *UsageRecord) { r.CustomerAWSAccountId = strings.Repeat("1", 255) }, nil},
		"account of 256":             {func(r *UsageRecord) { r.CustomerAWSAccountId = strings.Repeat("1", 256) }, []string{"CustomerAWSAccountId"}},
		"customer of 255 characters": {func(r *UsageRecord) { r.CustomerAWSAccountId, r.CustomerIdentifier = "", strings.Repeat("ü", 255) }, nil},
		"customer of 256 characters": {func(r *UsageRecord) { r.CustomerAWSAccountId, r.CustomerIdentifier = "", strings.Repeat("ü", 256) }, []string{"CustomerIdentifier"}},
		"not an ARN":                 {func(r *UsageRecord) { r.LicenseArn = "l-0123" }, []string{"LicenseArn"}},
		"no dimension":               {func(r *UsageRecord) { r.Dimension = "" }, []string{"Dimension"}},
		"dimension of 255":           {func(r *UsageRecord) { r.Dimension = strings.Repeat("😀", 255) }, nil},
		"dimension of 256":           {func(r *UsageRecord) { r.Dimension = strings.Repeat("x", 256) }, []string{"Dimension"}},
		"dimension not UTF-8":        {func(r *UsageRecord) { r.Dimension = "a\xff" }, []string{"Dimension"}},
		"negative quantity":          {func(r *UsageRecord) { r.Quantity = -1 }, []string{"Quantity"}},
		"empty allocations":          {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{} }, nil},
		"one allocation":             {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{10, nil}} }, nil},
		"allocations":                {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{4, tags("a", "1")}, {6, nil}} }, nil},
		"empty tag value":            {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{10, tags("a", "")}} }, nil},
		"the range in the pattern":   {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{10, tags("a!#(,;<= _@", `"$%&'*)`)}} }, nil},
		"a sum too small":            {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{9, nil}} }, []string{"UsageAllocations"}},
		"a sum that overflows": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{math.MaxInt32, nil}, {math.MaxInt32, tags("a", "1")}, {12, tags("b", "1")}}
		}, []string{"UsageAllocations"}},
		"negative allocation": {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{11, nil}, {-1, tags("a", "1")}} }, []string{"UsageAllocations[1].AllocatedUsageQuantity"}},
		"2,500 allocations":   {func(r *UsageRecord) { r.Quantity, r.UsageAllocations = 0, many(2500) }, nil},
		"2,501 allocations":   {func(r *UsageRecord) { r.Quantity, r.UsageAllocations = 0, many(2501) }, []string{"UsageAllocations"}},
		"the same tags":       {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{4, tags("a", "1")}, {6, tags("a", "1")}} }, []string{"UsageAllocations[1].Tags"}},
		"the same tags, in order": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{4, tags("a", "1", "b", "2")}, {5, tags("c", "1")}, {1, tags("b", "2", "a", "1")}}
		}, []string{"UsageAllocations[2].Tags"}},
		"twice no tags": {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{4, nil}, {6, []Tag{}}} }, []string{"UsageAllocations[1].Tags"}},
		"a part of other tags": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{4, tags("a", "1", "b", "2")}, {6, tags("a", "1")}}
		}, nil},
		"the same many times": {func(r *UsageRecord) { r.Quantity, r.UsageAllocations = 0, make([]UsageAllocation, 3) }, []string{"UsageAllocations[1].Tags", "UsageAllocations[2].Tags"}},
		"5 tags": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{10, tags("a", "", "b", "", "c", "", "d", "", "e", "")}}
		}, nil},
		"6 tags": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{10, tags("a", "", "b", "", "c", "", "d", "", "e", "", "f", "")}}
		}, []string{"UsageAllocations[0].Tags"}},
		"no tag key": {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{10, tags("", "v")}} }, []string{"UsageAllocations[0].Tags[0].Key"}},
		"tag of 100 and 256": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{10, tags(strings.Repeat("k", 100), strings.Repeat("v", 256))}}
		}, nil},
		"tag of 101 and 257": {func(r *UsageRecord) {
			r.UsageAllocations = []UsageAllocation{{10, tags(strings.Repeat("k", 101), strings.Repeat("v", 257))}}
		}, []string{"UsageAllocations[0].Tags[0].Key", "UsageAllocations[0].Tags[0].Value"}},
		"tag characters": {func(r *UsageRecord) { r.UsageAllocations = []UsageAllocation{{10, tags("a>", "é")}} }, []string{"UsageAllocations[0].Tags[0].Key", "UsageAllocations[0].Tags[0].Value"}},
		"all at once": {func(r *UsageRecord) {
			*r = UsageRecord{Quantity: -1, LicenseArn: "x", UsageAllocations: []UsageAllocation{{-1, tags("", "\n")}}}
		},
			[]string{"Timestamp", "CustomerAWSAccountId", "LicenseArn", "Dimension", "Quantity", "UsageAllocations[0].AllocatedUsageQuantity", "UsageAllocations[0].Tags[0].Key", "UsageAllocations[0].Tags[0].Value"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := validRecord()
			c.change(&r)
			requirePaths(t, r.Validate(), c.paths...)
		})
	}
}

func TestValidateBatchMeterUsage(t *testing.T) {
	records := func(n int, change func(*UsageRecord)) []UsageRecord {
		all := make([]UsageRecord, n)
		for i := range all {
			all[i] = validRecord()
			if change != nil {
				change(&all[i])
			}
		}
		return all
	}
	licensed := func(r *UsageRecord) { r.LicenseArn = licence }
	for name, c := range map[string]struct {
		in    BatchMeterUsageRequest
		paths []string
	}{
		"25 records":                    {BatchMeterUsageRequest{"prod-1", records(25, nil)}, nil},
		"25 with licences":              {BatchMeterUsageRequest{"", records(25, licensed)}, nil},
		"26 records":                    {BatchMeterUsageRequest{"prod-1", records(26, nil)}, []string{"UsageRecords"}},
		"an empty list":                 {BatchMeterUsageRequest{"prod-1", []UsageRecord{}}, nil},
		"no list":                       {BatchMeterUsageRequest{"prod-1", nil}, []string{"UsageRecords"}},
		"nothing":                       {BatchMeterUsageRequest{}, []string{"ProductCode", "UsageRecords"}},
		"neither product nor licence":   {BatchMeterUsageRequest{"", records(2, nil)}, []string{"ProductCode"}},
		"both product and licence":      {BatchMeterUsageRequest{"prod-1", records(2, licensed)}, []string{"UsageRecords[0].LicenseArn", "UsageRecords[1].LicenseArn"}},
		"some with licence":             {BatchMeterUsageRequest{"", append(records(1, licensed), records(1, nil)...)}, []string{"UsageRecords[1].LicenseArn"}},
		"product, some with licence":    {BatchMeterUsageRequest{"prod-1", append(records(1, licensed), records(1, nil)...)}, []string{"UsageRecords[0].LicenseArn"}},
		"product code of 255":           {BatchMeterUsageRequest{strings.Repeat("x", 255), records(1, nil)}, nil},
		"product code of 256":           {BatchMeterUsageRequest{strings.Repeat("x", 256), records(1, nil)}, []string{"ProductCode"}},
		"product code with every class": {BatchMeterUsageRequest{"-aZ9/=:_.@", records(1, nil)}, nil},
		"product code with a space":     {BatchMeterUsageRequest{"prod 1", records(1, nil)}, []string{"ProductCode"}},
		"path of a record": {BatchMeterUsageRequest{"prod-1", append(records(3, nil), UsageRecord{Timestamp: hour, CustomerIdentifier: "c", Dimension: "d",
			UsageAllocations: []UsageAllocation{{0, []Tag{{"a", "b"}, {"\x7f", "b"}}}}})}, []string{"UsageRecords[3].UsageAllocations[0].Tags[1].Key"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprintf("%#v", c.in)
			requirePaths(t, c.in.Validate(), c.paths...)
			require.Equal(t, before, fmt.Sprintf("%#v", c.in))
		})
	}
	t.Run("size", func(t *testing.T) {
		in := BatchMeterUsageRequest{ProductCode: "p", UsageRecords: records(5, nil)}
		for i := range in.UsageRecords {
			in.UsageRecords[i].Quantity = 0
			for j := range 2500 {
				in.UsageRecords[i].UsageAllocations = append(in.UsageRecords[i].UsageAllocations, UsageAllocation{0, []Tag{{fmt.Sprint(j), ""}}})
			}
		}
		at := 0 // grow it byte by byte to the limit
		for missing := maxBatchBytes - 1 - len(in.appendJSON(nil)); missing > 0; at++ {
			n := min(missing, 256)
			in.UsageRecords[at%5].UsageAllocations[at/5].Tags[0].Value = strings.Repeat("v", n)
			missing -= n
		}
		require.Equal(t, maxBatchBytes-1, len(in.appendJSON(nil)))
		requirePaths(t, in.Validate())
		in.ProductCode += "p"
		requirePaths(t, in.Validate(), "UsageRecords")
	})
}

func TestValidateOthers(t *testing.T) {
	validMeter := func() MeterUsageRequest { return *meter }
	for name, c := range map[string]struct {
		change func(*MeterUsageRequest)
		paths  []string
	}{
		"valid":           {func(r *MeterUsageRequest) {}, nil},
		"nothing":         {func(r *MeterUsageRequest) { *r = MeterUsageRequest{} }, []string{"ProductCode", "Timestamp", "UsageDimension"}},
		"negative":        {func(r *MeterUsageRequest) { r.UsageQuantity = -1 }, []string{"UsageQuantity"}},
		"token of 64":     {func(r *MeterUsageRequest) { r.ClientToken = strings.Repeat("ü", 64) }, nil},
		"token of 65":     {func(r *MeterUsageRequest) { r.ClientToken = strings.Repeat("x", 65) }, []string{"ClientToken"}},
		"long dimension":  {func(r *MeterUsageRequest) { r.UsageDimension = strings.Repeat("x", 256) }, []string{"UsageDimension"}},
		"a sum too large": {func(r *MeterUsageRequest) { r.UsageAllocations = []UsageAllocation{{4, nil}} }, []string{"UsageAllocations"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := validMeter()
			c.change(&r)
			requirePaths(t, r.Validate(), c.paths...)
		})
	}
	requirePaths(t, (&RegisterUsageRequest{ProductCode: "p", PublicKeyVersion: 1, Nonce: strings.Repeat("n", 255)}).Validate())
	requirePaths(t, (&RegisterUsageRequest{Nonce: strings.Repeat("n", 256)}).Validate(), "ProductCode", "PublicKeyVersion", "Nonce")
	requirePaths(t, (&ResolveCustomerRequest{RegistrationToken: "t"}).Validate())
	requirePaths(t, (&ResolveCustomerRequest{}).Validate(), "RegistrationToken")
	requirePaths(t, (&ResolveCustomerRequest{RegistrationToken: "secret\xff"}).Validate(), "RegistrationToken")
	require.NotContains(t, (&ResolveCustomerRequest{RegistrationToken: "secret\xff"}).Validate().Error(), "secret")
}

// TestValidateByTheModel compares the classes and lengths written by hand
// with the model's regular expressions, read literally.
func TestValidateByTheModel(t *testing.T) {
	var model struct {
		Shapes map[string]struct {
			Pattern              string
			MinLength, MaxLength *int
			Type                 string
		}
	}
	readJSON(t, "testdata/model.json", &model)
	record := func(change func(*UsageRecord, string)) func(string) error {
		return func(s string) error {
			r := validRecord()
			change(&r, s)
			return r.Validate()
		}
	}
	tag := func(change func(*Tag, string)) func(string) error {
		return record(func(r *UsageRecord, s string) {
			tag := Tag{"k", "v"}
			change(&tag, s)
			r.UsageAllocations = []UsageAllocation{{r.Quantity, []Tag{tag}}}
		})
	}
	shapes := map[string]func(string) error{
		"ProductCode":          func(s string) error { return (&RegisterUsageRequest{ProductCode: s, PublicKeyVersion: 1}).Validate() },
		"CustomerAWSAccountId": record(func(r *UsageRecord, s string) { r.CustomerAWSAccountId = s }),
		"CustomerIdentifier":   record(func(r *UsageRecord, s string) { r.CustomerAWSAccountId, r.CustomerIdentifier = "", s }),
		"LicenseArn":           record(func(r *UsageRecord, s string) { r.LicenseArn = s }),
		"UsageDimension":       record(func(r *UsageRecord, s string) { r.Dimension = s }),
		"TagKey":               tag(func(t *Tag, s string) { t.Key = s }),
		"TagValue":             tag(func(t *Tag, s string) { t.Value = s }),
		"Nonce": func(s string) error {
			return (&RegisterUsageRequest{ProductCode: "p", PublicKeyVersion: 1, Nonce: s}).Validate()
		},
		"ClientToken":    func(s string) error { m := *meter; m.ClientToken = s; return m.Validate() },
		"NonEmptyString": func(s string) error { return (&ResolveCustomerRequest{RegistrationToken: s}).Validate() },
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name, validate := range shapes {
		shape := model.Shapes[name]
		pattern := compile(shape.Pattern)
		require.NotEmpty(t, shape.Type, name)
		for i := range 3000 {
			s := randomValue(random, i, shape.MaxLength)
			if s == "" {
				continue // means absent, or is refused where it is required
			}
			n := len([]rune(s))
			want := pattern.MatchString(s) && (shape.MaxLength == nil || n <= *shape.MaxLength)
			require.Equal(t, want, validate(s) == nil, "%s %q", name, s)
		}
	}
	for _, arn := range []string{
		licence, "arn:aws:s:::r", "arn:aws-us-gov:s:r:a:r:more:x", "arn:awsX-y:0_/.-:_:-:9=+,@", "arn:aws:s" + strings.Repeat("x", 62) + ":::" + "r" + strings.Repeat("x", 1000),
		"arn:aws::::r", "arn:aws:s:::", "arn:aws:s::r", "arn:aws1:s:::r", "arn:aw:s:::r", "ARN:aws:s:::r", "arn:aws:-s:::r", "arn:aws:s:::/r", "arn:aws:s:::r ", "arn:aws:s: ::r",
		"arn:aws:s" + strings.Repeat("x", 63) + ":::r", "arn:aws:s:" + strings.Repeat("x", 64) + "::r", "arn:aws:s:::r\n",
		"arn:aws:s:::r" + strings.Repeat("x", 1023), "arn:aws:s:::r" + strings.Repeat("x", 1024),
	} {
		require.Equal(t, compile(model.Shapes["LicenseArn"].Pattern).MatchString(arn), isLicenseArn(arn), arn)
	}
}

// compile spells a repetition that is too long for Go's package as two.
func compile(pattern string) *regexp.Regexp {
	const class = "[A-Za-z0-9:_/+=,@.-]"
	return regexp.MustCompile(strings.Replace(pattern, class+"{0,1023}", class+"{0,1000}"+class+"{0,23}", 1))
}

// randomValue is a single character at first, each once, and then anything.
func randomValue(random *rand.Rand, i int, maxLength *int) string {
	if i < 256 {
		return string(rune(i))
	}
	characters := []string{"a", "Z", "0", "-", "/", "=", ":", "_", ".", "@", "+", " ", "é", "😀", "\n", ">", "arn:aws:s:::"}
	n := 1 + random.IntN(6)
	if maxLength != nil && random.IntN(4) == 0 {
		return strings.Repeat(characters[random.IntN(13)], *maxLength-1+random.IntN(3))
	}
	var b strings.Builder
	for range n {
		b.WriteString(characters[random.IntN(len(characters))])
	}
	return b.String()
}

// TestValidateCoversTheModel: a member of the model that has no field here
// would be lost in silence.
func TestValidateCoversTheModel(t *testing.T) {
	var model struct {
		Structures map[string]struct {
			Members map[string]any
		}
	}
	readJSON(t, "testdata/model.json", &model)
	types := map[string]any{
		"BatchMeterUsageRequest": BatchMeterUsageRequest{}, "BatchMeterUsageResult": BatchMeterUsageResult{},
		"MeterUsageRequest": MeterUsageRequest{}, "MeterUsageResult": MeterUsageResult{},
		"RegisterUsageRequest": RegisterUsageRequest{}, "RegisterUsageResult": RegisterUsageResult{},
		"ResolveCustomerRequest": ResolveCustomerRequest{}, "ResolveCustomerResult": ResolveCustomerResult{},
		"Tag": Tag{}, "UsageAllocation": UsageAllocation{}, "UsageRecord": UsageRecord{}, "UsageRecordResult": UsageRecordResult{},
	}
	require.Len(t, model.Structures, len(types))
	for name, structure := range model.Structures {
		fields := reflect.TypeOf(types[name])
		n := fields.NumField()
		if _, ok := fields.FieldByName("ResponseMetadata"); ok {
			n--
		}
		require.Equal(t, len(structure.Members), n, name)
		for member := range structure.Members {
			_, ok := fields.FieldByName(member)
			require.True(t, ok, "%s.%s", name, member)
		}
	}
}

func TestValidationComesBeforeTheNetwork(t *testing.T) {
	calls := 0
	c := testClient(func(*http.Request) (*http.Response, error) { calls++; return answer(200, "{}"), nil })
	invalid := &BatchMeterUsageRequest{}
	requirePaths(t, send(c, invalid), "ProductCode", "UsageRecords")
	require.Zero(t, calls)
	require.NoError(t, send(c, invalid, func(o *Options) { o.SkipValidation = true }))
	require.Equal(t, 1, calls)
}
