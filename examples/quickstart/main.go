// Quickstart walks a seller's path through the AWS Marketplace Metering
// Service: a buyer arrives, usage is reported, a container registers.
//
//	go run ./examples/quickstart
//
// calls the simulated service in its own process: no account, no credentials,
// no network. With -endpoint URL it calls any other server, and with -aws AWS
// itself, with the ordinary configuration (environment, shared files, roles).
// What it reports there is billed to a real buyer, so each step waits for the
// flags that it needs:
//
//	go run ./examples/quickstart -aws -token TOKEN
//	go run ./examples/quickstart -aws -product-code P -dimension D -quantity 3 -account 123456789012
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// path is the requests that a seller makes. Nil ones are left out.
type path struct {
	resolve  *metering.ResolveCustomerRequest
	batch    *metering.BatchMeterUsageRequest
	meter    *metering.MeterUsageRequest
	register *metering.RegisterUsageRequest
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("quickstart", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "call the server at this `URL` instead of the simulated service")
	onAWS := flags.Bool("aws", false, "call AWS (or -endpoint) with the ordinary AWS configuration")
	fromFlags := pathFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}

	var cfg aws.Config
	var p path
	switch {
	case *onAWS:
		var err error
		if cfg, err = config.LoadDefaultConfig(ctx); err != nil {
			return err
		}
		p = fromFlags()
	case *endpoint != "":
		cfg.Region = "us-east-1"
		cfg.Credentials = credentials.NewStaticCredentialsProvider("test", "test", "")
		p = fromFlags()
	default:
		srv := meteringtest.NewServer()
		defer srv.Close()
		cfg = srv.Config()
		p = simulatedPath(srv)
	}
	client := metering.NewFromConfig(cfg, func(o *metering.Options) {
		if *endpoint != "" {
			o.BaseEndpoint = *endpoint
		}
	})
	return errors.Join(
		resolveCustomer(ctx, client, p.resolve),
		batchMeterUsage(ctx, client, p.batch),
		meterUsage(ctx, client, p.meter),
		registerUsage(ctx, client, p.register),
	)
}

// lastHour is the hour to report: it is over, and the first report closes it.
func lastHour() time.Time { return time.Now().UTC().Truncate(time.Hour).Add(-time.Hour) }

// simulatedPath makes what happens at AWS Marketplace happen in the simulated
// service.
func simulatedPath(srv *meteringtest.Server) path {
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	buyer := srv.Subscribe("prod-1", "123456789012")
	fmt.Println("A buyer subscribes to prod-1 on AWS Marketplace, and arrives with a token.")
	fmt.Println()
	return path{
		resolve: &metering.ResolveCustomerRequest{RegistrationToken: srv.RegistrationToken(buyer)},
		batch: &metering.BatchMeterUsageRequest{
			ProductCode: "prod-1",
			UsageRecords: []metering.UsageRecord{
				{Timestamp: lastHour(), CustomerAWSAccountId: buyer.CustomerAWSAccountId, Dimension: "users", Quantity: 12},
				{Timestamp: lastHour(), CustomerAWSAccountId: "999999999999", Dimension: "users", Quantity: 3},
				{Timestamp: lastHour(), CustomerAWSAccountId: buyer.CustomerAWSAccountId, Dimension: "users", Quantity: 13},
			},
		},
		meter:    &metering.MeterUsageRequest{ProductCode: "prod-1", Timestamp: lastHour(), UsageDimension: "users", UsageQuantity: 12},
		register: &metering.RegisterUsageRequest{ProductCode: "prod-1", PublicKeyVersion: 1, Nonce: metering.NewClientToken()},
	}
}

// pathFlags returns a function that makes the path that the parsed flags ask
// for.
func pathFlags(flags *flag.FlagSet) func() path {
	token := flags.String("token", "", "registration `token`, for ResolveCustomer")
	productCode := flags.String("product-code", "", "`product` to report for")
	dimension := flags.String("dimension", "", "`dimension` to report")
	quantity := int64(-1)
	flags.Func("quantity", "`quantity` to report for the last hour: it is billed, and closes the hour", func(s string) (err error) {
		quantity, err = strconv.ParseInt(s, 10, 32)
		return err
	})
	account := flags.String("account", "", "buyer's AWS `account`, for BatchMeterUsage; without it, MeterUsage is called")
	licenseArn := flags.String("license-arn", "", "buyer's `licence`, instead of -product-code where the product has concurrent agreements")
	keyVersion := flags.Int("key-version", 0, "`version` of the product's public key, for RegisterUsage")
	return func() (p path) {
		if *token != "" {
			p.resolve = &metering.ResolveCustomerRequest{RegistrationToken: *token}
		}
		switch {
		case quantity < 0:
		case *account != "":
			p.batch = &metering.BatchMeterUsageRequest{ProductCode: *productCode, UsageRecords: []metering.UsageRecord{{
				Timestamp:            lastHour(),
				CustomerAWSAccountId: *account,
				LicenseArn:           *licenseArn,
				Dimension:            *dimension,
				Quantity:             int32(quantity),
			}}}
		default:
			p.meter = &metering.MeterUsageRequest{ProductCode: *productCode, Timestamp: lastHour(), UsageDimension: *dimension, UsageQuantity: int32(quantity)}
		}
		if *keyVersion > 0 {
			p.register = &metering.RegisterUsageRequest{ProductCode: *productCode, PublicKeyVersion: int32(*keyVersion), Nonce: metering.NewClientToken()}
		}
		return p
	}
}

// begin names a step, and says so if it is left out.
func begin(step string, needs string, given bool) bool {
	fmt.Println(step)
	if !given {
		fmt.Printf("  left out: it needs %s\n\n", needs)
	}
	return given
}

func resolveCustomer(ctx context.Context, client *metering.Client, in *metering.ResolveCustomerRequest) error {
	if !begin("ResolveCustomer: who is it?", "-token", in != nil) {
		return nil
	}
	customer, err := client.ResolveCustomer(ctx, in)
	if errors.Is(err, metering.ErrExpiredToken) {
		return fmt.Errorf(`the buyer has to choose "Set up your account" on AWS Marketplace again: %w`, err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("  account %s bought %s %s\n\n", customer.CustomerAWSAccountId, customer.ProductCode, customer.LicenseArn)
	return nil
}

func batchMeterUsage(ctx context.Context, client *metering.Client, in *metering.BatchMeterUsageRequest) error {
	if !begin("BatchMeterUsage: a SaaS backend reports the last hour.", "-account, -dimension, -quantity, and -product-code or -license-arn", in != nil) {
		return nil
	}
	out, err := client.BatchMeterUsage(ctx, in)
	if errors.Is(err, metering.ErrUnconfirmed) {
		return fmt.Errorf("send the very same records again: %w", err)
	}
	if err != nil { // none of the records is billed
		return err
	}
	for _, result := range out.Results {
		record, verdict := result.UsageRecord, "NOT BILLED"
		switch result.Status {
		case metering.StatusSuccess:
			verdict = "billed as " + result.MeteringRecordId
		case metering.StatusDuplicateRecord:
			verdict = "the hour has a record already, and the first one stands"
		}
		fmt.Printf("  account %s, %d %s: %s, %s\n", record.CustomerAWSAccountId, record.Quantity, record.Dimension, result.Status, verdict)
	}
	again := append(out.UnprocessedRecords, out.Missing(in.UsageRecords)...)
	fmt.Printf("  %d to be sent again\n\n", len(again))
	return nil
}

func meterUsage(ctx context.Context, client *metering.Client, in *metering.MeterUsageRequest) error {
	if !begin("MeterUsage: software in the buyer's account reports the last hour.", "-product-code, -dimension and -quantity, without -account", in != nil) {
		return nil
	}
	if err := client.CanMeter(ctx, in); err != nil {
		return err
	}
	fmt.Println("  the dry run says that this process may meter")
	in.ClientToken = metering.NewClientToken() // stored with the report, in life, to call again after an error
	out, err := client.MeterUsage(ctx, in)
	if errors.Is(err, metering.ErrUnconfirmed) {
		return fmt.Errorf("call again with ClientToken %s: %w", in.ClientToken, err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("  %d %s: billed as %s\n\n", in.UsageQuantity, in.UsageDimension, out.MeteringRecordId)
	return nil
}

func registerUsage(ctx context.Context, client *metering.Client, in *metering.RegisterUsageRequest) error {
	if !begin("RegisterUsage: a container asks whether its buyer has paid.", "-product-code and -key-version", in != nil) {
		return nil
	}
	out, err := client.RegisterUsage(ctx, in)
	if errors.Is(err, metering.ErrCustomerNotEntitled) {
		return fmt.Errorf("the software must not start: %w", err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("  yes, signed in %d bytes that the software verifies with the product's public key\n", len(out.Signature))
	return nil
}
