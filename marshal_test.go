package metering

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func readJSON(t testing.TB, file string, into any) {
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, into))
}

// newRequest and newResult make the types of an operation.
func newRequest(t testing.TB, op operation) request {
	switch op {
	case opBatchMeterUsage:
		return new(BatchMeterUsageRequest)
	case opMeterUsage:
		return new(MeterUsageRequest)
	case opRegisterUsage:
		return new(RegisterUsageRequest)
	case opResolveCustomer:
		return new(ResolveCustomerRequest)
	}
	t.Fatalf("unknown operation %q", op)
	return nil
}

func newResult(t testing.TB, op operation) result {
	switch op {
	case opBatchMeterUsage:
		return new(BatchMeterUsageResult)
	case opMeterUsage:
		return new(MeterUsageResult)
	case opRegisterUsage:
		return new(RegisterUsageResult)
	case opResolveCustomer:
		return new(ResolveCustomerResult)
	}
	t.Fatalf("unknown operation %q", op)
	return nil
}

func TestGoldenRequests(t *testing.T) {
	var cases []struct {
		Name      string
		Operation operation
		Input     json.RawMessage
		Headers   map[string]string
		Body      json.RawMessage
	}
	readJSON(t, "testdata/golden/requests.json", &cases)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			in := newRequest(t, c.Operation)
			require.NoError(t, json.Unmarshal(c.Input, in))
			if in, ok := in.(*ResolveCustomerRequest); ok { // encoding/json does not see the token
				var input struct{ RegistrationToken string }
				require.NoError(t, json.Unmarshal(c.Input, &input))
				in.RegistrationToken = input.RegistrationToken
			}
			require.JSONEq(t, withZeroQuantities(t, c.Body), string(in.appendJSON(nil)))

			// The headers, as they leave the client.
			got := make(chan http.Header, 1)
			client := testClient(func(r *http.Request) (*http.Response, error) {
				got <- r.Header
				require.Equal(t, "POST", r.Method)
				require.Equal(t, "/", r.URL.Path)
				return answer(200, `{"Signature":"s","MeteringRecordId":"m","CustomerAWSAccountId":"1"}`), nil
			}, func(o *Options) { o.SkipValidation = true })
			require.NoError(t, send(client, in))
			header := <-got
			for name, value := range c.Headers {
				require.Equal(t, value, header.Get(name))
			}
		})
	}
}

// withZeroQuantities writes 0 where a quantity is left out, which means the
// same.
func withZeroQuantities(t *testing.T, body []byte) string {
	var v map[string]any
	require.NoError(t, json.Unmarshal(body, &v))
	if v["UsageDimension"] != nil && v["UsageQuantity"] == nil {
		v["UsageQuantity"] = 0
	}
	records, _ := v["UsageRecords"].([]any)
	for _, r := range records {
		if r := r.(map[string]any); r["Quantity"] == nil {
			r["Quantity"] = 0
		}
	}
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestGoldenResponses(t *testing.T) {
	var cases []struct {
		Name      string
		Operation operation
		Status    int
		Headers   map[string]string
		Body      string
		Output    json.RawMessage
		Error     *struct{ Code, Message string }
	}
	readJSON(t, "testdata/golden/responses.json", &cases)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			resp := answer(c.Status, c.Body)
			for name, value := range c.Headers {
				resp.Header.Set(name, value)
			}
			state := &call{operation: c.Operation, request: newRequest(t, c.Operation), newResult: func() result { return newResult(t, c.Operation) }}
			out, err := state.read(resp)
			if c.Error != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.Error.Code, e.Code)
				require.Equal(t, c.Error.Message, e.Message)
				require.Equal(t, c.Headers["x-amzn-requestid"], e.ResponseMetadata.RequestId)
				require.Equal(t, c.Status, e.ResponseMetadata.HTTPStatusCode)
				return
			}
			require.NoError(t, err)
			want := newResult(t, c.Operation)
			require.NoError(t, json.Unmarshal(c.Output, want))
			if want, ok := want.(*RegisterUsageResult); ok { // encoding/json does not see the signature
				var output struct{ Signature string }
				require.NoError(t, json.Unmarshal(c.Output, &output))
				want.Signature = output.Signature
			}
			require.Equal(t, c.Headers["x-amzn-requestid"], out.metadata().RequestId)
			*out.metadata() = ResponseMetadata{}
			require.Equal(t, want, out)
		})
	}
}

func TestWriteTime(t *testing.T) {
	second := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		time time.Time
		want string
	}{
		"whole":                   {second, "1795428000"},
		"other zone":              {second.In(time.FixedZone("", 3600)), "1795428000"},
		"milliseconds":            {second.Add(123 * time.Millisecond), "1795428000.123"},
		"no trailing zeros":       {second.Add(500 * time.Millisecond), "1795428000.5"},
		"leading zeros":           {second.Add(7 * time.Millisecond), "1795428000.007"},
		"cut, not rounded":        {second.Add(time.Second - 1), "1795428000.999"},
		"cut to whole":            {second.Add(time.Millisecond - 1), "1795428000"},
		"epoch":                   {time.Unix(0, 0), "0"},
		"before the epoch":        {time.Unix(-2, 5e8), "-1.5"},
		"cut before the epoch":    {time.Unix(-1, 1), "-1"},
		"just before the epoch":   {time.Unix(0, -1), "-0.001"},
		"last of a 4-digit years": {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "253402300799"},
	} {
		t.Run(name, func(t *testing.T) {
			var w writer
			w.time("t", c.time)
			require.Equal(t, `"t":`+c.want, string(w.b))
		})
	}
}

func TestReadTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"1795428000":                             time.Unix(1795428000, 0),
		"1795428000.0":                           time.Unix(1795428000, 0),
		"1.795428E9":                             time.Unix(1795428000, 0),
		"1.795428e+9":                            time.Unix(1795428000, 0),
		"17954280000000e-4":                      time.Unix(1795428000, 0),
		"1795428000.5":                           time.Unix(1795428000, 5e8),
		"1795428000.123":                         time.Unix(1795428000, 123e6),
		"1795428000.123456789":                   time.Unix(1795428000, 123456789),
		"1795428000.1234567899999":               time.Unix(1795428000, 123456789),
		"1795428000." + strings.Repeat("9", 400): time.Unix(1795428000, 999999999),
		"0":                                      time.Unix(0, 0),
		"-1.5":                                   time.Unix(-2, 5e8),
		"0e1000":                                 time.Unix(0, 0),
		"1e-1000":                                time.Unix(0, 0),
		"1e-99999999999999999999":                time.Unix(0, 0),
		"0e99999999999999999999":                 time.Unix(0, 0),
		"0.0000000017e9":                         time.Unix(1, 7e8),
		"0.00000000017":                          time.Unix(0, 0),
		"0.017e-7":                               time.Unix(0, 1),
		"0.01795428000123e11":                    time.Unix(1795428000, 123e6),
		"1795428000123000000e-9":                 time.Unix(1795428000, 123e6),
		"253402300799":                           time.Unix(253402300799, 0),
		"null":                                   {},
	} {
		t.Run(text[:min(len(text), 30)], func(t *testing.T) {
			d := reader{text: text}
			require.True(t, want.Equal(d.time()), text)
			require.NoError(t, d.err)
			require.Equal(t, len(text), d.pos)
		})
	}
	for _, text := range []string{
		`"1795428000"`, "true", "", "-", "1.", ".5", "1e", "1e+", "NaN", "1e400", "1e999999999999", "-1e20",
		"9223372036854775807", "99999999999999999999", "253402300800", "1" + strings.Repeat("0", 2000),
	} {
		t.Run("bad "+text[:min(len(text), 30)], func(t *testing.T) {
			d := reader{text: text}
			d.time()
			require.Error(t, d.err)
		})
	}
}

// TestZeroQuantities: a quantity of 0 is a report too, and is sent.
func TestZeroQuantities(t *testing.T) {
	in := BatchMeterUsageRequest{UsageRecords: []UsageRecord{{UsageAllocations: []UsageAllocation{{}}}}}
	require.Equal(t, `{"UsageRecords":[{"Quantity":0,"UsageAllocations":[{"AllocatedUsageQuantity":0}]}]}`, string(in.appendJSON(nil)))
	require.Equal(t, `{"UsageQuantity":0}`, string((&MeterUsageRequest{}).appendJSON(nil)))
}

func TestReadInteger(t *testing.T) {
	for text, want := range map[string]int32{
		"0": 0, "-0": 0, "7": 7, "2147483647": math.MaxInt32, "-2147483648": math.MinInt32,
		"3.0": 3, "3E0": 3, "0.3e1": 3, "30e-1": 3, "null": 0,
	} {
		d := reader{text: text}
		require.Equal(t, want, d.integer(), text)
		require.NoError(t, d.err, text)
	}
	for _, text := range []string{"2147483648", "3.5", "1e10", "1e400", `"3"`, "[]", "01", "+1", "0x1"} {
		var out BatchMeterUsageResult
		require.Error(t, readDocument(`{"UnprocessedRecords":[{"Quantity":`+text+`}]}`, out.readMember), text)
	}
}

func TestReadString(t *testing.T) {
	for text, want := range map[string]string{
		`""`:                                 "",
		`"abc"`:                              "abc",
		`"\"\\\/\b\f\n\r\t"`:                 "\"\\/\b\f\n\r\t",
		`"\u00e9 é"`:                         "é é",
		`"\ud83d\ude00"`:                     "😀",
		`"\ud83d"`:                           "\ufffd",
		`"\ud83dx"`:                          "\ufffdx",
		`"\ud83d\u0041"`:                     "\ufffdA",
		`"\ud83d\ud83d\ude00"`:               "\ufffd😀",
		`"\ude00"`:                           "\ufffd",
		"\"a\xffb\"":                         "a\ufffdb",
		"\"\xed\xa0\x80\"":                   "\ufffd\ufffd\ufffd",
		`"` + strings.Repeat("x", 1e5) + `"`: strings.Repeat("x", 1e5),
		`null`:                               "",
	} {
		d := reader{text: text}
		require.Equal(t, want, d.string())
		require.NoError(t, d.err)
	}
	for _, text := range []string{`"`, `"abc`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\ud83d\u"`, "\"a\nb\"", "\"\x00\"", "abc", "nul", "1", ""} {
		d := reader{text: text}
		d.string()
		require.Error(t, d.err, text)
	}
}

func TestReadDocument(t *testing.T) {
	read := func(text string) (BatchMeterUsageResult, error) {
		var out BatchMeterUsageResult
		err := readDocument(text, out.readMember)
		return out, err
	}
	for name, text := range map[string]string{
		"unknown members": `{"New":{"a":[1,-2.5e3,"x\u0041",true,false,null,{}]},"Results":[{"Extra":[[]],"Status":"Success","UsageRecord":{"Later":{}}}]}`,
		"white space":     " \t\r\n{ \"Results\" : [ { \"Status\" : \"Success\" } ] } \n",
		"nulls":           `{"Results":[{"Status":"Success","MeteringRecordId":null,"UsageRecord":null}],"UnprocessedRecords":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			out, err := read(text)
			require.NoError(t, err)
			require.Len(t, out.Results, 1)
			require.Equal(t, StatusSuccess, out.Results[0].Status)
		})
	}
	for name, text := range map[string]string{
		"empty":            "",
		"white space only": "  ",
		"null":             "null",
		"list":             "[]",
		"string":           `"x"`,
		"number":           "1",
		"cut short":        `{"Results":[{"Status":"Suc`,
		"cut after value":  `{"Results":[]`,
		"two documents":    `{}{}`,
		"many elements":    `{"Results":[` + strings.Repeat("{},", 2e6) + `{}]}`,
		"many nulls":       `{"UnprocessedRecords":[` + strings.Repeat("null,", 1e6) + `{}]}`,
		"a huge number":    `{"Results":[{"UsageRecord":{"Timestamp":` + strings.Repeat("7", 8e6) + `}}]}`,
		"a huge quantity":  `{"Results":[{"UsageRecord":{"Quantity":1.` + strings.Repeat("7", 8e6) + `}}]}`,
		"more bytes":       `{} x`,
		"a NUL":            "\x00",
		"wrong kind":       `{"Results":{}}`,
		"wrong element":    `{"Results":[1]}`,
		"trailing comma":   `{"Results":[],}`,
		"no comma":         `{"Results":[] "UnprocessedRecords":[]}`,
		"name not quoted":  `{Results:[]}`,
		"null as a name":   `{null:1}`,
		"no colon":         `{"Results" []}`,
		"byte order mark":  "\ufeff{}",
		"too deep":         `{"x":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`,
		"far too deep":     `{"x":` + strings.Repeat("[", 1e6),
		"bad literal":      `{"x":tru}`,
		"bad number":       `{"x":-}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(text)
			require.Error(t, err)
		})
	}
	t.Run("a number with many decimals", func(t *testing.T) {
		out, err := read(`{"Results":[{"UsageRecord":{"Timestamp":1795428000.` + strings.Repeat("7", 8e6) + `}}]}`)
		require.NoError(t, err)
		require.Equal(t, 777777777, out.Results[0].UsageRecord.Timestamp.Nanosecond())
	})
	t.Run("just not too deep", func(t *testing.T) {
		_, err := read(`{"x":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`)
		require.NoError(t, err)
	})
	t.Run("an unknown status is kept", func(t *testing.T) {
		out, err := read(`{"Results":[{"Status":"Deferred"}]}`)
		require.NoError(t, err)
		require.Equal(t, UsageRecordResultStatus("Deferred"), out.Results[0].Status)
	})
	t.Run("lists do not grow into each other", func(t *testing.T) {
		out, err := read(`{"Results":[{"UsageRecord":{"UsageAllocations":[{"Tags":[{"Key":"a"}]},{"Tags":[{"Key":"b"}]}]}},{}]}`)
		require.NoError(t, err)
		allocations := out.Results[0].UsageRecord.UsageAllocations
		_ = append(allocations[0].Tags, Tag{Key: "x"})
		require.Equal(t, "b", allocations[1].Tags[0].Key)
	})
}

// TestWriteThenRead compares random records with what encoding/json and this
// package's own reader make of their JSON.
func TestWriteThenRead(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		want := randomRecord(random)
		requireRoundTrip(t, want)
	}
}

func requireRoundTrip(t testing.TB, record UsageRecord) {
	var w writer
	w.usageRecord(&record)
	require.True(t, json.Valid(w.b), "%q", w.b)

	want := record
	if !want.Timestamp.IsZero() {
		want.Timestamp = time.UnixMilli(record.Timestamp.UnixMilli()).UTC()
	}
	if len(want.UsageAllocations) == 0 {
		want.UsageAllocations = nil
	}

	d := reader{text: string(w.b)}
	var got UsageRecord
	readUsageRecord(&d, &got)
	require.NoError(t, d.err, "%q", w.b)
	require.Equal(t, len(w.b), d.pos)
	require.Equal(t, want, got, "%q", w.b)

	var again writer
	again.usageRecord(&got)
	require.Equal(t, string(w.b), string(again.b), "a record that was read is sent as it came")

	var std struct {
		Timestamp                                                       float64
		CustomerIdentifier, CustomerAWSAccountId, LicenseArn, Dimension string
		Quantity                                                        int32
		UsageAllocations                                                []UsageAllocation
	}
	require.NoError(t, json.Unmarshal(w.b, &std))
	require.Equal(t, want.Dimension, std.Dimension)
	require.Equal(t, want.CustomerIdentifier, std.CustomerIdentifier)
	require.Equal(t, want.Quantity, std.Quantity)
	require.Equal(t, len(want.UsageAllocations), len(std.UsageAllocations))
	for i := range std.UsageAllocations {
		require.Equal(t, want.UsageAllocations[i], std.UsageAllocations[i])
	}
}

func randomRecord(random *rand.Rand) UsageRecord {
	r := UsageRecord{
		CustomerIdentifier:   randomText(random),
		CustomerAWSAccountId: randomText(random),
		LicenseArn:           randomText(random),
		Dimension:            randomText(random),
		Quantity:             random.Int32(),
	}
	if random.IntN(4) > 0 {
		r.Timestamp = time.Unix(random.Int64N(8e9)-4e9, random.Int64N(1e9)).UTC()
	}
	for range random.IntN(3) {
		a := UsageAllocation{AllocatedUsageQuantity: random.Int32()}
		for range random.IntN(3) {
			a.Tags = append(a.Tags, Tag{randomText(random), randomText(random)})
		}
		r.UsageAllocations = append(r.UsageAllocations, a)
	}
	return r
}

func randomText(random *rand.Rand) string {
	runes := make([]rune, random.IntN(8))
	for i := range runes {
		switch random.IntN(4) {
		case 0:
			runes[i] = rune(random.IntN(0x30)) // control characters, quotes
		case 1:
			runes[i] = rune(random.IntN(0x110000))
		default:
			runes[i] = rune(' ' + random.IntN(0x60))
		}
	}
	return strings.ToValidUTF8(string(runes), "")
}

func TestWriteString(t *testing.T) {
	for _, s := range []string{"", "a", `"\`, "\x00\x1f\x7f", "é😀\u2028", "a\xffb", "\xed\xa0\x80", "\xf0\x9f"} {
		var w writer
		w.string(s)
		var got string
		require.NoError(t, json.Unmarshal(w.b, &got), "%q", w.b)
		want := ""
		for _, r := range s { // each bad byte is a U+FFFD
			want += string(r)
		}
		require.Equal(t, want, got)
	}
}

func TestEncodedLen(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		in := BatchMeterUsageRequest{ProductCode: randomText(random)}
		for range random.IntN(26) {
			in.UsageRecords = append(in.UsageRecords, randomRecord(random))
		}
		if n := in.encodedLen(); n < maxBatchBytes {
			require.LessOrEqual(t, len(in.appendJSON(nil)), n, "the cheap bound is one")
		} else {
			require.Equal(t, len(in.appendJSON(nil)), n)
		}
	}
	in := BatchMeterUsageRequest{UsageRecords: []UsageRecord{{Dimension: strings.Repeat("x", maxBatchBytes)}}}
	require.Equal(t, len(in.appendJSON(nil)), in.encodedLen())
}

func FuzzReadResult(f *testing.F) {
	var cases []struct{ Body string }
	readJSON(f, "testdata/golden/responses.json", &cases)
	for _, c := range cases {
		f.Add(c.Body)
	}
	f.Add(`{"Results":[{"UsageRecord":{"Timestamp":1.5e9,"Quantity":3.0}}],"x":"\ud83d\ude00"}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, op := range operations {
			out := newResult(t, op)
			err := readDocument(text, out.readMember)

			var std map[string]any
			stdErr := json.Unmarshal([]byte(text), &std)
			if err == nil {
				require.NoError(t, stdErr, "encoding/json refuses what was read")
				require.NotNil(t, std)
			}
			if batch, ok := out.(*BatchMeterUsageResult); ok && err == nil {
				for _, r := range batch.UnprocessedRecords {
					requireValidText(t, reflect.ValueOf(r))
				}
			}
		}
	})
}

func requireValidText(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		require.True(t, utf8.ValidString(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			requireValidText(t, v.Index(i))
		}
	case reflect.Struct:
		if _, ok := v.Interface().(time.Time); ok {
			return
		}
		for i := range v.NumField() {
			requireValidText(t, v.Field(i))
		}
	}
}

func FuzzReadError(f *testing.F) {
	f.Add(400, "", `{"__type":"com.amazonaws#ThrottlingException:http://x","message":"m"}`)
	f.Add(502, "", "<html>")
	f.Add(400, "DuplicateRequestException:http://internal.example/", `{"Message":null,"code":3}`)
	f.Add(400, "", `{"message":"EXAMPLEq7dZtoken was wrong"}`)
	f.Fuzz(func(t *testing.T, status int, header, body string) {
		const token = "EXAMPLEq7dZtoken"
		resp := answer(status, body)
		resp.Header["X-Amzn-Errortype"] = []string{header}
		state := &call{operation: opResolveCustomer, request: &ResolveCustomerRequest{RegistrationToken: token}, newResult: func() result { return new(ResolveCustomerResult) }}
		out, err := state.read(resp)
		if err == nil {
			require.Equal(t, 2, status/100)
			require.NotEmpty(t, out.(*ResolveCustomerResult).CustomerAWSAccountId+out.(*ResolveCustomerResult).CustomerIdentifier)
			return
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Code)
		require.Equal(t, status, e.ResponseMetadata.HTTPStatusCode)
		require.LessOrEqual(t, len(e.Message), maxMessage)
		require.NotContains(t, err.Error(), token)
	})
}

func FuzzWriteThenRead(f *testing.F) {
	f.Add("c", "1", "arn", "d", int32(3), int64(1795428000), int64(999999999), int32(3), "k", "v")
	f.Add("\x00", "\"\\", "é\u2028", "😀", int32(-1), int64(-1), int64(1), int32(0), "", "")
	f.Fuzz(func(t *testing.T, customer, account, arn, dimension string, quantity int32, seconds, nanos int64, allocated int32, key, value string) {
		for _, s := range []*string{&customer, &account, &arn, &dimension, &key, &value} {
			*s = strings.ToValidUTF8(*s, "")
		}
		requireRoundTrip(t, UsageRecord{
			Timestamp:            time.Unix(seconds%maxEpochSeconds, nanos%1e9).UTC(),
			CustomerIdentifier:   customer,
			CustomerAWSAccountId: account,
			LicenseArn:           arn,
			Dimension:            dimension,
			Quantity:             quantity,
			UsageAllocations:     []UsageAllocation{{allocated, []Tag{{key, value}}}},
		})
	})
}

func TestAnswersShareNoBuffer(t *testing.T) {
	first, err := readBody(answer(200, `{"MeteringRecordId":"first"}`))
	require.NoError(t, err)
	_, err = readBody(answer(200, `{"MeteringRecordId":"other"}`))
	require.NoError(t, err)
	require.Equal(t, `{"MeteringRecordId":"first"}`, first)
}
