package main

import (
	"crypto"
	"crypto/ed25519"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// toBeSigned is a message, and how to sign it.
type toBeSigned struct {
	Key     string `json:"key"`
	Hash    string `json:"hash"`
	Message []byte `json:"message"`
	// Salt: for RSA, PSS with a salt of so many bytes; PKCS#1 v1.5 without.
	Salt *int `json:"salt"`
}

type signature struct {
	Signature []byte `json:"signature"`
	Error     string `json:"error,omitempty"`
}

// keys are the private keys of a directory, PKCS#8 in PEM, by the names of their files.
type keys map[string]crypto.Signer

func loadKeys(directory string) (keys, error) {
	paths, err := filepath.Glob(filepath.Join(directory, "*.pem"))
	if err != nil {
		return nil, err
	}
	loaded := keys{}
	for _, path := range paths {
		bytes, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(bytes)
		if block == nil {
			return nil, fmt.Errorf("%s: no PEM", path)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		loaded[strings.TrimSuffix(filepath.Base(path), ".pem")] = key.(crypto.Signer)
	}
	return loaded, nil
}

func (k keys) public() map[string][]byte {
	result := map[string][]byte{}
	for name, key := range k {
		info, err := x509.MarshalPKIXPublicKey(key.Public())
		fail(err)
		result[name] = info
	}
	return result
}

var hashes = map[string]crypto.Hash{
	"MD5": crypto.MD5, "SHA1": crypto.SHA1, "SHA224": crypto.SHA224, "SHA256": crypto.SHA256, "SHA384": crypto.SHA384,
	"SHA512": crypto.SHA512,
}

func (k keys) sign(asked *toBeSigned) signature {
	key, ok := k[asked.Key]
	if !ok {
		return signature{Error: "no such key"}
	}
	var options crypto.SignerOpts = crypto.Hash(0)
	message := asked.Message
	if _, ok := key.(ed25519.PrivateKey); !ok {
		hash := hashes[asked.Hash]
		if !hash.Available() {
			return signature{Error: "no such hash"}
		}
		digest := hash.New()
		digest.Write(message)
		message, options = digest.Sum(nil), hash
		if asked.Salt != nil {
			options = &rsa.PSSOptions{SaltLength: *asked.Salt, Hash: hash}
		}
	}
	signed, err := key.Sign(rand.Reader, message, options)
	if err != nil {
		return signature{Error: err.Error()}
	}
	return signature{Signature: signed}
}
