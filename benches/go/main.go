// Prints how many nanoseconds Go takes to parse the PEM request in a file and to check its self-signature, N times:
// what any approver written in Go does before it decides.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: main N FILE")
	}
	number, err := strconv.Atoi(os.Args[1])
	check(err)
	text, err := os.ReadFile(os.Args[2])
	check(err)
	begin := time.Now()
	for range number {
		block, _ := pem.Decode(text)
		if block == nil {
			fail("no PEM block")
		}
		request, err := x509.ParseCertificateRequest(block.Bytes)
		check(err)
		check(request.CheckSignature())
	}
	fmt.Println(time.Since(begin).Nanoseconds())
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}
