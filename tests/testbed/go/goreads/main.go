// Goreads says what Go makes of a certification request, and with it Kubernetes: the API server reads requests with
// crypto/x509 when they are filed, kube-controller-manager reads them again when it signs, and the API server reads the
// certificate when somebody comes with it. Each of the three is their own code, imported. It also reads certificates that
// were issued.
//
// It answers each line of standard input, a JSON object with one of the fields of question, with one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// question has one of its fields.
type question struct {
	// Read: a request as the API server gets it.
	Read *request `json:"read"`
	// Certificate: one that was issued, as PEM.
	Certificate []byte `json:"certificate"`
	// Sign: bytes to be signed by one of the keys of the directory that is the argument.
	Sign *toBeSigned `json:"sign"`
	// Keys: the names of these keys, each with its SubjectPublicKeyInfo.
	Keys bool `json:"keys"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: goreads DIRECTORY-OF-KEYS"))
	}
	keys, err := loadKeys(os.Args[1])
	fail(err)
	signer, err := newSigner()
	fail(err)
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for in.More() {
		var asked question
		fail(in.Decode(&asked))
		var answer any
		switch {
		case asked.Read != nil:
			answer = signer.read(asked.Read)
		case asked.Certificate != nil:
			answer = readPEM(asked.Certificate)
		case asked.Sign != nil:
			answer = keys.sign(asked.Sign)
		case asked.Keys:
			answer = keys.public()
		default:
			fail(fmt.Errorf("a question without content"))
		}
		fail(answers.Encode(answer))
		fail(out.Flush())
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "goreads:", err)
		os.Exit(1)
	}
}
