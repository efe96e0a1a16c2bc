package main

import (
	"context"
	"fmt"

	"github.com/seed-b0a93349/metering"
	"github.com/seed-b0a93349/metering/meteringtest"
)

// What the README shows beside the program, so that it is compiled.

var _ = func(ctx context.Context, client *metering.Client, in *metering.BatchMeterUsageRequest) (*metering.BatchMeterUsageResult, error) {
	out, err := client.BatchMeterUsage(ctx, in, func(o *metering.Options) { o.RetryMaxAttempts = 5 })
	return out, err
}

var _ = func(report func(metering.API, string)) {
	srv := meteringtest.NewServer()
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	buyer := srv.Subscribe("prod-1", "123456789012")
	client := metering.NewFromConfig(srv.Config())

	report(client, buyer.CustomerAWSAccountId) // the code under test

	for _, record := range srv.Records() {
		fmt.Println(record.CustomerAWSAccountId, record.Quantity) // what would be billed
	}
}
