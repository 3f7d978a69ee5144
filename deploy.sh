#!/usr/bin/env bash
# deploy.sh: builds the three images, brings them into the cluster, and installs postgres, database-load and order-food.
# Run again it upgrades what is there. ./cleanup.sh takes it away.
#
#   NAMESPACE     where to (default: default); made when it is not there
#   VERSION       the images' tag (default: the project's version and the commit)
#   STORAGE_URL   a database that is there already: then no postgres is installed
#   BUILD_IMAGE   builds an image as `docker build` does (default: docker build on minikube's daemon)
#   LOAD_IMAGE    brings images into the cluster (default: minikube image load)
#   TIMEOUT       how long each release may take to become ready (default: 5m)
#   POSTGRES_VALUES, DATABASE_LOAD_VALUES, ORDER_FOOD_VALUES   a file with values of your own for that release
set -euo pipefail
cd "$(dirname "$0")"
namespace=${NAMESPACE:-default}
images=(database-migration database-load order-food)

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

check_tools() {
    need kubectl 'see https://kubernetes.io/docs/tasks/tools'
    need helm 'see https://helm.sh/docs/intro/install'
    if [ -z "${BUILD_IMAGE:-}" ]; then need docker 'or set BUILD_IMAGE to a command that builds images'; fi
    if [ -z "${BUILD_IMAGE:-}" ] || [ -z "${LOAD_IMAGE:-}" ]; then
        need minikube 'or set BUILD_IMAGE and LOAD_IMAGE to commands that build images and bring them into your cluster'
    fi
    kubectl version --request-timeout 10s >/dev/null 2>&1 || fail 'no cluster answers kubectl: start one, such as with minikube start'
}

build_images() {
    local image build=()
    read -ra build <<<"${BUILD_IMAGE:-docker build}"
    if [ -z "${BUILD_IMAGE:-}" ]; then
        docker_env=$(minikube docker-env --shell bash) || fail "minikube's docker does not answer: set BUILD_IMAGE"
        eval "$docker_env"
    fi
    for image in "${images[@]}"; do
        "${build[@]}" --target "$image" --build-arg "VERSION=$version" \
            --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)" --tag "$image:$version" .
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

# install RELEASE VALUES-FILE ARGUMENTS...: the URL goes in by stdin, where no process list shows it.
install() {
    local release=$1 values=$2 own=()
    shift 2
    if [ -n "$values" ]; then own=(--values "$values"); fi
    storage_values "$release" | helm upgrade --install "$release" "chart/$release" --namespace "$namespace" \
        --wait --timeout "${TIMEOUT:-5m}" --values - "${own[@]}" "$@" 2>&1 >/dev/null |
        sed '/found symbolic link/d' >&2 || fail "$release did not become ready: kubectl -n $namespace get pods"
    printf '%s is there\n' "$release"
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
    address=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    cat <<END

order-food $version runs in namespace $namespace. Reach it at one of
  http://$address:$port      (minikube: minikube service -n $namespace order-food --url)
  http://localhost:8080      after kubectl -n $namespace port-forward service/order-food 8080

  curl http://$address:$port/api/product
  kubectl -n $namespace create job --from=cronjob/database-load manual-load-1
  helm -n $namespace test order-food
  ./cleanup.sh
END
}

check_tools
version=${VERSION:-$(say_version)}
build_images
load_images
make_namespace
if [ -z "${STORAGE_URL:-}" ]; then
    install postgres "${POSTGRES_VALUES:-}" --set-string "test.image.tag=$version"
fi
install database-load "${DATABASE_LOAD_VALUES:-}" --set-string "image.tag=$version" --set job.enabled=false
install order-food "${ORDER_FOOD_VALUES:-}" --set-string "image.tag=$version" --set service.type=NodePort \
    --set-string "initContainers.databaseMigration.image.tag=$version" --set-string "initContainers.databaseLoad.image.tag=$version"
say_how_to_reach_it
say_keys
