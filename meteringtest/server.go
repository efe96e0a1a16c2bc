package meteringtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Server is a [Service] on a socket of its own at 127.0.0.1.
type Server struct {
	*Service

	// URL is where the service answers, such as http://127.0.0.1:41234,
	// without a slash at the end.
	URL string

	http *http.Server
	done chan struct{}
}

// NewServer starts a service on a free port. It panics if there is none, since
// a test can do nothing about it. Call Close when done.
func NewServer(optFns ...func(*Options)) *Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("meteringtest: NewServer: %v", err))
	}
	service := NewService(optFns...)
	s := &Server{
		Service: service,
		URL:     "http://" + l.Addr().String(),
		// net/http/httptest would do this too, but adds a flag to every
		// program that imports it.
		http: &http.Server{Handler: service, ReadHeaderTimeout: 10 * time.Second},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // returns http.ErrServerClosed after Close
	}()
	return s
}

// Close stops listening, cuts every connection, and frees the port. The
// records can still be read. Closing again does nothing.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.done
}

// Config returns a configuration that reaches this server: its Region, its URL
// as BaseEndpoint, and credentials that are valid nowhere else. Everything
// else has its default, so retries wait as long as they would in production.
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region:       s.opts.Region,
		BaseEndpoint: aws.String(s.URL),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     "AKIDMETERINGTEST",
				SecretAccessKey: "meteringtest-secret",
				Source:          "meteringtest",
			}, nil
		}),
	}
}
