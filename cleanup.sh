#!/usr/bin/env bash
# cleanup.sh [--data]: removes what deploy.sh installed, and no release of that name that somebody else has; with --data the
# database's volume, its password and the namespace that deploy.sh made, too. NAMESPACE as for deploy.sh. It says what it is
# about to remove, and where, before it does. Run again it finds nothing to do.
set -euo pipefail
namespace=${NAMESPACE:-default}
data=${1:-}
releases=()
others=()

fail() {
    printf 'cleanup.sh: %s\n' "$1" >&2
    exit 1
}

check_namespace() {
    [[ $namespace =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]] ||
        fail "NAMESPACE is $namespace: a namespace has up to 63 small letters, digits and hyphens between them"
}

# find_releases: those that are deploy.sh's, or not there, and not what somebody else has installed under such a name.
find_releases() {
    local release manifest
    for release in order-food database-load postgres; do
        manifest=$(helm get manifest "$release" --namespace "$namespace" 2>/dev/null) || manifest=""
        if [ -z "$manifest" ] || [[ $manifest == *'app.kubernetes.io/part-of: orderfood'* ]]; then
            releases+=("$release")
        else
            others+=("$release")
        fi
    done
}

# say_what: what is there of all that, and in which cluster.
say_what() {
    local there="" names="" kept="" other
    names=$(IFS='|' && printf '%s' "${releases[*]}")
    if [ -n "$names" ]; then there=$(helm list --namespace "$namespace" --short --filter "^($names)\$"); fi
    printf 'from namespace %s of %s\n' "$namespace" "$(kubectl config current-context)"
    printf '  the releases %s\n' "${there//$'\n'/, }"
    for other in "${others[@]}"; do printf '  but not %s, which deploy.sh has not installed\n' "$other"; done
    [ "$data" = --data ] || return 0
    names=$(IFS=, && printf '%s' "${releases[*]}")
    names=${names/,database-load/} # which keeps no orders
    kept=$(kubectl --namespace "$namespace" get persistentvolumeclaims,secrets --output name --ignore-not-found \
        --selector "app.kubernetes.io/name in (${names:-none})")
    printf '  all orders: %s\n' "${kept//$'\n'/, }"
}

# remove ARGUMENTS...: what is there of it.
remove() {
    kubectl --namespace "$namespace" delete --ignore-not-found "$@" | sed '/^No resources found/d'
}

# remove_namespace: only one that deploy.sh made, and only when nobody else put anything into it.
remove_namespace() {
    local maker left
    maker=$(kubectl get namespace "$namespace" --output jsonpath='{.metadata.labels.app\.kubernetes\.io/managed-by}')
    [ "$maker" = orderfood-deploy ] || return 0
    left=$(kubectl --namespace "$namespace" get all,configmaps,secrets,persistentvolumeclaims,ingresses --no-headers --output name |
        grep -v '^configmap/kube-root-ca.crt$' || true)
    if [ -n "$left" ]; then
        printf 'namespace %s stays, for it holds\n%s\n' "$namespace" "$left"
    else
        kubectl delete namespace "$namespace"
    fi
}

[ $# -le 1 ] && [[ -z $data || $data == --data ]] || fail 'the one argument there is is --data'
check_namespace
for tool in kubectl helm; do command -v "$tool" >/dev/null || fail "$tool is missing"; done
kubectl version --request-timeout 10s >/dev/null 2>&1 || fail 'no cluster answers kubectl'
if [ -z "$(kubectl get namespace "$namespace" --ignore-not-found --output name)" ]; then
    printf 'there is no namespace %s: nothing to do\n' "$namespace"
    exit
fi

find_releases
say_what
for release in "${releases[@]}"; do
    helm uninstall "$release" --namespace "$namespace" --ignore-not-found --wait --timeout 5m
    # what a test run that failed left
    remove pods --selector "app.kubernetes.io/part-of=orderfood,app.kubernetes.io/name=$release-test"
done
remove jobs --selector app.kubernetes.io/name=database-load,app.kubernetes.io/instance=database-load
# a migration before an upgrade that failed
remove jobs --selector app.kubernetes.io/name=order-food-migration,app.kubernetes.io/instance=order-food
kubectl --namespace "$namespace" wait pods --for delete --selector app.kubernetes.io/part-of=orderfood --timeout 120s >/dev/null 2>&1 ||
    fail 'some pods do not end'
if [ "$data" = --data ]; then
    for release in "${releases[@]}"; do
        remove persistentvolumeclaims,secrets --selector "app.kubernetes.io/name=$release,app.kubernetes.io/instance=$release"
    done
    remove_namespace
else
    printf 'the data stay: ./cleanup.sh --data removes them, too\n'
fi
