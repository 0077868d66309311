// A witness by people who know nothing of this repository: transparency-dev/witness, before one log.
// Invariant: everything that judges a checkpoint is theirs; here is only the door and a key made for
// this run. usage: witness NAME LOG-VKEY; prints "PORT VKEY" and serves until standard input ends.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	name, logKey := os.Args[1], os.Args[2]
	ctx := context.Background()
	verifier := must(note.NewVerifier(logKey))
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		log.Fatal(err)
	}
	cosigner := must(fnote.VKeyToCosignatureV1(vkey))
	ours := must(witness.New(ctx, witness.Opts{
		Persistence: inmemory.New(),
		Signers:     []note.Signer{must(fnote.NewSignerForCosignatureV1(skey))},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return verifier, origin == verifier.Name(), nil
		},
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(ours).AddCheckpoint)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port, cosigner)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
