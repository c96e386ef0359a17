// Goclients writes requests as clients in Go make them into the directory that is its argument: what the kubelet and
// kubeadm call (client-go), and crypto/x509 with every kind of key and name.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"log"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"
)

func main() {
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsa2048 := must(rsa.GenerateKey(rand.Reader, 2048))
	rsa4096 := must(rsa.GenerateKey(rand.Reader, 4096))
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}

	node := pkix.Name{CommonName: "system:node:worker-1.example.com", Organization: []string{"system:nodes"}}
	addresses := []net.IP{net.ParseIP("10.0.0.7"), net.ParseIP("2001:db8::7")}
	// The kubelet for its client certificate, and for serving.
	write("kubelet-client", must(cert.MakeCSR(p256, &node, nil, nil)))
	write("kubelet-serving", must(cert.MakeCSR(p256, &node, []string{"worker-1", "worker-1.example.com"}, addresses)))
	write("kubeadm-rsa", must(cert.MakeCSR(rsa2048, &pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"kubeadm:cluster-admins"}}, nil, nil)))

	spiffe := must(url.Parse("spiffe://example.com/ns/default/sa/web"))
	everything := x509.CertificateRequest{
		Subject: pkix.Name{
			CommonName:         "amy",
			Organization:       []string{"developers", "oncall", "zoë"},
			OrganizationalUnit: []string{"payments"},
			Country:            []string{"DE"},
			Locality:           []string{"Köln"},
			Province:           []string{"NRW"},
			StreetAddress:      []string{"1 Street"},
			PostalCode:         []string{"50667"},
			SerialNumber:       "7",
		},
		DNSNames:       []string{"vpn.example.com", "*.dev.example.com"},
		IPAddresses:    addresses,
		URIs:           []*url.URL{spiffe},
		EmailAddresses: []string{"amy@example.com"},
	}
	for name, key := range map[string]crypto.Signer{"p256": p256, "p384": p384, "rsa2048": rsa2048, "rsa4096": rsa4096, "ed25519": edwards} {
		create("go-"+name, everything, key)
	}
	for name, algorithm := range map[string]x509.SignatureAlgorithm{
		"pkcs1-sha384": x509.SHA384WithRSA, "pkcs1-sha512": x509.SHA512WithRSA,
		"pss-sha256": x509.SHA256WithRSAPSS, "pss-sha384": x509.SHA384WithRSAPSS, "pss-sha512": x509.SHA512WithRSAPSS,
	} {
		template := everything
		template.SignatureAlgorithm = algorithm
		create("go-"+name, template, rsa2048)
	}
	create("go-no-subject", x509.CertificateRequest{DNSNames: []string{"vpn.example.com"}}, p256)
	// As cert-manager does: usages and basicConstraints as extensions.
	usages := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 5, 0xa0}, Critical: true}
	purposes := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2}}
	constraints := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 0}, Critical: true}
	with := everything
	with.ExtraExtensions = []pkix.Extension{usages, purposes, constraints}
	create("go-with-usages", with, p256)
}

func create(name string, template x509.CertificateRequest, key crypto.Signer) {
	der := must(x509.CreateCertificateRequest(rand.Reader, &template, key))
	write(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func write(name string, bytes []byte) {
	if err := os.WriteFile(filepath.Join(os.Args[1], name+".csr"), bytes, 0o644); err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
