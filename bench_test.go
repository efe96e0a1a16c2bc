package metering

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The benchmarks measure a call beside its floor: signing the same bytes and
// posting them to the same stub, without any JSON.

var benchCredentials = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}

func benchClient(rt http.RoundTripper) *Client {
	return New(Options{
		Region:      "us-east-1",
		HTTPClient:  &http.Client{Transport: rt},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return benchCredentials, nil }),
	})
}

// stubTransport reads each request and answers it with the same bytes.
type stubTransport struct{ answer []byte }

func (s stubTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	r.Body.Close()
	return &http.Response{
		StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"X-Amzn-Requestid": {"11111111-aaaa-bbbb-cccc-222222222222"},
			"Content-Type":     {"application/x-amz-json-1.1"},
			"Date":             {"Mon, 23 Nov 2026 10:00:00 GMT"},
		},
		ContentLength: int64(len(s.answer)),
		Body:          io.NopCloser(bytes.NewReader(s.answer)),
		Request:       r,
	}, nil
}

// benchRequest has 25 records with 2 allocations of 2 tags each.
func benchRequest() *BatchMeterUsageRequest {
	in := &BatchMeterUsageRequest{}
	for i := range 25 {
		r := UsageRecord{
			Timestamp:            time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
			CustomerAWSAccountId: fmt.Sprintf("%012d", 123456789000+i),
			LicenseArn:           fmt.Sprintf("arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abc%03d", i),
			Dimension:            "active-users",
			Quantity:             10,
		}
		for a := range 2 {
			r.UsageAllocations = append(r.UsageAllocations, UsageAllocation{
				AllocatedUsageQuantity: 5,
				Tags: []Tag{
					{Key: "BusinessUnit", Value: fmt.Sprintf("unit-%03d-%d", i, a)},
					{Key: "Environment", Value: "production"},
				},
			})
		}
		in.UsageRecords = append(in.UsageRecords, r)
	}
	return in
}

func benchAnswer(in *BatchMeterUsageRequest) []byte {
	w := writer{}
	w.open('{')
	w.name("Results")
	w.open('[')
	for i := range in.UsageRecords {
		w.open('{')
		w.text("MeteringRecordId", fmt.Sprintf("35155d37-56cb-423f-8554-5c4f3e3ff5%02d", i))
		w.text("Status", "Success")
		w.name("UsageRecord")
		w.usageRecord(&in.UsageRecords[i])
		w.close('}')
	}
	w.close(']')
	w.name("UnprocessedRecords")
	w.open('[')
	w.close(']')
	w.close('}')
	return w.b
}

func BenchmarkBatchMeterUsage(b *testing.B) {
	in := benchRequest()
	body, answer := in.appendJSON(nil), benchAnswer(in)
	b.Logf("%d bytes out, %d back", len(body), len(answer))
	benchmarkBesideFloor(b, opBatchMeterUsage, body, answer, func(c *Client) error {
		_, err := c.BatchMeterUsage(context.Background(), in)
		return err
	})
}

func BenchmarkMeterUsage(b *testing.B) {
	in := &MeterUsageRequest{
		ProductCode: "prod-1", Timestamp: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		UsageDimension: "active-users", UsageQuantity: 10, ClientToken: NewClientToken(),
	}
	answer := []byte(`{"MeteringRecordId":"35155d37-56cb-423f-8554-5c4f3e3ff56d"}`)
	benchmarkBesideFloor(b, opMeterUsage, in.appendJSON(nil), answer, func(c *Client) error {
		_, err := c.MeterUsage(context.Background(), in)
		return err
	})
}

func benchmarkBesideFloor(b *testing.B, op operation, body, answer []byte, call func(*Client) error) {
	stub := stubTransport{answer}
	b.Run("floor", func(b *testing.B) {
		client, signer := &http.Client{Transport: stub}, v4.NewSigner()
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequest("POST", "https://metering.marketplace.us-east-1.amazonaws.com/", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			req.Header.Set("X-Amz-Target", "AWSMPMeteringService."+string(op))
			hash := sha256.Sum256(body)
			if err := signer.SignHTTP(context.Background(), benchCredentials, req, hex.EncodeToString(hash[:]), signingName, "us-east-1", time.Now()); err != nil {
				b.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	})
	b.Run("client", func(b *testing.B) {
		client := benchClient(stub)
		b.ReportAllocs()
		for b.Loop() {
			if err := call(client); err != nil {
				b.Fatal(err)
			}
		}
	})
}
