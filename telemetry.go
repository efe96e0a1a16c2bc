package metering

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
)

// telemetryScope names this package to tracers and meters.
const telemetryScope = "github.com/seed-b0a93349/metering"

// telemetry gives spans and durations of an operation's calls to the
// providers of the options, under the names that AWS's clients use.
type telemetry struct {
	operation operation
	tracer    tracing.Tracer
	meter     metrics.Meter
	durations map[string]metrics.Float64Histogram // nil if nobody measures
	idle      bool                                // nobody traces or measures
}

// durations are the instruments, with what they measure.
var durations = map[string]string{
	"client.call.duration":                       "A call, with its retries.",
	"client.call.serialization_duration":         "Writing a request.",
	"client.call.auth.resolve_identity_duration": "Getting credentials.",
	"client.call.auth.signing_duration":          "Signing a request.",
	"client.call.deserialization_duration":       "Reading an answer.",
}

func newTelemetry(op operation, o *Options) (*telemetry, error) {
	t := &telemetry{
		operation: op,
		tracer:    o.TracerProvider.Tracer(telemetryScope),
		meter:     o.MeterProvider.Meter(telemetryScope),
	}
	_, unmeasured := o.MeterProvider.(metrics.NopMeterProvider)
	_, untraced := o.TracerProvider.(*tracing.NopTracerProvider)
	t.idle = unmeasured && untraced
	if unmeasured {
		return t, nil
	}
	t.durations = map[string]metrics.Float64Histogram{}
	for name, description := range durations {
		histogram, err := t.meter.Float64Histogram(name, func(o *metrics.InstrumentOptions) {
			o.UnitLabel = "s"
			o.Description = description
		})
		if err != nil {
			return nil, fmt.Errorf("meter provider: %w", err)
		}
		t.durations[name] = histogram
	}
	return t, nil
}

// begin starts a part of a call, which ends when the returned function is
// called. What the part calls gets the returned context.
func (t *telemetry) begin(ctx context.Context, span, duration string) (_ context.Context, end func()) {
	if t.idle {
		return ctx, func() {}
	}
	ctx, s := t.tracer.StartSpan(ctx, span)
	start := time.Now()
	return ctx, func() {
		t.record(ctx, duration, start)
		s.End()
	}
}

func (t *telemetry) record(ctx context.Context, duration string, start time.Time) {
	if histogram := t.durations[duration]; histogram != nil {
		histogram.Record(ctx, time.Since(start).Seconds(), func(o *metrics.RecordMetricOptions) {
			o.Properties.Set("rpc.service", ServiceID)
			o.Properties.Set("rpc.method", string(t.operation))
		})
	}
}

// wrap puts a span and a duration around whole calls.
func (t *telemetry) wrap(next middleware.Handler) middleware.Handler {
	if t.idle {
		return next
	}
	return middleware.HandlerFunc(func(ctx context.Context, in any) (out any, metadata middleware.Metadata, err error) {
		ctx = tracing.WithOperationTracer(ctx, t.tracer)
		ctx, span := t.tracer.StartSpan(ctx, ServiceID+"."+string(t.operation), func(o *tracing.SpanOptions) {
			o.Kind = tracing.SpanKindClient
			o.Properties.Set("rpc.system", "aws-api")
			o.Properties.Set("rpc.method", string(t.operation))
			o.Properties.Set("rpc.service", ServiceID)
		})
		defer span.End()
		defer t.record(ctx, "client.call.duration", time.Now())

		out, metadata, err = next.Handle(ctx, in)
		span.SetProperty("error", err != nil)
		if err == nil {
			span.SetStatus(tracing.SpanStatusOK)
			return out, metadata, nil
		}
		span.SetStatus(tracing.SpanStatusError)
		span.SetProperty("exception.type", fmt.Sprintf("%T", err))
		span.SetProperty("exception.message", callOf(ctx).withoutSecrets(err.Error()))
		var answer smithy.APIError
		if errors.As(err, &answer) {
			span.SetProperty("api.error_code", answer.ErrorCode())
			span.SetProperty("api.error_message", answer.ErrorMessage())
			span.SetProperty("api.error_fault", answer.ErrorFault().String())
		}
		return out, metadata, err
	})
}
