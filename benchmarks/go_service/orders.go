package main

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	mostItems    = 100
	mostQuantity = 1000
)

// refused is why a request gets another status than 200.
type refused struct {
	status int
	detail string
}

func (r refused) Error() string { return r.detail }

func invalid(detail string) error { return refused{422, detail} }

type itemIn struct {
	ProductID string `json:"productId"`
	Quantity  int64  `json:"quantity"`
}

type orderIn struct {
	Items      []itemIn `json:"items"`
	CouponCode string   `json:"couponCode,omitempty"`
}

func (o orderIn) check() error {
	if len(o.Items) < 1 || len(o.Items) > mostItems {
		return invalid("an order has 1 to 100 items")
	}
	for _, item := range o.Items {
		if item.Quantity < 1 || item.Quantity > mostQuantity {
			return invalid("a quantity is 1 to 1000")
		}
	}
	return nil
}

// line is a product as it was when it was ordered.
type line struct {
	product
	quantity int64
}

type order struct {
	id         uuid.UUID
	user       string
	lines      []line
	subtotal   cents
	discounts  cents
	couponCode string
	status     string
	createdAt  time.Time
}

func (o *order) total() cents { return o.subtotal - o.discounts }

// newOrder prices what is wanted; those lines that have one product are merged. What the coupon takes off comes later.
func newOrder(menu map[string]product, user string, wanted orderIn, now time.Time) (*order, error) {
	made := &order{id: uuid.New(), user: user, status: "placed", createdAt: now}
	for _, item := range wanted.Items {
		found, known := menu[item.ProductID]
		if !known {
			return nil, invalid("unknown product")
		}
		made.add(found, item.Quantity)
	}
	return made, nil
}

func (o *order) add(wanted product, quantity int64) {
	o.subtotal += wanted.price * cents(quantity)
	at := slices.IndexFunc(o.lines, func(one line) bool { return one.id == wanted.id })
	if at >= 0 {
		o.lines[at].quantity += quantity
	} else {
		o.lines = append(o.lines, line{wanted, quantity})
	}
}

// apply takes off what the coupon is worth.
func (o *order) apply(found coupon) error {
	var units int64
	cheapest := o.lines[0].price
	for _, one := range o.lines {
		units += one.quantity
		cheapest = min(cheapest, one.price)
	}
	switch {
	case found.validFrom != nil && o.createdAt.Before(*found.validFrom):
		return invalid("the coupon is not valid yet")
	case found.validUntil != nil && !o.createdAt.Before(*found.validUntil):
		return invalid("the coupon is no longer valid")
	case units < found.minItems:
		return invalid("too few units for the coupon")
	case o.subtotal < found.minSubtotal:
		return invalid("the subtotal is too low for the coupon")
	}
	o.couponCode = found.code
	switch found.kind {
	case "percent":
		o.discounts = min(o.subtotal, (o.subtotal*cents(found.value)+5_000)/10_000)
	case "amount":
		o.discounts = min(o.subtotal, cents(found.value))
	default:
		o.discounts = cheapest
	}
	return nil
}

type orderOut struct {
	ID         string       `json:"id"`
	Status     string       `json:"status"`
	Items      []itemIn     `json:"items"`
	Products   []productOut `json:"products"`
	CouponCode string       `json:"couponCode,omitempty"`
	Subtotal   float64      `json:"subtotal"`
	Discounts  float64      `json:"discounts"`
	Total      float64      `json:"total"`
	CreatedAt  time.Time    `json:"createdAt"`
}

func (o *order) out() orderOut {
	answer := orderOut{
		ID: o.id.String(), Status: o.status, CouponCode: o.couponCode, CreatedAt: o.createdAt,
		Items: make([]itemIn, 0, len(o.lines)), Products: make([]productOut, 0, len(o.lines)),
		Subtotal: o.subtotal.decimal(), Discounts: o.discounts.decimal(), Total: o.total().decimal(),
	}
	for _, one := range o.lines {
		shown := one.out()
		answer.Items = append(answer.Items, itemIn{shown.ID, one.quantity})
		answer.Products = append(answer.Products, shown)
	}
	return answer
}
