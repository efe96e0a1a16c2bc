package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-b0a93349/metering/meteringtest"
)

// output runs the program and returns what it prints.
func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = w
	printed := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		printed <- string(b)
	}()
	err = run(context.Background(), args)
	w.Close()
	return <-printed, err
}

func requireContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}

func TestSimulated(t *testing.T) {
	text, err := output(t)
	if err != nil {
		t.Fatal(err)
	}
	requireContains(t, text, "account 123456789012 bought prod-1",
		"12 users: Success, billed as", "3 users: CustomerNotSubscribed, NOT BILLED", "13 users: DuplicateRecord, the hour has a record already",
		"0 to be sent again", "may meter", "yes, signed in")
}

func TestEndpoint(t *testing.T) {
	srv := meteringtest.NewServer()
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	buyer := srv.Subscribe("prod-1", "123456789012")

	text, err := output(t, "-endpoint", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if n := srv.RequestCount(); n != 0 {
		t.Errorf("%d requests without the flags that steps need", n)
	}
	if n := strings.Count(text, "left out"); n != 4 {
		t.Errorf("%d steps left out in:\n%s", n, text)
	}

	text, err = output(t, "-endpoint", srv.URL, "-token", srv.RegistrationToken(buyer), "-product-code", "prod-1", "-dimension", "users", "-quantity", "3", "-account", buyer.CustomerAWSAccountId)
	if err != nil {
		t.Fatal(err)
	}
	requireContains(t, text, "bought prod-1", "3 users: Success")
	records := srv.Records()
	if len(records) != 1 || records[0].Quantity != 3 || !records[0].Hour.Before(time.Now().Truncate(time.Hour)) {
		t.Errorf("%+v", records)
	}

	_, err = output(t, "-endpoint", srv.URL, "-token", "expired")
	if err == nil || strings.Contains(err.Error(), "expired") {
		t.Errorf("error %v", err)
	}
}

func TestAWS(t *testing.T) {
	srv := meteringtest.NewServer()
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users"}})
	t.Setenv("AWS_ENDPOINT_URL_MARKETPLACE_METERING", srv.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} { // not this machine's
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	t.Setenv("AWS_PROFILE", "")

	text, err := output(t, "-aws", "-product-code", "prod-1", "-dimension", "users", "-quantity", "3", "-key-version", "1")
	if err != nil {
		t.Fatal(err)
	}
	requireContains(t, text, "3 users: billed as", "yes, signed in")
}
