package metering_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
)

// startService stands in for AWS: a product, a buyer, and the configuration
// that config.LoadDefaultConfig would have returned.
func startService() (srv *meteringtest.Server, buyer meteringtest.Buyer, cfg aws.Config) {
	srv = meteringtest.NewServer()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	return srv, srv.Subscribe("prod-1", "123456789012"), srv.Config()
}

// lastHour is the hour to report: only one that is over is complete.
func lastHour() time.Time { return time.Now().UTC().Truncate(time.Hour).Add(-time.Hour) }

func ExampleClient_ResolveCustomer() {
	srv, buyer, cfg := startService()
	defer srv.Close()
	token := srv.RegistrationToken(buyer) // in life, the form field x-amzn-marketplace-token

	client := metering.NewFromConfig(cfg)
	customer, err := client.ResolveCustomer(context.Background(), &metering.ResolveCustomerRequest{RegistrationToken: token})
	if errors.Is(err, metering.ErrExpiredToken) {
		fmt.Println(`please go back to AWS Marketplace and choose "Set up your account"`)
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(customer.ProductCode, customer.CustomerAWSAccountId)
	// Output: prod-1 123456789012
}

// A nil error says that the service answered, not that it billed: each record
// has a verdict of its own.
func ExampleClient_BatchMeterUsage() {
	srv, buyer, cfg := startService()
	defer srv.Close()

	client := metering.NewFromConfig(cfg)
	records := []metering.UsageRecord{ // stored before they are sent, and never changed
		{Timestamp: lastHour(), CustomerAWSAccountId: buyer.CustomerAWSAccountId, Dimension: "users", Quantity: 12},
		{Timestamp: lastHour(), CustomerAWSAccountId: "999999999999", Dimension: "users", Quantity: 3},
	}
	out, err := client.BatchMeterUsage(context.Background(), &metering.BatchMeterUsageRequest{
		ProductCode:  "prod-1",
		UsageRecords: records,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, result := range out.Results {
		fmt.Println(result.UsageRecord.CustomerAWSAccountId, result.Status)
	}
	fmt.Println("to send again:", len(out.UnprocessedRecords)+len(out.Missing(records)))
	// Output:
	// 123456789012 Success
	// 999999999999 CustomerNotSubscribed
	// to send again: 0
}

// A report that may have to be made again gets its ClientToken before it is
// stored, and is stored before it is sent.
func ExampleClient_MeterUsage() {
	srv, _, cfg := startService()
	defer srv.Close()
	srv.FailNext(3, "InternalServiceErrorException") // more than one call retries
	store := func(metering.MeterUsageRequest) {}     // to disk, say

	report := metering.MeterUsageRequest{
		ProductCode:    "prod-1",
		Timestamp:      lastHour(),
		UsageDimension: "users",
		UsageQuantity:  12,
		ClientToken:    metering.NewClientToken(),
	}
	store(report)

	client := metering.NewFromConfig(cfg)
	_, err := client.MeterUsage(context.Background(), &report)
	if errors.Is(err, metering.ErrUnconfirmed) {
		fmt.Println("not known to be billed: again, unchanged, now or from storage")
		_, err = client.MeterUsage(context.Background(), &report)
	}
	fmt.Println(err, len(srv.Records()))
	// Output:
	// not known to be billed: again, unchanged, now or from storage
	// <nil> 1
}

func ExampleClient_CanMeter() {
	srv, _, cfg := startService()
	defer srv.Close()
	srv.SetEntitled("prod-1", false)

	client := metering.NewFromConfig(cfg)
	err := client.CanMeter(context.Background(), &metering.MeterUsageRequest{
		ProductCode:    "prod-1",
		Timestamp:      lastHour(),
		UsageDimension: "users",
	})
	fmt.Println(errors.Is(err, metering.ErrCustomerNotEntitled))
	// Output: true
}

func ExampleClient_RegisterUsage() {
	srv, _, cfg := startService()
	defer srv.Close()

	client := metering.NewFromConfig(cfg)
	registration, err := client.RegisterUsage(context.Background(), &metering.RegisterUsageRequest{
		ProductCode:      "prod-1",
		PublicKeyVersion: 1,
		Nonce:            "a random value, made for this call",
	})
	if err != nil {
		fmt.Println("not starting:", err)
		return
	}
	// The signature is a JWT to be verified, and is masked when it is printed.
	fmt.Println(registration.Signature != "", registration.PublicKeyRotationTimestamp.IsZero())
	// Output: true true
}

// Errors are matched with errors.Is, and read with errors.As.
func ExampleError() {
	srv, buyer, cfg := startService()
	defer srv.Close()

	client := metering.NewFromConfig(cfg)
	_, err := client.BatchMeterUsage(context.Background(), &metering.BatchMeterUsageRequest{
		ProductCode: "prod-1",
		UsageRecords: []metering.UsageRecord{
			{Timestamp: lastHour(), CustomerAWSAccountId: buyer.CustomerAWSAccountId, Dimension: "seats", Quantity: 12},
		},
	})
	switch {
	case errors.Is(err, metering.ErrUnconfirmed):
		fmt.Println("may be billed: send the same request again")
	case errors.Is(err, metering.ErrThrottling):
		fmt.Println("nothing was done: send it later")
	case errors.Is(err, metering.ErrInvalidUsageDimension):
		fmt.Println("a record is wrong, and all of the request were refused")
	}
	var answer *metering.Error
	if errors.As(err, &answer) {
		fmt.Println(answer.Code, answer.ResponseMetadata.HTTPStatusCode, answer.ResponseMetadata.RequestId != "")
	}
	// Output:
	// a record is wrong, and all of the request were refused
	// InvalidUsageDimensionException 400 true
}

// Everything that is wrong with a request is said at once, before it is sent.
func ExampleValidationError() {
	request := metering.BatchMeterUsageRequest{
		ProductCode: "prod-1",
		UsageRecords: []metering.UsageRecord{
			{CustomerAWSAccountId: "123456789012", Dimension: "users", Quantity: -1},
		},
	}
	var invalid *metering.ValidationError
	if errors.As(request.Validate(), &invalid) {
		for _, v := range invalid.Violations {
			fmt.Println(v.Path, v.Constraint)
		}
	}
	// Output:
	// UsageRecords[0].Timestamp is required
	// UsageRecords[0].Quantity must be at least 0, is -1
}

// What depends on the four operations only can be tested with a fake of them.
func ExampleAPI() {
	var service metering.API = soldOut{}
	_, err := service.ResolveCustomer(context.Background(), &metering.ResolveCustomerRequest{})
	fmt.Println(errors.Is(err, metering.ErrInvalidToken))
	// Output: true
}

type soldOut struct{ metering.API }

func (soldOut) ResolveCustomer(context.Context, *metering.ResolveCustomerRequest, ...func(*metering.Options)) (*metering.ResolveCustomerResult, error) {
	return nil, &metering.Error{Op: "ResolveCustomer", Code: "InvalidTokenException"}
}
