#!/usr/bin/env bash
# cleanup.sh [--data]: removes what deploy.sh installed; with --data the database's volume, its password and the namespace
# that deploy.sh made, too. NAMESPACE as for deploy.sh. Run again it finds nothing to do.
set -euo pipefail
namespace=${NAMESPACE:-default}
data=${1:-}

fail() {
    printf 'cleanup.sh: %s\n' "$1" >&2
    exit 1
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
for tool in kubectl helm; do command -v "$tool" >/dev/null || fail "$tool is missing"; done
kubectl version --request-timeout 10s >/dev/null 2>&1 || fail 'no cluster answers kubectl'
if [ -z "$(kubectl get namespace "$namespace" --ignore-not-found --output name)" ]; then
    printf 'there is no namespace %s: nothing to do\n' "$namespace"
    exit
fi

for release in order-food database-load postgres; do
    helm uninstall "$release" --namespace "$namespace" --ignore-not-found --wait --timeout 5m
    # what a test run that failed left
    remove pods --selector "app.kubernetes.io/part-of=orderfood,app.kubernetes.io/name=$release-test"
done
remove jobs --selector app.kubernetes.io/name=database-load,app.kubernetes.io/instance=database-load
kubectl --namespace "$namespace" wait pods --for delete --selector app.kubernetes.io/part-of=orderfood --timeout 120s >/dev/null 2>&1 ||
    fail 'some pods do not end'
if [ "$data" = --data ]; then
    remove persistentvolumeclaims --selector app.kubernetes.io/name=postgres,app.kubernetes.io/instance=postgres
    remove persistentvolumeclaims --selector app.kubernetes.io/name=order-food,app.kubernetes.io/instance=order-food
    remove secrets --selector app.kubernetes.io/name=postgres,app.kubernetes.io/instance=postgres
    remove_namespace
else
    printf 'the data stay: ./cleanup.sh --data removes them, too\n'
fi
