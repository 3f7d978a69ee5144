package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cents is money. It becomes a decimal fraction only in JSON.
type cents int64

func (c cents) decimal() float64 { return float64(c) / 100 }

// A number of JSON in hundredths, exactly.
func hundredths(number json.Number) (int64, error) {
	whole, fraction, _ := strings.Cut(number.String(), ".")
	if len(fraction) > 2 {
		return 0, fmt.Errorf("%s has more than two decimals", number)
	}
	return strconv.ParseInt(whole+fraction+"00"[len(fraction):], 10, 64)
}

type product struct {
	id       int64
	text     string // the id as JSON has it
	name     string
	price    cents
	category string
}

type productOut struct {
	ID       string  `json:"id"`
	Name     string  `json:"name"`
	Price    float64 `json:"price"`
	Category string  `json:"category"`
}

func (p product) out() productOut {
	return productOut{p.text, p.name, p.price.decimal(), p.category}
}

// coupon: value is hundredths of a percent, or cents.
type coupon struct {
	code                  string
	kind                  string
	value                 int64
	minSubtotal           cents
	minItems              int64
	validFrom, validUntil *time.Time
}

// apiKey is whose a key is, and what it may do.
type apiKey struct {
	user      string
	scopes    []string
	expiresAt *time.Time
}

// catalogue is the reference data of the fixtures. Products, keys and the menu's bytes are kept in memory; the coupons
// go to the database.
type catalogue struct {
	menu         []byte
	etag         string
	products     map[string]product
	productBytes map[string][]byte
	keys         map[[sha256.Size]byte]apiKey
	coupons      []coupon
}

func readCatalogue(folder string) (*catalogue, error) {
	made := &catalogue{
		products:     map[string]product{},
		productBytes: map[string][]byte{},
		keys:         map[[sha256.Size]byte]apiKey{},
	}
	for _, read := range []func(string) error{made.readProducts, made.readUsers, made.readCoupons} {
		if err := read(folder); err != nil {
			return nil, fmt.Errorf("the fixtures in %q: %w", folder, err)
		}
	}
	return made, nil
}

func readJSON(folder, name string, into any) error {
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (c *catalogue) readProducts(folder string) error {
	var entries []struct {
		ID, Name, Category string
		Price              json.Number
	}
	if err := readJSON(folder, "products.json", &entries); err != nil {
		return err
	}
	menu := make([]productOut, 0, len(entries))
	for _, entry := range entries {
		id, err := strconv.ParseInt(entry.ID, 10, 64)
		if err != nil {
			return err
		}
		price, err := hundredths(entry.Price)
		if err != nil {
			return err
		}
		one := product{id, entry.ID, entry.Name, cents(price), entry.Category}
		menu = append(menu, one.out())
		c.products[entry.ID] = one
		if c.productBytes[entry.ID], err = json.Marshal(one.out()); err != nil {
			return err
		}
	}
	var err error
	c.menu, err = json.Marshal(menu)
	digest := sha256.Sum256(c.menu)
	c.etag = `"` + hex.EncodeToString(digest[:16]) + `"`
	return err
}

func (c *catalogue) readUsers(folder string) error {
	var entries []struct {
		ID   string
		Keys []struct {
			Hash      string
			Scopes    []string
			ExpiresAt *time.Time
		}
	}
	if err := readJSON(folder, "users.json", &entries); err != nil {
		return err
	}
	for _, entry := range entries {
		for _, key := range entry.Keys {
			var digest [sha256.Size]byte
			if _, err := hex.Decode(digest[:], []byte(strings.TrimPrefix(key.Hash, "sha256:"))); err != nil {
				return err
			}
			c.keys[digest] = apiKey{entry.ID, key.Scopes, key.ExpiresAt}
		}
	}
	return nil
}

func (c *catalogue) readCoupons(folder string) error {
	var entries []struct {
		Code, Kind            string
		Value, MinSubtotal    json.Number
		MinItems              int64
		ValidFrom, ValidUntil *time.Time
	}
	if err := readJSON(folder, "coupons.json", &entries); err != nil {
		return err
	}
	for _, entry := range entries {
		one := coupon{
			code: strings.ToUpper(entry.Code), kind: entry.Kind, minItems: entry.MinItems,
			validFrom: entry.ValidFrom, validUntil: entry.ValidUntil,
		}
		var err error
		if one.value, err = hundredths(entry.Value); err != nil {
			return err
		}
		least, err := hundredths(entry.MinSubtotal)
		if err != nil {
			return err
		}
		one.minSubtotal = cents(least)
		c.coupons = append(c.coupons, one)
	}
	return nil
}

// userOf says who may order with this key; not allowed is as good as unknown.
func (c *catalogue) userOf(key string, now time.Time) (user string, known bool) {
	found, known := c.keys[sha256.Sum256([]byte(key))]
	if !known || !slices.Contains(found.scopes, "create_order") {
		return "", false
	}
	if found.expiresAt != nil && !now.Before(*found.expiresAt) {
		return "", false
	}
	return found.user, true
}
