#!/bin/sh
# Makes tests/corpus/clients anew: requests as real clients make them, none of which may be refused as undecodable. It needs
# openssl, Go, Rust, Python 3 with pip, and keytool. The keys are thrown away.
set -eu
cd "$(dirname "$0")/../.."
out=$PWD/tests/corpus/clients
work=$PWD/target/clients
rm -rf "$out" "$work"
mkdir -p "$out" "$work"
exec 3>"$out/VERSIONS"

# openssl: every key and hash that is above the floor, a configuration file, both string types.
openssl version | cut -d' ' -f1-2 >&3
everything='subjectAltName=DNS:vpn.example.com,DNS:*.dev.example.com,IP:10.0.0.7,IP:2001:db8::7,URI:spiffe://example.com/ns/a/sa/b,email:amy@example.com'
subject=/CN=amy/O=developers/O=oncall/OU=payments
for bits in 2048 3072 4096; do
    openssl genrsa -out "$work/rsa$bits.pem" $bits 2>/dev/null
done
openssl genrsa -3 -out "$work/rsa-e3.pem" 2048 2>/dev/null
for curve in P-256 P-384; do
    openssl ecparam -name $curve -genkey -noout -out "$work/$curve.pem"
    openssl ecparam -name $curve -genkey -out "$work/$curve-with-parameters.pem"
done
openssl genpkey -algorithm ED25519 -out "$work/ed25519.pem"
for key in rsa2048 rsa3072 rsa4096 P-256 P-384 P-256-with-parameters ed25519; do
    openssl req -new -key "$work/$key.pem" -subj $subject -out "$out/openssl-$key.csr"
    openssl req -new -key "$work/$key.pem" -subj $subject -addext "$everything" -out "$out/openssl-$key-sans.csr"
done
for hash in sha384 sha512; do
    openssl req -new -key "$work/rsa2048.pem" -$hash -subj $subject -out "$out/openssl-rsa-$hash.csr"
done
openssl req -new -key "$work/P-256.pem" -sha384 -subj $subject -out "$out/openssl-p256-sha384.csr"
openssl req -new -key "$work/P-384.pem" -sha256 -subj $subject -out "$out/openssl-p384-sha256.csr"
for hash in sha256 sha384 sha512; do
    openssl req -new -key "$work/rsa2048.pem" -$hash -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
        -subj $subject -out "$out/openssl-pss-$hash.csr"
done
openssl req -new -key "$work/P-256.pem" -subj '/C=DE/ST=NRW/L=Köln/O=Zoë/CN=amy' -utf8 -out "$out/openssl-utf8.csr"
openssl req -new -key "$work/P-256.pem" -multivalue-rdn -subj '/CN=amy+O=developers' -out "$out/openssl-multivalue.csr"
openssl req -new -key "$work/P-256.pem" -subj / -addext subjectAltName=DNS:vpn.example.com -out "$out/openssl-no-subject.csr"
cat >"$work/request.cnf" <<'CNF'
[req]
prompt = no
distinguished_name = dn
attributes = attributes
req_extensions = extensions
[dn]
CN = amy
O = developers
[attributes]
challengePassword = secret
unstructuredName = host
[extensions]
basicConstraints = CA:FALSE
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
subjectAltName = DNS:vpn.example.com
CNF
openssl req -new -key "$work/P-256.pem" -config "$work/request.cnf" -out "$out/openssl-config.csr"
for mask in utf8only pkix nombstr; do
    { echo '[req]'; echo "string_mask = $mask"; echo 'distinguished_name = dn'; echo '[dn]'; } >"$work/mask.cnf"
    openssl req -new -key "$work/P-256.pem" -config "$work/mask.cnf" -subj /CN=amy/O=developers -out "$out/openssl-$mask.csr"
done
openssl req -new -key "$work/P-256.pem" -subj $subject -text -noout >/dev/null

# Go, and with it client-go, the kubelet and kubeadm.
go version | cut -d' ' -f1-3 >&3
(cd tests/testbed/go && go run ./goclients "$out")

# cfssl, which writes JSON.
cfssl=github.com/cloudflare/cfssl/cmd/cfssl@v1.6.5
echo "$cfssl" >&3
for key in '"algo":"ecdsa","size":256' '"algo":"rsa","size":2048'; do
    name=$(echo "$key" | tr -dc 'a-z0-9')
    echo "{\"CN\":\"amy\",\"key\":{$key},\"names\":[{\"O\":\"developers\",\"OU\":\"payments\"}],\"hosts\":[\"vpn.example.com\",\"10.0.0.7\",\"spiffe://example.com/a\",\"amy@example.com\"]}" |
        go run $cfssl genkey - 2>/dev/null | python3 -c 'import json,sys; print(json.load(sys.stdin)["csr"], end="")' >"$out/cfssl-$name.csr"
done

# rcgen, as the lock file has it.
grep -A1 '^name = "rcgen"' Cargo.lock | cut -d'"' -f2 | xargs echo >&3
cargo run --quiet --locked --package testbed --example requests -- "$out"

# Python's cryptography, and openssl 1.1, with which the last versions before 35 write what they sign.
for pair in python:46.0.3 openssl-1.1:3.4.8; do
    python3 -m venv "$work/venv-${pair%:*}"
    "$work/venv-${pair%:*}/bin/pip" install --quiet --disable-pip-version-check "cryptography==${pair#*:}"
    "$work/venv-${pair%:*}/bin/python" tests/corpus/requests.py "$out" "${pair%:*}" >&3
done

# keytool writes NEW CERTIFICATE REQUEST, which the API server does not take: users correct that line.
java -version 2>&1 | head -1 >&3
for key in 'RSA -keysize 2048' 'RSA -keysize 3072' 'EC -groupname secp256r1' 'EC -groupname secp384r1' 'Ed25519'; do
    name=$(echo "$key" | tr -dc 'A-Za-z0-9')
    store="$work/$name.p12"
    # shellcheck disable=SC2086 # several options
    keytool -genkeypair -alias amy -keyalg $key -dname 'CN=amy,O=developers,O=oncall,OU=payments,C=DE' -keystore "$store" \
        -storepass secret1 >/dev/null 2>&1
    keytool -certreq -alias amy -keystore "$store" -storepass secret1 2>/dev/null |
        sed 's/NEW CERTIFICATE/CERTIFICATE/' >"$out/keytool-$name.csr"
    keytool -certreq -alias amy -keystore "$store" -storepass secret1 -ext san=dns:vpn.example.com,ip:10.0.0.7,uri:spiffe://example.com/a,email:amy@example.com \
        -ext ku=digitalSignature,keyEncipherment -ext eku=clientAuth 2>/dev/null | sed 's/NEW CERTIFICATE/CERTIFICATE/' >"$out/keytool-$name-sans.csr"
done
