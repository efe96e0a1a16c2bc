package main

import (
	"context"
	"errors"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/seed-b0a93349/metering"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client := metering.NewFromConfig(cfg)

	// An hour that is over. Store the records before they are sent, and never
	// change them: the first report of a buyer, dimension and hour wins.
	lastHour := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	records := []metering.UsageRecord{
		{Timestamp: lastHour, CustomerAWSAccountId: "123456789012", Dimension: "users", Quantity: 12},
		{Timestamp: lastHour, CustomerAWSAccountId: "210987654321", Dimension: "users", Quantity: 0},
	}
	out, err := client.BatchMeterUsage(ctx, &metering.BatchMeterUsageRequest{
		ProductCode:  "your-product-code",
		UsageRecords: records,
	})
	var invalid *metering.ValidationError
	switch {
	case errors.Is(err, metering.ErrUnconfirmed): // ask for this one first
		log.Fatalf("not known to be billed, send the same records again: %v", err)
	case errors.As(err, &invalid):
		log.Fatalf("not sent, these members are wrong: %v", invalid)
	case err != nil:
		log.Fatalf("none is billed, keep the records and send them again when this is mended: %v", err)
	}

	for _, result := range out.Results { // refused records are among them
		switch result.Status {
		case metering.StatusSuccess:
		case metering.StatusDuplicateRecord:
			log.Printf("the hour has a record already, this one or another: %+v", result.UsageRecord)
		default:
			log.Printf("NOT BILLED, %s: %+v", result.Status, result.UsageRecord)
		}
	}
	for _, record := range append(out.UnprocessedRecords, out.Missing(records)...) {
		log.Printf("to be sent again, unchanged: %+v", record)
	}
}
