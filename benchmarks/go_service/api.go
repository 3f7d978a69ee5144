package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	mostBytes  = 1 << 20
	longestKey = 255
)

type api struct {
	catalogue *catalogue
	store     *store
}

func newAPI(catalogue *catalogue, store *store) map[string]http.HandlerFunc {
	a := &api{catalogue, store}
	return map[string]http.HandlerFunc{
		"GET /health":           health,
		"GET /api/product":      a.listProducts,
		"GET /api/product/{id}": a.getProduct,
		"POST /api/order":       a.placeOrder,
	}
}

func health(w http.ResponseWriter, _ *http.Request) {
	sendBytes(w, http.StatusOK, []byte(`{"status":"healthy"}`))
}

func (a *api) listProducts(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("ETag", a.catalogue.etag)
	header.Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == a.catalogue.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	sendBytes(w, http.StatusOK, a.catalogue.menu)
}

func (a *api) getProduct(w http.ResponseWriter, r *http.Request) {
	body, known := a.catalogue.productBytes[r.PathValue("id")]
	if !known {
		sendError(w, refused{http.StatusNotFound, "not found"})
		return
	}
	sendBytes(w, http.StatusOK, body)
}

func (a *api) placeOrder(w http.ResponseWriter, r *http.Request) {
	made, err := a.order(w, r)
	if err != nil {
		sendError(w, err)
		return
	}
	body, err := json.Marshal(made.out())
	if err != nil {
		sendError(w, err)
		return
	}
	sendBytes(w, http.StatusOK, body)
}

func (a *api) order(w http.ResponseWriter, r *http.Request) (*order, error) {
	now := time.Now().UTC()
	given := r.Header.Get("api_key")
	if given == "" {
		return nil, refused{http.StatusUnauthorized, "an API key is required"}
	}
	user, known := a.catalogue.userOf(given, now)
	if !known {
		return nil, refused{http.StatusForbidden, "forbidden"}
	}
	wanted, err := readOrder(w, r)
	if err != nil {
		return nil, err
	}
	made, err := newOrder(a.catalogue.products, user, wanted, now)
	if err != nil {
		return nil, err
	}
	if wanted.CouponCode != "" {
		found, err := a.store.coupon(r.Context(), strings.ToUpper(wanted.CouponCode))
		if err != nil {
			return nil, err
		}
		if err := made.apply(found); err != nil {
			return nil, err
		}
	}
	return a.stored(r, made, wanted)
}

func readOrder(w http.ResponseWriter, r *http.Request) (orderIn, error) {
	var wanted orderIn
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBytes))
	if err != nil {
		return wanted, refused{http.StatusRequestEntityTooLarge, "the body is too long or broken off"}
	}
	if err := json.Unmarshal(body, &wanted); err != nil {
		return wanted, invalid("the body is not an order")
	}
	return wanted, wanted.check()
}

func (a *api) stored(r *http.Request, made *order, wanted orderIn) (*order, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return made, a.store.add(r.Context(), made)
	}
	if len(key) > longestKey {
		return nil, invalid("the Idempotency-Key is too long")
	}
	text, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	fingerprint := sha256.Sum256(text)
	return a.store.addOnce(r.Context(), made, key, fingerprint[:])
}

func sendBytes(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

func sendError(w http.ResponseWriter, err error) {
	var why refused
	if !errors.As(err, &why) {
		slog.Error("a request failed", "error", err.Error())
		why = refused{http.StatusInternalServerError, "internal error"}
	}
	body, _ := json.Marshal(map[string]string{"detail": why.detail}) // strings always become JSON
	sendBytes(w, why.status, body)
}
