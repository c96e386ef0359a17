#!/bin/sh
# Makes the requests of requests/ and fields/requests/ anew, each with a key that is thrown away. Needs openssl.
set -eu
cd "$(dirname "$0")/requests"
key=$(mktemp)
trap 'rm -f "$key"' EXIT

# NAME SUBJECT BITS SIGNER EXPIRATION-SECONDS USERNAME GROUP
request() {
    openssl genrsa -out "$key" "$3" 2>/dev/null
    expiration=
    [ "$5" = - ] || expiration="
  expirationSeconds: $5"
    cat > "$1.yaml" <<MANIFEST
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata:
  name: $1
spec:
  signerName: $4
  usages: [client auth]$expiration
  # The API server fills these in from whoever files the request.
  username: $6
  groups: ["$7", "system:authenticated"]
  request: $(openssl req -new -key "$key" -subj "$2" | base64 | tr -d '\n')
MANIFEST
}

client=kubernetes.io/kube-apiserver-client
month=2592000
onboarding='portal platform-onboarding'
# shellcheck disable=SC2086 # the requestor is two words
{
    request amy '/CN=amy/O=developers' 3072 $client $month $onboarding
    request adam '/CN=adam' 3072 $client $month $onboarding
    request everything '/CN=mallory/O=system:masters' 2048 $client $month $onboarding
    request kubeadm-admins '/CN=mallory/O=kubeadm:cluster-admins' 2048 $client $month $onboarding
    request system-admin '/CN=system:admin' 2048 $client $month $onboarding
    request service-account '/CN=system:serviceaccount:kube-system:default' 2048 $client $month $onboarding
    request a-year '/CN=amy/O=developers' 2048 $client 31536000 $onboarding
    request no-expiration '/CN=amy/O=developers' 2048 $client - $onboarding
    request short-key '/CN=amy/O=developers' 1024 $client $month $onboarding
    request other-signer '/CN=amy/O=developers' 2048 example.com/vpn $month $onboarding
    request unknown-requestor '/CN=eve/O=developers' 2048 $client $month eve visitors
}

for bits in 2048 3072 4096; do
    openssl genrsa -out "$key" "$bits" 2>/dev/null
    openssl req -new -key "$key" -subj /CN=amy -out "../fields/requests/rsa-$bits.csr"
done
