#!/usr/bin/env bash
# deploy.sh: builds the three images, brings them into the cluster, and installs postgres, database-load and order-food.
# With --images it builds the images and ends. Run again it upgrades what is there; what does not become ready is rolled back. ./cleanup.sh takes it away.
#
#   NAMESPACE     where to (default: default); made when it is not there
#   VERSION       the images' tag (default: the project's version and the commit)
#   REVISION      the commit that the images' labels name (default: the one that is checked out)
#   STORAGE_URL   a database that is there already: then no postgres is installed
#   BUILD_IMAGE   builds an image as `docker build` does (default: docker build on minikube's daemon)
#   BASE_IMAGE    what the images stand on (default: the digest that the Dockerfile names; with BUILD_IMAGE: as that has the tag)
#   LOAD_IMAGE    brings images into the cluster (default: minikube image load)
#   TIMEOUT       how long each release may take to become ready (default: 5m)
#   POSTGRES_VALUES, DATABASE_LOAD_VALUES, ORDER_FOOD_VALUES   a file with values of your own for that release
set -euo pipefail
for name in POSTGRES_VALUES DATABASE_LOAD_VALUES ORDER_FOOD_VALUES; do
    # a path counts from where deploy.sh is called
    if [[ ${!name:-} == [!/]* ]]; then printf -v "$name" '%s/%s' "$PWD" "${!name}"; fi
done
cd "$(dirname "$0")"
namespace=${NAMESPACE:-default}
timeout=${TIMEOUT:-5m}
images=(database-migration database-load order-food)
helm_options=()
only_images=no
begun=()
# prints what /ready answers, and ends with 1 where that is no 200
READY='import os, sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:%s/ready" % os.environ.get("PORT", "8080"), timeout=5).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode())'

fail() {
    printf 'deploy.sh: %s\n' "$1" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

# say_version: the project's version and the commit; what is not committed changes it too.
say_version() {
    local version changes
    version=$(sed -n 's/^version = //p' setup.cfg)
    if git rev-parse --quiet --verify HEAD >/dev/null 2>&1; then
        version+=-$(git rev-parse --short HEAD)
        changes=$(git diff HEAD | git hash-object --stdin)
        [ -z "$(git status --porcelain)" ] || version+=-${changes:0:8}
    fi
    printf '%s' "$version"
}

check_builder() {
    if [ -z "${BUILD_IMAGE:-}" ]; then need docker 'or set BUILD_IMAGE to a command that builds images'; fi
}

check_tools() {
    need kubectl 'see https://kubernetes.io/docs/tasks/tools'
    need helm 'see https://helm.sh/docs/intro/install'
    check_builder
    if [ -z "${BUILD_IMAGE:-}" ] || [ -z "${LOAD_IMAGE:-}" ]; then
        need minikube 'or set BUILD_IMAGE and LOAD_IMAGE to commands that build images and bring them into your cluster'
    fi
    kubectl version --request-timeout 10s >/dev/null 2>&1 || fail 'no cluster answers kubectl: start one, such as with minikube start'
}

check_namespace() {
    [[ $namespace =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]] ||
        fail "NAMESPACE is $namespace: a namespace has up to 63 small letters, digits and hyphens between them"
}

check_values() {
    local name
    for name in POSTGRES_VALUES DATABASE_LOAD_VALUES ORDER_FOOD_VALUES; do
        [ -z "${!name:-}" ] || [ -r "${!name}" ] || fail "$name is ${!name}: that file cannot be read"
    done
}

build_images() {
    local image base build=()
    read -ra build <<<"${BUILD_IMAGE:-docker build}"
    base=${BASE_IMAGE:-}
    if [ -z "${BUILD_IMAGE:-}" ] && [ "$only_images" = no ]; then
        docker_env=$(minikube docker-env --shell bash) || fail "minikube's docker does not answer: set BUILD_IMAGE"
        eval "$docker_env"
    fi
    if [ -z "${BUILD_IMAGE:-}" ]; then
        base=${base:-$(sed -n 's/^# .*\(docker.io.*@sha256:[0-9a-f]*\)$/\1/p' Dockerfile)}
    fi
    if [ -n "$base" ]; then build+=(--build-arg "BASE=$base"); fi
    for image in "${images[@]}"; do
        "${build[@]}" --target "$image" --build-arg "VERSION=$version" \
            --build-arg "REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}" --tag "$image:$version" .
    done
}

load_images() {
    local image load=()
    read -ra load <<<"${LOAD_IMAGE:-minikube image load}"
    for image in "${images[@]}"; do "${load[@]}" "$image:$version"; done
}

make_namespace() {
    kubectl get namespace "$namespace" >/dev/null 2>&1 && return
    kubectl create namespace "$namespace"
    kubectl label namespace "$namespace" app.kubernetes.io/managed-by=orderfood-deploy >/dev/null
}

# take_over_fields: helm 4 refuses to change a field that somebody else has set since, such as the replicas by kubectl scale;
# the charts' values count, as they do with helm 3.
take_over_fields() {
    if [[ $(helm upgrade --help) == *--force-conflicts* ]]; then helm_options+=(--server-side=true --force-conflicts); fi
}

# check_ours RELEASE: an upgrade of what somebody else has installed under that name would take its place, and its data.
check_ours() {
    local manifest
    manifest=$(helm get manifest "$1" --namespace "$namespace" 2>/dev/null) || return 0
    [ -z "$manifest" ] || [[ $manifest == *'app.kubernetes.io/part-of: orderfood'* ]] ||
        fail "the release $1 in namespace $namespace is somebody else's: take another NAMESPACE"
}

# deployed_revision RELEASE: the last one that became ready; nothing where there is none.
deployed_revision() {
    helm history "$1" --namespace "$namespace" --max 100 2>/dev/null | sed -n $'s/^\\([0-9]*\\)[ \t].*\tdeployed[ \t].*/\\1/p' || true
}

# install RELEASE VALUES-FILE ARGUMENTS...: the URL goes in by stdin, where no process list shows it.
install() {
    local release=$1 values=$2 own=() told
    shift 2
    if [ -n "$values" ]; then own=(--values "$values"); fi
    begun+=("$release $(deployed_revision "$release")")
    told=$(storage_values "$release" | helm upgrade --install "$release" "chart/$release" --namespace "$namespace" \
        --wait --timeout "$timeout" "${helm_options[@]}" --values - "${own[@]}" "$@" 2>&1 >/dev/null) || give_up "$release" "$told"
    pass_on "$told"
    printf '%s is there\n' "$release"
}

# pass_on TOLD: what helm has told, without what it says twice, and about links that are meant to be.
pass_on() {
    sed '/found symbolic link/d;/^level=/d;/^$/d' <<<"$1" >&2
}

# give_up RELEASE TOLD: says what helm told and what the pods say, goes back to what was there, and ends.
give_up() {
    local why
    pass_on "$2"
    case $2 in
        *"don't meet the specifications"* | *'execution error at'*) why='has values that make no sense, as helm says above' ;;
        *'another operation'*)
            why="is being changed by another helm, or one was killed: helm -n $namespace history $1; if none runs, go back with helm -n $namespace rollback $1 REVISION"
            unset 'begun[-1]' # to go back is the other one's business
            ;;
        *'hooks failed'* | *'hook failed'*) why='did not get past what runs before an upgrade, as said above' ;;
        *conflict*) why='has fields that somebody else holds, as helm says above' ;;
        *'timed out'* | *'deadline exceeded'* | *'not ready'* | *InProgress* | *Failed*) why='did not become ready' ;;
        *) why='could not be installed, as helm says above' ;;
    esac
    say_why_pods_wait "$1"
    roll_back "$1"
    fail "$1 $why"
}

# say_why_pods_wait RELEASE: of each container that does not start the reason, and its log's last line.
say_why_pods_wait() {
    local pod states state name ready reason one
    one=' {.name},{.ready},{.state.waiting.reason}{.state.terminated.reason}{end}'
    kubectl -n "$namespace" get pods --selector "app.kubernetes.io/instance=$1" --output \
        jsonpath="{range .items[*]}{.metadata.name}{range .status.initContainerStatuses[*]}$one{range .status.containerStatuses[*]}$one{'\n'}{end}" |
        while read -r pod states; do
            for state in $states; do
                IFS=, read -r name ready reason <<<"$state"
                if [ "$ready" = true ] || [ "$reason" = PodInitializing ] || [ "$reason" = Completed ]; then continue; fi
                printf '%s %s: %s %s\n' "$pod" "$name" "${reason:-not ready}" "$(last_line "$pod" "$name")" >&2
            done
        done || true
}

last_line() {
    kubectl -n "$namespace" logs "$1" --container "$2" --tail 1 2>/dev/null || true
}

# roll_back FAILED: what this run has changed goes back to the revisions that were deployed before; what it has made stays, to be looked at.
roll_back() {
    local index release revision
    for ((index = ${#begun[@]} - 1; index >= 0; index--)); do
        read -r release revision <<<"${begun[index]}"
        if [ -z "$revision" ] && [ "$release" != "$1" ]; then
            printf '%s is new, and stays\n' "$release" >&2
        elif [ -z "$revision" ]; then
            printf '%s was never ready before, and what there is of it stays: kubectl -n %s describe pods\n' "$release" "$namespace" >&2
        elif helm rollback "$release" "$revision" --namespace "$namespace" --wait --timeout "$timeout" "${helm_options[@]}" >/dev/null; then
            printf '%s is back at revision %s\n' "$release" "$revision" >&2
        else
            printf '%s could not go back: helm -n %s rollback %s %s\n' "$release" "$namespace" "$release" "$revision" >&2
        fi
    done
}

storage_values() {
    [ "$1" = postgres ] || [ -z "${STORAGE_URL:-}" ] || printf "storage: {url: '%s'}\n" "${STORAGE_URL//\'/\'\'}"
}

# say_keys: whose keys open the shop, as the releases have it: their own users.json, or the sample's, which count in no production.
say_keys() {
    local own environment
    own=$(kubectl -n "$namespace" get deployment/order-food cronjob/database-load --ignore-not-found \
        -o jsonpath='{..volumeMounts[?(@.subPath=="users.json")].name}')
    environment=$(kubectl -n "$namespace" get deployment order-food \
        -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name=="ENVIRONMENT")].value}')
    if [ -n "$own" ]; then
        printf 'keys in force: those of your own users.json\n'
    elif [[ ${environment,,} =~ ^prod(uction)?$ ]]; then
        printf 'keys in force: none: ENVIRONMENT is %s, where the sample keys open nothing; name a Secret with your users.json in users.existingSecret of both releases\n' "$environment"
    else
        printf 'keys in force: the sample keys, apitest, apitest-readonly and apikitchen, which everybody knows; users.existingSecret names a Secret with your own users.json\n'
    fi
}

say_how_to_reach_it() {
    local port address
    port=$(kubectl -n "$namespace" get service order-food -o jsonpath='{.spec.ports[0].nodePort}')
    # who may only write into a namespace may see no nodes; a node of both families has two addresses
    address=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}' 2>/dev/null) || address=NODE
    address=${address%% *}
    if [[ $address == *:* ]]; then address="[$address]"; fi
    cat <<END

order-food $version runs in namespace $namespace. Reach it at one of
  http://$address:$port      (minikube: minikube service -n $namespace order-food --url)
  http://localhost:8080      after kubectl -n $namespace port-forward service/order-food 8080

  curl http://$address:$port/api/product
  kubectl -n $namespace create job --from=cronjob/database-load manual-load-1
  helm -n $namespace test order-food
  NAMESPACE=$namespace ./cleanup.sh
END
}

# ask_ready: /ready has the last word, for a pod stays ready for a while after its store was last heard of.
ask_ready() {
    local answer="" try
    for try in 1 2 3 4 5; do
        [ "$try" = 1 ] || sleep 2
        answer=$(kubectl -n "$namespace" exec deployment/order-food --container order-food -- python -c "$READY" 2>&1) && break
    done
    case $answer in
        *degraded*) printf 'order-food is ready, but takes no orders: %s\n' "$answer" ;;
        *'"ready"'*) printf 'order-food is ready\n' ;;
        *) fail "order-food is not ready: $answer" ;;
    esac
}

[ $# -le 1 ] && [[ ${1:-} =~ ^(--images)?$ ]] || fail 'the one argument there is is --images'
version=${VERSION:-$(say_version)}
if [ "${1:-}" = --images ]; then
    only_images=yes
    check_builder
    build_images
    exit
fi
check_namespace
check_values
check_tools
build_images
load_images
make_namespace
take_over_fields
[ -n "${STORAGE_URL:-}" ] || check_ours postgres
check_ours database-load
check_ours order-food
if [ -z "${STORAGE_URL:-}" ]; then
    install postgres "${POSTGRES_VALUES:-}" --set-string "test.image.tag=$version" --set auth.generate=true
fi
install database-load "${DATABASE_LOAD_VALUES:-}" --set-string "image.tag=$version" --set job.enabled=false
install order-food "${ORDER_FOOD_VALUES:-}" --set-string "image.tag=$version" --set service.type=NodePort \
    --set-string "initContainers.databaseMigration.image.tag=$version" --set-string "initContainers.databaseLoad.image.tag=$version"
say_how_to_reach_it
ask_ready
say_keys
