package meteringtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is something that goes wrong with requests on purpose. See
// [Service.Inject] for how several of them combine. Requests that name no
// operation or are not signed rightly are refused as ever: no fault hits them.
type Fault struct {
	// Operation is the one to hit, such as BatchMeterUsage; empty for any.
	Operation string

	// Times is how many requests (of the Operation) the fault looks at, the
	// next ones; 0 means every one from now on.
	Times int

	// Probability, of 0 to 1, is how likely each of these requests is hit. 0
	// means 1. The draws come from [Options.Seed].
	Probability float64

	// Latency passes before everything else, on the clock of package time (a
	// bubble's own within testing/synctest), not the service's. If the caller
	// goes away meanwhile, the rest of the wait is left out and the work is
	// done: AWS, too, may bill what nobody waits for.
	Latency time.Duration

	// Code answers with this error and leaves the work undone.
	// InternalServiceErrorException and InternalFailure have the status 500,
	// ServiceUnavailable 503, IdempotencyConflictException 409 and any other
	// 400, unless Status says otherwise. What stands before a # is the code's
	// namespace: com.amazon.coral.service#ExpiredTokenException is about
	// credentials.
	Code string

	// Status and Body answer with these bytes, as a proxy would, and leave the
	// work undone. Status alone has no body; Body alone has status 200.
	Status int
	Body   string

	// DropBefore drops the connection without an answer and leaves the work
	// undone; DropAfter does the work first. Whoever calls ServeHTTP without
	// a net/http.Server around it sees a panic with http.ErrAbortHandler.
	DropBefore bool
	DropAfter  bool

	// CutBody drops the connection after so many bytes of the answer's body; 0,
	// or as many as it has, means that the answer arrives whole.
	CutBody int

	// OmitSuccess is how many records of status Success, the first ones, are
	// left out of BatchMeterUsage's answer, though they are billed.
	OmitSuccess int

	// Unprocessed is how many of BatchMeterUsage's records, the first ones,
	// come back in UnprocessedRecords and are not billed. A request that
	// breaks a rule is refused as ever.
	Unprocessed int
}

// decides tells whether the fault settles what becomes of a request.
func (f *Fault) decides() bool {
	return f.Code != "" || f.Status != 0 || f.Body != "" || f.DropBefore || f.DropAfter || f.CutBody > 0
}

// Inject adds a fault. A request passes the faults in the order of their
// injection: latencies and numbers of records add up, and the first fault that
// answers, drops or cuts settles the request, so that later ones neither see
// nor count it. Within a fault the order is Latency, DropBefore, Code, Status
// and Body, the work, DropAfter, CutBody.
//
// The returned function ends the fault.
//
// Inject panics on an operation that the service does not have, on a number
// below 0, on a Probability above 1, on a Status that HTTP does not have, and on
// Code together with Body or DropAfter.
func (s *Service) Inject(f Fault) (end func()) {
	if f.Operation != "" {
		mustOperation("Inject", f.Operation)
	}
	if f.Times < 0 || f.Latency < 0 || f.CutBody < 0 || f.OmitSuccess < 0 || f.Unprocessed < 0 || !(f.Probability >= 0 && f.Probability <= 1) {
		panic("meteringtest: Inject: give numbers of at least 0, and a Probability of at most 1")
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		panic("meteringtest: Inject: give a Status from 200 to 599")
	}
	if f.Code != "" && (f.Body != "" || f.DropAfter) {
		panic("meteringtest: Inject: give a Code, a Body or DropAfter, not both: with a Code there is no body but its own, and no work")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *Fault) bool { return other == &f })
	}
}

// FailNext answers the next n requests with an error code, such as
// ThrottlingException: short for [Service.Inject] with Times and Code. Each
// attempt of a call counts: most AWS clients make 3 before they give up. It
// panics if n is negative or the code is empty.
func (s *Service) FailNext(n int, code string) {
	if n < 0 || code == "" {
		panic("meteringtest: FailNext: give a number of requests and an error code, such as ThrottlingException")
	}
	if n > 0 {
		s.Inject(Fault{Times: n, Code: code})
	}
}

// nextFault returns all that is to go wrong with a request.
func (s *Service) nextFault(operation string) (sum Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(s.faults); i++ {
		f := s.faults[i]
		if f.Operation != "" && f.Operation != operation {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = append(s.faults[:i], s.faults[i+1:]...)
				i--
			}
		}
		if f.Probability > 0 && s.random.Float64() >= f.Probability {
			continue
		}
		latency, omit, unprocessed := sum.Latency+f.Latency, sum.OmitSuccess+f.OmitSuccess, sum.Unprocessed+f.Unprocessed
		sum = *f // the first that decides, since none after it is looked at
		sum.Latency, sum.OmitSuccess, sum.Unprocessed = latency, omit, unprocessed
		if f.decides() {
			break
		}
	}
	return sum
}

// answer returns what a fault answers instead of the work; nil if it leaves
// the work to be done.
func (f *Fault) answer() *apiError {
	switch {
	case f.Code != "":
		namespace, code, found := strings.Cut(f.Code, "#")
		if !found {
			code = f.Code
		}
		err := refuse(code, "The test asked for this error.")
		if found {
			err.namespace = namespace
		}
		if f.Status != 0 {
			err.status = f.Status
		}
		return err
	case f.Status != 0 || f.Body != "":
		status := f.Status
		if status == 0 {
			status = http.StatusOK
		}
		return &apiError{status: status, raw: &f.Body}
	}
	return nil
}

// wait lets the fault's latency pass.
func (f *Fault) wait(r *http.Request) {
	if f.Latency == 0 {
		return
	}
	timer := time.NewTimer(f.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}
