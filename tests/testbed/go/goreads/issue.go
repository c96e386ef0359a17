package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	capi "k8s.io/api/certificates/v1"
	authentication "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/kubernetes/pkg/controller/certificates/authority"
)

// signer signs as kube-controller-manager does, with a certificate authority of its own.
type signer struct {
	authority *authority.CertificateAuthority
}

// maximum is --cluster-signing-duration unless set.
const maximum = 365 * 24 * time.Hour

func newSigner() (*signer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "throw-away"},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().Add(10 * maximum),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	return &signer{&authority.CertificateAuthority{Certificate: parsed, PrivateKey: private}}, err
}

// issue does what the signing controller does with an approved request.
func (s *signer) issue(der []byte, asked *request) (*certificate, error) {
	lifetime := maximum
	if seconds := asked.ExpirationSeconds; seconds != nil {
		lifetime = min(maximum, max(10*time.Minute, time.Duration(*seconds)*time.Second))
	}
	policy := authority.PermissiveSigningPolicy{TTL: lifetime, Backdate: 5 * time.Minute, Short: 8 * time.Hour}
	for _, usage := range asked.Usages {
		policy.Usages = append(policy.Usages, capi.KeyUsage(usage))
	}
	issued, err := s.authority.Sign(der, policy)
	if err != nil {
		return nil, err
	}
	return readCertificate(issued)
}

// Subject is pkix.Name as far as a certificate gets it.
type Subject struct {
	CommonName          string            `json:"commonName"`
	Organizations       []string          `json:"organizations"`
	OrganizationalUnits []string          `json:"organizationalUnits"`
	Others              map[string]string `json:"others"`
	// Names: every attribute with a value that Go reads as text.
	Names []string `json:"names"`
	// Unread: the types of those with other values.
	Unread []string `json:"unread"`
}

// SANs as Go reads and prints them.
type SANs struct {
	DNSNames       []string `json:"dnsNames"`
	IPAddresses    []string `json:"ipAddresses"`
	URIs           []string `json:"uris"`
	EmailAddresses []string `json:"emailAddresses"`
}

// Key is a public key.
type Key struct {
	Algorithm string `json:"algorithm"`
	Bits      int    `json:"bits"`
	Exponent  int    `json:"exponent"`
	// SHA256 of the SubjectPublicKeyInfo.
	SHA256 string `json:"sha256"`
}

// User is who the API server takes the holder of a certificate for.
type User struct {
	Name   string   `json:"name"`
	UID    string   `json:"uid"`
	Groups []string `json:"groups"`
}

// certificate is one that was issued.
type certificate struct {
	Subject Subject `json:"subject"`
	SANs    SANs    `json:"sans"`
	Key     Key     `json:"key"`
	// KeyUsage has the bits of RFC 5280 section 4.2.1.3, from the lowest.
	KeyUsage     int      `json:"keyUsage"`
	ExtKeyUsages []int    `json:"extKeyUsages"`
	Unknown      []string `json:"unknownExtKeyUsages"`
	Authority    bool     `json:"authority"`
	Extensions   []string `json:"extensions"`
	// Seconds from NotBefore to NotAfter, and these in seconds since 1970.
	Seconds   int64 `json:"seconds"`
	NotBefore int64 `json:"notBefore"`
	NotAfter  int64 `json:"notAfter"`
	User      *User `json:"user"`
}

// issued is a certificate from elsewhere, or why it cannot be read.
type issued struct {
	Certificate *certificate `json:"certificate"`
	Error       string       `json:"error"`
}

// readPEM reads one block of PEM with one certificate, and nothing around it.
func readPEM(text []byte) issued {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 || len(rest) != 0 {
		return issued{Error: "not one certificate in PEM"}
	}
	read, err := readCertificate(block.Bytes)
	if err != nil {
		return issued{Error: err.Error()}
	}
	return issued{Certificate: read}
}

func readCertificate(der []byte) (*certificate, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("what was issued does not parse: %w", err)
	}
	read := &certificate{
		Subject:   readSubject(parsed.Subject),
		SANs:      SANs{parsed.DNSNames, texts(parsed.IPAddresses), texts(parsed.URIs), parsed.EmailAddresses},
		Key:       readKey(parsed.PublicKey, parsed.RawSubjectPublicKeyInfo),
		KeyUsage:  int(parsed.KeyUsage),
		Authority: parsed.IsCA,
		Seconds:   int64(parsed.NotAfter.Sub(parsed.NotBefore).Seconds()),
		NotBefore: parsed.NotBefore.Unix(),
		NotAfter:  parsed.NotAfter.Unix(),
	}
	for _, usage := range parsed.ExtKeyUsage {
		read.ExtKeyUsages = append(read.ExtKeyUsages, int(usage))
	}
	for _, usage := range parsed.UnknownExtKeyUsage {
		read.Unknown = append(read.Unknown, usage.String())
	}
	for _, extension := range parsed.Extensions {
		read.Extensions = append(read.Extensions, extension.Id.String())
	}
	response, ok, err := authentication.CommonNameUserConversion([]*x509.Certificate{parsed})
	if err != nil {
		return nil, fmt.Errorf("the API server does not take it: %w", err)
	}
	if ok {
		read.User = &User{response.User.GetName(), response.User.GetUID(), response.User.GetGroups()}
	}
	return read, nil
}

func readSubject(name pkix.Name) Subject {
	read := Subject{
		CommonName:          name.CommonName,
		Organizations:       name.Organization,
		OrganizationalUnits: name.OrganizationalUnit,
		Others:              map[string]string{},
	}
	for _, attribute := range name.Names {
		if text, ok := attribute.Value.(string); ok {
			read.Names = append(read.Names, text)
		} else {
			read.Unread = append(read.Unread, attribute.Type.String())
		}
	}
	others := map[string][]string{
		"C": name.Country, "L": name.Locality, "ST": name.Province, "street": name.StreetAddress,
		"postalCode": name.PostalCode,
	}
	for kind, values := range others {
		for index, value := range values {
			read.Others[fmt.Sprintf("%s.%d", kind, index)] = value
		}
	}
	if name.SerialNumber != "" {
		read.Others["serialNumber"] = name.SerialNumber
	}
	return read
}

func readKey(public any, info []byte) Key {
	digest := sha256.Sum256(info)
	read := Key{SHA256: hex.EncodeToString(digest[:])}
	switch key := public.(type) {
	case *rsa.PublicKey:
		read.Algorithm, read.Bits, read.Exponent = "RSA", key.N.BitLen(), key.E
	case *ecdsa.PublicKey:
		read.Algorithm, read.Bits = "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		read.Algorithm, read.Bits = "Ed25519", 256
	default:
		read.Algorithm = fmt.Sprintf("%T", public)
	}
	return read
}

func texts[T fmt.Stringer](values []T) []string {
	var result []string
	for _, value := range values {
		result = append(result, value.String())
	}
	return result
}
