#!/usr/bin/env bash
# smoke.sh [BASE_URL]: asks a running order-food what the README asks it, and stops at the first
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

expect 'health' "$(ask 200 "$base/health")" '{"status":"healthy"}'
expect 'ready' "$(ask 200 "$base/ready")" '{"status":"ready"}'
expect 'the menu' "$(ask 200 "$base/api/product")" '"id":"1"' '"id":"10"'
expect 'one product' "$(ask 200 "$base/api/product/1")" '"name":"Chicken Waffle"' '"price":12.99'
expect 'an unknown product' "$(ask 404 "$base/api/product/999")" '"code":404'
placed=$(order 200 "{$basket, \"couponCode\": \"SAVE10\"}")
expect 'an order with SAVE10' "$placed" '"subtotal":35.97' '"discounts":3.6' '"total":32.37'
expect 'an order with HAPPYHOURS' "$(order 200 "{$basket, \"couponCode\": \"HAPPYHOURS\"}")" '"discounts":6.47'
expect 'an order without a coupon' "$(order 200 "{$basket}")" '"discounts":0' '"total":35.97'
expect 'an unknown coupon' "$(order 422 "{$basket, \"couponCode\": \"NOPE\"}")" '"code":422'
id=${placed#*\"id\":\"}
id=${id%%\"*}
expect 'the order, read back' "$(ask 200 "$base/api/order/$id" --header "api_key: $key")" "$placed"
expect 'an order without a key' "$(ask 401 --request POST "$base/api/order" --data "{$basket}")" '"code":401'
printf 'all right: %s\n' "$base"
