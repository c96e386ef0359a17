#!/bin/sh
# Generates what is derived: the CRDs and the reference of every field from the program, the chart's
# README from its values, and the manifests of this directory from the chart. Run it after a change of
# any of these; a test fails where it was forgotten.
#
#   deploy/generate.sh [DIRECTORY]      writes below DIRECTORY instead of this repository
#
# COUNTERSIGN, HELM and HELM_DOCS name the programs, if they are not found by these names.
set -eu
root="$(cd "$(dirname "$0")/.." && pwd)"
to="${1:-$root}"
countersign="${COUNTERSIGN:-cargo run --quiet --manifest-path $root/Cargo.toml --}"
helm="${HELM:-helm}"
helm_docs="${HELM_DOCS:-helm-docs}"

mkdir -p "$to/crds" "$to/deploy" "$to/charts"
# shellcheck disable=SC2086 # the program may come with arguments
$countersign crd --output-dir "$to/crds"
mkdir -p "$to/docs"
# shellcheck disable=SC2086
$countersign crd --reference >"$to/docs/reference.md"

[ "$to" = "$root" ] || cp -R "$root/charts/." "$to/charts"
chart="$to/charts/countersign"
rm -rf "$chart/files/crds"
mkdir -p "$chart/files/crds"
cp "$to"/crds/*.yaml "$chart/files/crds/"
(cd "$chart" && "$helm_docs" --chart-search-root . --sort-values-order file --log-level warning)

# Nothing here is Helm's.
render() {
    "$helm" template countersign "$chart" --namespace countersign-system --kube-version 1.36.0 --set crds.keep=false "$@" |
        sed -e '/helm\.sh\/chart:/d' -e "/app\\.kubernetes\\.io\\/managed-by: Helm/d" |
        cat -s
}
render --show-only templates/crds/crds.yaml >"$to/deploy/crds.yaml"
render --show-only templates/controller/serviceaccount.yaml --show-only templates/controller/rbac.yaml \
    --show-only templates/people/roles.yaml >"$to/deploy/rbac.yaml"
render --show-only templates/controller/lease.yaml --show-only templates/controller/deployment.yaml \
    --show-only templates/controller/poddisruptionbudget.yaml --show-only templates/controller/networkpolicy.yaml \
    --show-only templates/controller/service.yaml >"$to/deploy/controller.yaml"
