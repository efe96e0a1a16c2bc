package meteringtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Server is a [Service] that listens: on a socket of its own at 127.0.0.1, or
// in memory. Make one with [NewServer].
type Server struct {
	*Service

	// URL is where the service answers, without a slash at the end: such as
	// http://127.0.0.1:41234, or http://metering.test for a server in memory,
	// which only Client and Config reach.
	URL string

	http    *http.Server
	client  *http.Client
	done    chan struct{}
	working sync.RWMutex // read-locked by each request
}

// NewServer starts a service on a free port, or with [Options.InMemory] on a
// listener in memory. It panics if there is no port, since a test can do
// nothing about it. Call Close when done.
func NewServer(optFns ...func(*Options)) *Server {
	service := NewService(optFns...)
	s := &Server{
		Service: service,
		// net/http/httptest would do this too, but adds a flag to every
		// program that imports it.
		http: &http.Server{ReadHeaderTimeout: 10 * time.Second},
		done: make(chan struct{}),
	}
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.working.RLock()
		defer s.working.RUnlock()
		service.ServeHTTP(w, r)
	})
	var l net.Listener
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	if service.opts.InMemory {
		m := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		l, transport.DialContext = m, m.dial
		s.URL = "http://metering.test"
	} else {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			panic(fmt.Sprintf("meteringtest: NewServer: %v", err))
		}
		s.URL = "http://" + l.Addr().String()
	}
	s.client = &http.Client{Transport: transport}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // returns http.ErrServerClosed after Close
	}()
	return s
}

// Close stops listening, cuts every connection, Client's idle ones included, and
// waits for the work that was begun. The records can still be read. Closing
// again does nothing.
func (s *Server) Close() {
	s.client.CloseIdleConnections()
	_ = s.http.Close()
	<-s.done
	s.working.Lock() // once the last request is done
	defer s.working.Unlock()
}

// Client returns an HTTP client that reaches the server, always the same one.
// It signs nothing.
func (s *Server) Client() *http.Client { return s.client }

// Config returns a configuration that reaches this server: its Region, its URL
// as BaseEndpoint, the first of its Credentials, and, for a server in memory,
// Client as HTTPClient. Everything else has its default, so retries wait as
// long as they would in production.
func (s *Server) Config() aws.Config {
	cfg := aws.Config{
		Region:       s.opts.Region,
		BaseEndpoint: aws.String(s.URL),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return s.opts.Credentials[0], nil
		}),
	}
	if s.opts.InMemory {
		cfg.HTTPClient = s.client
	}
	return cfg
}

// memoryListener accepts the server's ends of pipes. A goroutine that waits on
// a pipe counts as blocked in testing/synctest; one that waits on a socket does
// not.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "metering.test:80" }
