#!/usr/bin/env bash
# On call: make the payments of a running shop fail, see that no order is lost, and end it for sure.
set -euo pipefail
cd "$(dirname "$0")" && work=$(mktemp -d) && trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
read -r bank shop admin < <(python -c 'import services; print(*services.free_ports(3))')
api=http://127.0.0.1:$admin store=file://$work/chaos
export CHAOSPOINT_URL=$api CHAOSPOINT_ADMIN_TOKEN=$RANDOM-a-secret-of-tonight-$RANDOM
ask() { curl -sS --fail-with-body -H "Authorization: Bearer $CHAOSPOINT_ADMIN_TOKEN" "$@"; }

# the bank, and a shop of two workers that share a store
uvicorn bank:app --port "$bank" >"$work/bank.log" 2>&1 &
BANK_URL=http://127.0.0.1:$bank DATABASE_URL=sqlite:///$work/shop.db SPANS_FILE=$work/spans \
    CHAOSPOINT_ENABLED=true CHAOSPOINT_ADMIN=127.0.0.1:$admin CHAOSPOINT_STORE=$store \
    uvicorn --factory shop:create_app --port "$shop" --workers 2 >"$work/shop.log" 2>&1 &
ready() { curl -fs "http://127.0.0.1:$shop/health" && [ "$(ask "$api/v1/workers" | grep -c '"pid"')" = 2 ]; }
for _ in $(seq 150); do ready >"$work/ready" 2>&1 && break; sleep 0.2; done

orders() { # send 40, eight at a time, and assert that all of them end so
    order='{"item": "lamp", "cents": 4200}'
    seq 40 | xargs -P 8 -I{} curl -sS --json "$order" "http://127.0.0.1:$shop/orders" >"$work/answers"
    seen=$(grep -o "\"status\":\"$1\"" "$work/answers" | wc -l)
    [ "$seen" = 40 ] || { echo "$2: $seen of 40 are $1"; cat "$work/answers" "$work/shop.log"; exit 1; }
    echo "$2: 40 of 40 orders are $1"
}
orders paid "before"
chaospoint arm payment.charge 'raise(TimeoutError)' --expires-after 5m >/dev/null
orders pending "the bank does not answer"
ask -X PUT "$api/v1/points/payment.charge" --json '{"latency": "20ms"}' >/dev/null # instead of it
orders paid "the bank is slow"
chaospoint disable --store "$store" >/dev/null # without any server
orders paid "disabled"
chaospoint arm payment.charge off >/dev/null 2>&1 && exit 1 || echo "disabled: nothing can be armed"
echo "who did what: $(grep -c generation "$work/chaos/audit.jsonl") lines in the audit log"
