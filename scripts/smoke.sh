#!/usr/bin/env bash
# smoke.sh [BASE_URL]: asks a running order-food what docs/api.md asks it, and stops at the first
# answer that is wrong. It places three orders.
set -euo pipefail
base=${1:-http://localhost:8080}
key=${API_KEY:-apitest}

fail() {
    printf 'wrong: %s\n' "$1" >&2
    exit 1
}

# ask STATUS ARGUMENTS...: an answer's body, when its status is the one that is expected.
ask() {
    local expected=$1 answer status
    shift
    answer=$(curl --silent --show-error --max-time 10 --write-out '\n%{http_code}' "$@") || fail "no answer to curl $*"
    status=${answer##*$'\n'}
    [ "$status" = "$expected" ] || fail "status $status instead of $expected: curl $*: ${answer%$'\n'*}"
    printf '%s' "${answer%$'\n'*}"
}

# expect WHAT BODY TEXT...: each text stands in the body.
expect() {
    local what=$1 body=$2 text
    shift 2
    for text; do
        [[ $body == *"$text"* ]] || fail "$what holds no $text: $body"
    done
    printf 'right: %s\n' "$what"
}

# order STATUS BODY: the answer to an order.
order() {
    ask "$1" --request POST "$base/api/order" --header 'Content-Type: application/json' --header "api_key: $key" --data "$2"
}

basket='"items": [{"productId": "1", "quantity": 2}, {"productId": "3", "quantity": 1}]'

answer=$(ask 200 "$base/health")
expect 'health' "$answer" '{"status":"healthy"}'
answer=$(ask 200 "$base/ready")
expect 'ready' "$answer" '{"status":"ready"}'
answer=$(ask 200 "$base/api/product")
expect 'the menu' "$answer" '"id":"1"' '"id":"10"'
answer=$(ask 200 "$base/api/product/1")
expect 'one product' "$answer" '"name":"Chicken Waffle"' '"price":12.99'
answer=$(ask 404 "$base/api/product/999")
expect 'an unknown product' "$answer" '"code":404'
placed=$(order 200 "{$basket, \"couponCode\": \"SAVE10\"}")
expect 'an order with SAVE10' "$placed" '"subtotal":35.97' '"discounts":3.6' '"total":32.37'
answer=$(order 200 "{$basket, \"couponCode\": \"HAPPYHOURS\"}")
expect 'an order with HAPPYHOURS' "$answer" '"discounts":6.47'
answer=$(order 200 "{$basket}")
expect 'an order without a coupon' "$answer" '"discounts":0' '"total":35.97'
answer=$(order 422 "{$basket, \"couponCode\": \"NOPE\"}")
expect 'an unknown coupon' "$answer" '"code":422'
id=${placed#*\"id\":\"}
id=${id%%\"*}
answer=$(ask 200 "$base/api/order/$id" --header "api_key: $key")
expect 'the order, read back' "$answer" "$placed"
answer=$(ask 401 --request POST "$base/api/order" --data "{$basket}")
expect 'an order without a key' "$answer" '"code":401'
printf 'all right: %s\n' "$base"
