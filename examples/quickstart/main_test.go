package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		"12 users: Success, billed as", "12 users: CustomerNotSubscribed, NOT BILLED", "13 users: DuplicateRecord, the hour has a record already",
		"0 to be sent again", "may meter", "yes, signed in")
}

func TestEndpoint(t *testing.T) {
	srv := meteringtest.NewServer()
	defer srv.Close()
	srv.AddProduct(meteringtest.Product{ProductCode: "prod-1", Dimensions: []string{"users", "seats"}})
	buyer := srv.Subscribe("prod-1", "123456789012")

	text, err := output(t, "-endpoint", srv.URL, "-token", srv.RegistrationToken(buyer))
	if err != nil {
		t.Fatal(err)
	}
	requireContains(t, text, "bought prod-1", "12 users: Success, billed as", "CustomerNotSubscribed", "DuplicateRecord", "may meter", "yes, signed in")

	text, err = output(t, "-endpoint", srv.URL, "-dimension", "seats", "-quantity", "3")
	if err != nil {
		t.Fatal(err)
	}
	requireContains(t, text, "left out: it needs -token", "3 seats: Success")
	if n := len(srv.Records()); n != 4 {
		t.Errorf("%d records", n)
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
	for _, setting := range os.Environ() { // not this machine's configuration
		if name, value, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // puts it back in the end
			os.Unsetenv(name)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_ENDPOINT_URL_MARKETPLACE_METERING": srv.URL,
	} {
		t.Setenv(name, value)
	}

	text, err := output(t, "-aws")
	if err != nil {
		t.Fatal(err)
	}
	if n := srv.RequestCount(); n != 0 || strings.Count(text, "left out") != 4 {
		t.Errorf("%d requests without the flags that steps need, and\n%s", n, text)
	}
	text, err = output(t, "-aws", "-product-code", "prod-1", "-dimension", "users", "-quantity", "3", "-key-version", "1")
	if err != nil {
		t.Fatal(err)
	}
	requireContains(t, text, "3 users: billed as", "yes, signed in")
}
