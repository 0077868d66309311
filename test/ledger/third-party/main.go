// A second verifier, of other people's code: the Go checksum database's note and tlog packages over Holdpoint's files.
// Invariant: nothing here is Holdpoint's own idea of a tree, a note or a proof; only the paths and bundles are read by hand.
//
//	go run . <public log directory> <vkey> [<earlier checkpoint> | <tlog-proof file>]...
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type tiles struct{ directory string }

func (t tiles) Height() int { return height }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		// sumdb writes tile/<height>/<level>/<n>; C2SP leaves the height out.
		path := "tile" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d", height))
		data, err := os.ReadFile(filepath.Join(t.directory, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func bundlePath(n int64, width int) string {
	tile := tlog.Tile{H: height, L: 0, N: n, W: width}
	return "tile/entries" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/0", height))
}

func openTree(data []byte, verifiers note.Verifiers, name string) (tlog.Tree, error) {
	opened, err := note.Open(data, verifiers)
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != name || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("checkpoint text is not three lines of %s", name)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func entries(directory string, tree tlog.Tree, reader tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += 256 {
		width := int(min(256, tree.N-first))
		data, err := os.ReadFile(filepath.Join(directory, bundlePath(first/256, width)))
		if err != nil {
			return err
		}
		var indexes []int64
		for i := range width {
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
		}
		// TileHashReader proves each tile it uses against the tree's root.
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i := range width {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("entry %d: bundle ends", first+int64(i))
			}
			length := int(binary.BigEndian.Uint16(data))
			if tlog.RecordHash(data[2:2+length]) != hashes[i] {
				return fmt.Errorf("entry %d: wrong hash", first+int64(i))
			}
			data = data[2+length:]
		}
		if len(data) != 0 {
			return fmt.Errorf("bundle of entry %d: %d bytes left over", first, len(data))
		}
	}
	return nil
}

func earlier(data []byte, tree tlog.Tree, reader tlog.HashReader, verifiers note.Verifiers, name string) error {
	old, err := openTree(data, verifiers, name)
	if err != nil || old.N == 0 {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

func inclusion(data []byte, verifiers note.Verifiers, name string) error {
	head, checkpoint, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a tlog-proof")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := openTree(checkpoint, verifiers, name)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func run(directory, vkey string, files []string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	verifiers := note.VerifierList(verifier)
	data, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openTree(data, verifiers, verifier.Name())
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles{directory})
	if err := entries(directory, tree, reader); err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(data, []byte("c2sp.org/tlog-proof@v1")) {
			err = inclusion(data, verifiers, verifier.Name())
		} else {
			err = earlier(data, tree, reader, verifiers, verifier.Name())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	fmt.Printf("ok %d %s %d\n", tree.N, tree.Hash, len(files))
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
