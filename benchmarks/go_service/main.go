// The same service as a Go user would write it: net/http and pgx.
//
//	DATABASE_URL=postgres://… FIXTURES_DIR=fixtures go_service -port 8080
//
// It is meant to be good, not slow: the menu's bytes are made once, keys and prices are looked up in memory, one
// transaction stores an order and its lines in one round trip. It is asked for the same things as the others: the
// key, prices, the coupon, the idempotency key; and it has the same on: an access log as JSON to stdout, Prometheus
// metrics, OpenTelemetry's instrumentation of net/http. The sampler and the exporter come from the standard variables.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	port := flag.Int("port", 8080, "where it listens, on 127.0.0.1")
	flag.Parse()
	if err := run(*port); err != nil {
		log.Fatal(err)
	}
}

func run(port int) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	catalogue, err := readCatalogue(os.Getenv("FIXTURES_DIR"))
	if err != nil {
		return err
	}
	store, err := openStore(ctx, os.Getenv("DATABASE_URL"), catalogue.coupons)
	if err != nil {
		return err
	}
	defer store.close()
	endTracing, err := startTracing(ctx)
	if err != nil {
		return err
	}
	defer endTracing()
	return serve(ctx, port, observed(newAPI(catalogue, store)))
}

func serve(ctx context.Context, port int, handler http.Handler) error {
	server := &http.Server{
		Addr:              "127.0.0.1:" + strconv.Itoa(port),
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
