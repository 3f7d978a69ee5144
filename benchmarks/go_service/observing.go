package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
)

// startTracing takes sampler and endpoint from OpenTelemetry's variables, and gives what sends the last spans.
func startTracing(ctx context.Context) (end func(), err error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() {
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = provider.Shutdown(last) // it ends anyway
	}, nil
}

var (
	durations = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "How long answers took.",
	}, []string{"route", "method", "code"})
	inFlight = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "http_requests_in_flight", Help: "Requests that have no answer yet.",
	})
)

// observed puts metrics, spans and the access log around the handlers.
func observed(routes map[string]http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		histogram := durations.MustCurryWith(prometheus.Labels{"route": pattern})
		mux.Handle(pattern, promhttp.InstrumentHandlerDuration(histogram, handler))
	}
	mux.Handle("GET /metrics", promhttp.Handler())
	traced := otelhttp.NewHandler(mux, "request", otelhttp.WithFilter(func(r *http.Request) bool {
		return r.URL.Path != "/health" && r.URL.Path != "/metrics"
	}))
	return accessLog(promhttp.InstrumentHandlerInFlight(inFlight, traced))
}

// answered remembers what an answer was.
type answered struct {
	http.ResponseWriter
	status, bytes int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(body []byte) (int, error) {
	written, err := a.ResponseWriter.Write(body)
	a.bytes += written
	return written, err
}

func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func accessLog(next http.Handler) http.Handler {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		answer := &answered{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r)
		logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", r.Method),
			slog.String("path", r.URL.Path),
			slog.Int("status", answer.status),
			slog.Int("bytes", answer.bytes),
			slog.Duration("duration", time.Since(began)),
			slog.String("client", r.RemoteAddr))
	})
}
