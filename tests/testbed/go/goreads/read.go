package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/apis/certificates"
	"k8s.io/kubernetes/pkg/apis/certificates/validation"
)

// request is what of a CertificateSigningRequest goes into its validation and into the certificate.
type request struct {
	PEM               []byte   `json:"pem"`
	Usages            []string `json:"usages"`
	SignerName        string   `json:"signerName"`
	ExpirationSeconds *int32   `json:"expirationSeconds"`
	// Issue: sign it too, if it parses and is signed.
	Issue bool `json:"issue"`
}

// reading is what Go makes of a request.
type reading struct {
	// Refused: why the API server would not take the object, empty if it would.
	Refused string `json:"refused"`
	// Unread: why it does not parse, whatever its signature.
	Unread string `json:"unread"`
	// SHA256 of the DER bytes in the PEM block, and what the block has besides.
	SHA256  string `json:"sha256"`
	Headers int    `json:"headers"`
	Rest    []byte `json:"rest"`

	Subject Subject  `json:"subject"`
	SANs    SANs     `json:"sans"`
	Key     Key      `json:"key"`
	Raw     *rawInfo `json:"raw"`

	// The certificate as kube-controller-manager would issue it, or why not.
	Issued   *certificate `json:"issued"`
	Unissued string       `json:"unissued"`
}

func (s *signer) read(asked *request) reading {
	object := certificates.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "x"},
		Spec: certificates.CertificateSigningRequestSpec{
			Request:           asked.PEM,
			SignerName:        asked.SignerName,
			ExpirationSeconds: asked.ExpirationSeconds,
		},
	}
	for _, usage := range asked.Usages {
		object.Spec.Usages = append(object.Spec.Usages, certificates.KeyUsage(usage))
	}
	answer := reading{}
	if errors := validation.ValidateCertificateSigningRequestCreate(&object); len(errors) != 0 {
		answer.Refused = errors[0].Detail
		if answer.Refused == "" {
			answer.Refused = errors[0].Field
		}
	}
	parsed, err := certificates.ParseCSR(asked.PEM)
	if err != nil {
		answer.Unread = err.Error()
		return answer
	}
	block, rest := pem.Decode(asked.PEM)
	digest := sha256.Sum256(block.Bytes)
	answer.SHA256, answer.Headers, answer.Rest = hex.EncodeToString(digest[:]), len(block.Headers), rest
	answer.Subject = readSubject(parsed.Subject)
	answer.SANs = SANs{parsed.DNSNames, texts(parsed.IPAddresses), texts(parsed.URIs), parsed.EmailAddresses}
	answer.Key = readKey(parsed.PublicKey, parsed.RawSubjectPublicKeyInfo)
	if answer.Raw, err = walk(parsed); err != nil {
		answer.Unread = "raw: " + err.Error()
	}
	if asked.Issue && answer.Refused == "" {
		if answer.Issued, err = s.issue(parsed.Raw, asked); err != nil {
			answer.Unissued = err.Error()
		}
	}
	return answer
}

// rawInfo is what stands in CertificationRequestInfo, element by element, whether or not Go gives it a meaning.
type rawInfo struct {
	Attributes []rawAttribute `json:"attributes"`
	Names      []rawName      `json:"names"`
	Extensions []rawExtension `json:"extensions"`
	GeneralSAN []rawSAN       `json:"generalNames"`
}

// rawAttribute is a PKCS#10 attribute: its type, and how many values it has.
type rawAttribute struct {
	Type   string `json:"type"`
	Values int    `json:"values"`
}

// rawName is an attribute of the subject: its type, the tag of its value, and the bytes.
type rawName struct {
	Type  string `json:"type"`
	Tag   int    `json:"tag"`
	Value []byte `json:"value"`
}

// rawExtension is an extension that is asked for.
type rawExtension struct {
	Type  string `json:"type"`
	Value []byte `json:"value"`
}

// rawSAN is a GeneralName: tag and bytes.
type rawSAN struct {
	Tag   int    `json:"tag"`
	Value []byte `json:"value"`
}

// walk takes the bytes apart without any of the types of crypto/x509.
func walk(parsed *x509.CertificateRequest) (*rawInfo, error) {
	info := &rawInfo{}
	parts, err := elements(parsed.RawTBSCertificateRequest, 1)
	if err != nil {
		return nil, err
	}
	if parts = inside(parts[0]); len(parts) != 4 {
		return nil, fmt.Errorf("CertificationRequestInfo has %d parts", len(parts))
	}
	for _, rdn := range inside(parts[1]) {
		for _, attribute := range inside(rdn) {
			pair := inside(attribute)
			if len(pair) != 2 {
				return nil, fmt.Errorf("an attribute of the subject has %d parts", len(pair))
			}
			info.Names = append(info.Names, rawName{oid(pair[0]), pair[1].Tag, pair[1].Bytes})
		}
	}
	for _, attribute := range inside(parts[3]) {
		pair := inside(attribute)
		if len(pair) != 2 {
			return nil, fmt.Errorf("a PKCS#10 attribute has %d parts", len(pair))
		}
		kind, values := oid(pair[0]), inside(pair[1])
		info.Attributes = append(info.Attributes, rawAttribute{kind, len(values)})
		if kind != "1.2.840.113549.1.9.14" && kind != "1.3.6.1.4.1.311.2.1.14" {
			continue
		}
		for _, value := range values {
			for _, extension := range inside(value) {
				fields := inside(extension)
				if len(fields) < 2 {
					return nil, fmt.Errorf("an extension has %d parts", len(fields))
				}
				kind, content := oid(fields[0]), fields[len(fields)-1].Bytes
				info.Extensions = append(info.Extensions, rawExtension{kind, content})
				if kind == "2.5.29.17" {
					names, err := elements(content, 1)
					if err != nil {
						return nil, err
					}
					for _, name := range inside(names[0]) {
						info.GeneralSAN = append(info.GeneralSAN, rawSAN{name.Tag, name.Bytes})
					}
				}
			}
		}
	}
	return info, nil
}

// elements are all that stand in bytes: as many as wanted, or any number if that is negative.
func elements(bytes []byte, wanted int) ([]asn1.RawValue, error) {
	var found []asn1.RawValue
	for len(bytes) != 0 {
		var element asn1.RawValue
		rest, err := asn1.Unmarshal(bytes, &element)
		if err != nil {
			return nil, err
		}
		found, bytes = append(found, element), rest
	}
	if wanted >= 0 && len(found) != wanted {
		return nil, fmt.Errorf("%d elements", len(found))
	}
	return found, nil
}

func inside(element asn1.RawValue) []asn1.RawValue {
	found, err := elements(element.Bytes, -1)
	if err != nil {
		return nil
	}
	return found
}

func oid(element asn1.RawValue) string {
	var value asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(element.FullBytes, &value); err != nil {
		return hex.EncodeToString(element.FullBytes)
	}
	return value.String()
}
