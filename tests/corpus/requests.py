"""Writes requests of Python's cryptography into the directory that is its first argument; its second begins their names."""
import ipaddress, sys
import cryptography
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, padding
from cryptography.x509.oid import NameOID, ExtendedKeyUsageOID

from cryptography.hazmat.backends.openssl import backend

print("cryptography", cryptography.__version__, "with", backend.openssl_version_text()[:14].strip())
name = x509.Name([
    x509.NameAttribute(NameOID.COMMON_NAME, "amy"),
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "developers"),
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "oncall"),
    x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
])
sans = x509.SubjectAlternativeName([
    x509.DNSName("vpn.example.com"), x509.IPAddress(ipaddress.ip_address("10.0.0.7")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::7")), x509.RFC822Name("amy@example.com"),
    x509.UniformResourceIdentifier("spiffe://example.com/a"),
])
usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
keys = {"p256": ec.generate_private_key(ec.SECP256R1()), "p384": ec.generate_private_key(ec.SECP384R1()),
        "rsa": rsa.generate_private_key(65537, 2048), "ed25519": ed25519.Ed25519PrivateKey.generate()}
def write(name, request):
    with open(f"{sys.argv[1]}/{sys.argv[2]}-{name}.csr", "wb") as file:
        file.write(request.public_bytes(serialization.Encoding.PEM))
for kind, key in keys.items():
    hash = None if kind == "ed25519" else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    write(kind, builder.sign(key, hash))
    builder = builder.add_extension(sans, critical=False)
    write(kind + "-sans", builder.sign(key, hash))
    builder = (builder.add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))
    write(kind + "-usages", builder.sign(key, hash))
if int(cryptography.__version__.split(".")[0]) < 41:
    sys.exit()  # no PSS yet
pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
write("pss", x509.CertificateSigningRequestBuilder().subject_name(name).sign(keys["rsa"], hashes.SHA256(), rsa_padding=pss))
