package clone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
)

// records returns where the records of a stream begin, its end included.
func records(b []byte) []int {
	at := len(magic)
	list := []int{at}
	for at < len(b) {
		at += recHeader + int(binary.LittleEndian.Uint32(b[at+1:])) + 4
		list = append(list, at)
	}
	return list
}

// drain reads a stream to its end.
func drain(b []byte) error {
	r, err := newReader(bytes.NewReader(b))
	for err == nil {
		_, _, err = r.next()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// TestDamagedStream cuts a stream at each place, changes each byte, and drops, doubles and swaps
// records: not one of these passes for whole.
func TestDamagedStream(t *testing.T) {
	b := stream(t, whole())
	if err := drain(b); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if err := drain(b[:n]); !errors.Is(err, errTruncated) {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(b)
			changed[n] ^= bit
			if drain(changed) == nil {
				t.Fatalf("byte %d changed, and nothing noticed", n)
			}
		}
	}
	at := records(b)
	for i := range len(at) - 1 {
		this := b[at[i]:at[i+1]]
		join := func(p ...[]byte) []byte { return bytes.Join(p, nil) }
		for name, changed := range map[string][]byte{
			"dropped": join(b[:at[i]], b[at[i+1]:]),
			"doubled": join(b[:at[i+1]], this, b[at[i+1]:]),
			"last":    join(b[:at[i]], b[at[i+1]:], this),
		} {
			if !bytes.Equal(changed, b) && drain(changed) == nil {
				t.Errorf("record %d %s, and nothing noticed", i, name)
			}
		}
	}
	if err := drain(append(bytes.Clone(b), 'x')); err == nil || !strings.Contains(err.Error(), "goes on after its end") {
		t.Errorf("more after the end: %v", err)
	}
}

// TestExtractDamaged extracts streams that are cut or changed somewhere.
func TestExtractDamaged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	b := stream(t, whole())
	for range 40 {
		cut := b[:r.IntN(len(b))]
		if _, err := extract(t, cut); !fault.Is(err, fault.Integrity) {
			t.Errorf("cut at %d: %v", len(cut), err)
		}
		changed := bytes.Clone(b)
		at := r.IntN(len(b))
		changed[at] ^= byte(1 + r.IntN(255))
		if _, err := extract(t, changed); !fault.Is(err, fault.Integrity) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
}

func TestOtherStreams(t *testing.T) {
	b := stream(t, whole())
	later := bytes.Clone(b)
	later[len(magic)-1] = 2
	for text, b := range map[string][]byte{
		"this is not the stream of a clone": []byte("some other file"),
		"the stream is of version 2":        later,
		"the stream is cut off, at byte 0":  nil,
	} {
		if err := drain(b); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, not %q", err, text)
		}
	}
}

// TestLongData splits what is longer than a record.
func TestLongData(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 3*maxRecord/16) + "end"
	items := []item{{desc: state(stateInit, false)}, {desc: state(stateFiles, true)}, {desc: meta(stateFiles, 0, "ibdata1", len(long), 0)},
		text(stateFiles, 0, 0, long, len(long)), {desc: state(stateFiles, false)}, {desc: state(stateDone, true)}}
	dir, err := extract(t, stream(t, items))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "ibdata1"); got != long {
		t.Errorf("%d bytes of %d", len(got), len(long))
	}
}
