package meteringtest

import "time"

// quotas are AWS's, in requests a second for an account in a Region.
// ResolveCustomer has none that is known.
var quotas = map[string]float64{"BatchMeterUsage": 10, "MeterUsage": 10, "RegisterUsage": 5}

// bucket is a token bucket that holds as much as a second fills.
type bucket struct {
	tokens float64
	at     time.Time // when tokens was right
}

// takeToken counts a request against its account's quota and tells whether it
// is within it. A request over the quota costs nothing.
func (s *Service) takeToken(now time.Time, account, operation string) bool {
	rate := quotas[operation]
	if !s.opts.Quotas || rate == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{account, operation}
	b := s.buckets[key]
	if b == nil {
		b = &bucket{rate, now}
		s.buckets[key] = b
	}
	if now.After(b.at) { // the test may turn its clock back
		b.tokens = min(rate, b.tokens+rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	// A little less than a whole token is the rounding of the sum above.
	if b.tokens < 1-1e-9 {
		return false
	}
	b.tokens--
	return true
}
