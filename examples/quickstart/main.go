// Quickstart walks a seller's path through the AWS Marketplace Metering
// Service: a buyer arrives, usage is reported, a container registers.
//
//	go run ./examples/quickstart
//
// calls the simulated service in its own process: no account, no credentials,
// no network. With -endpoint URL it calls any other server in the same way,
// with the credentials test and test; flags say what that server knows:
//
//	go run ./examples/quickstart -endpoint http://127.0.0.1:8085 -product-code prod-1 -token TOKEN
//
// With -aws it calls AWS itself, with the ordinary configuration (environment,
// shared files, roles). What it reports there is billed to a real buyer, so each
// step waits for the flags that it needs:
//
//	go run ./examples/quickstart -aws -token TOKEN
//	go run ./examples/quickstart -aws -product-code P -dimension D -quantity 3 -account 123456789012
package main

import (
	"cmp"
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
	var u usage
	u.addFlags(flags)
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
		p = u.asFarAsGiven()
	case *endpoint != "":
		cfg.Region = "us-east-1"
		cfg.Credentials = credentials.NewStaticCredentialsProvider("test", "test", "")
		p = u.whole()
	default:
		srv := meteringtest.NewServer()
		defer srv.Close()
		cfg = srv.Config()
		u.token = subscribe(srv)
		p = u.whole()
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

// subscribe makes happen in the simulated service what happens at AWS
// Marketplace, and returns the token that the buyer's browser brings.
func subscribe(srv *meteringtest.Server) (token string) {
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	buyer := srv.Subscribe("prod-1", "123456789012")
	fmt.Print("A buyer subscribes to prod-1 on AWS Marketplace, and arrives with a token.\n\n")
	return srv.RegistrationToken(buyer)
}

// usage is what the flags say. A quantity below 0 is not given.
type usage struct {
	token, productCode, dimension, account, licenseArn string
	quantity, keyVersion                               int64
}

func (u *usage) addFlags(flags *flag.FlagSet) {
	u.quantity = -1
	flags.StringVar(&u.token, "token", "", "registration `token`, for ResolveCustomer")
	flags.StringVar(&u.productCode, "product-code", "", "`product` to report for (prod-1, but on AWS)")
	flags.StringVar(&u.dimension, "dimension", "", "`dimension` to report (users, but on AWS)")
	flags.Func("quantity", "`quantity` to report for the last hour, which it closes (12, but on AWS)", func(s string) (err error) {
		u.quantity, err = strconv.ParseInt(s, 10, 32)
		return err
	})
	flags.StringVar(&u.account, "account", "", "buyer's AWS `account`, for BatchMeterUsage; on AWS, MeterUsage is called without it (123456789012, but on AWS)")
	flags.StringVar(&u.licenseArn, "license-arn", "", "buyer's `licence`, instead of -product-code where the product has concurrent agreements")
	flags.Func("key-version", "`version` of the product's public key, for RegisterUsage (1, but on AWS)", func(s string) (err error) {
		u.keyVersion, err = strconv.ParseInt(s, 10, 32)
		return err
	})
}

// lastHour is the hour to report: it is over, and the first report closes it.
var lastHour = time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)

func (u usage) record() metering.UsageRecord {
	return metering.UsageRecord{
		Timestamp:            lastHour,
		CustomerAWSAccountId: u.account,
		LicenseArn:           u.licenseArn,
		Dimension:            u.dimension,
		Quantity:             int32(u.quantity),
	}
}

// asFarAsGiven has the requests that the flags are enough for, and nothing
// that nobody asked for.
func (u usage) asFarAsGiven() (p path) {
	if u.token != "" {
		p.resolve = &metering.ResolveCustomerRequest{RegistrationToken: u.token}
	}
	switch {
	case u.quantity < 0:
	case u.account != "":
		p.batch = &metering.BatchMeterUsageRequest{ProductCode: u.productCode, UsageRecords: []metering.UsageRecord{u.record()}}
	default:
		p.meter = &metering.MeterUsageRequest{ProductCode: u.productCode, Timestamp: lastHour, UsageDimension: u.dimension, UsageQuantity: int32(u.quantity)}
	}
	if u.keyVersion > 0 {
		p.register = &metering.RegisterUsageRequest{ProductCode: u.productCode, PublicKeyVersion: int32(u.keyVersion), Nonce: metering.NewClientToken()}
	}
	return p
}

// whole has all the requests, with defaults for what the flags leave out, and
// records that a server refuses.
func (u usage) whole() path {
	u.productCode = cmp.Or(u.productCode, "prod-1")
	u.dimension = cmp.Or(u.dimension, "users")
	u.keyVersion = cmp.Or(u.keyVersion, 1)
	if u.quantity < 0 {
		u.quantity = 12
	}
	software := u
	software.account = ""
	p := software.asFarAsGiven()

	u.account = cmp.Or(u.account, "123456789012")
	if u.licenseArn != "" {
		u.productCode = ""
	}
	accepted, refused, duplicate := u.record(), u.record(), u.record()
	refused.CustomerAWSAccountId = "999999999999"
	duplicate.Quantity++
	p.batch = &metering.BatchMeterUsageRequest{ProductCode: u.productCode, UsageRecords: []metering.UsageRecord{accepted, refused, duplicate}}
	return p
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
