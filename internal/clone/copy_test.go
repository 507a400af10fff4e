package clone

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"tidemark/internal/clock"
	"tidemark/internal/mysqld/hostiletest"
)

// fake is a donor that sends made-up packets.
type fake struct {
	data, ack net.Conn
	begin     [][]byte // in place of the answer to the first request, if not nil
	cut       int      // so many packets of the copy, then nothing; 0: all
	then      []byte   // sent after cut, if not nil
	hang      bool     // instead of closing the connection after that
	acks      int
}

func packet(code byte, payload ...byte) []byte { return append([]byte{code}, payload...) }

func send(c net.Conn, p []byte) error {
	_, err := c.Write(hostiletest.Packet(0, p))
	return err
}

// receive returns the next packet; nothing if there is none.
func receive(c net.Conn) []byte {
	p, err := hostiletest.ReadPacket(c)
	if err != nil {
		return nil
	}
	return p
}

// locator is the donor's first answer.
func locator() []byte {
	le := binary.LittleEndian
	p := le.AppendUint32([]byte{resLocators}, protocolVersion)
	p = append(p, engineInnoDB)
	p = le.AppendUint32(p, locatorSize)
	return append(p, desc(descLocator, locatorSize)...)
}

func (f *fake) serve(items []item) {
	defer f.data.Close()
	defer f.ack.Close()
	for _, c := range []net.Conn{f.data, f.ack} {
		if p := receive(c); len(p) == 0 || p[0] != comClone || send(c, packet(plainOK, 0, 0, 2, 0, 0, 0)) != nil {
			return
		}
	}
	if p := receive(f.data); len(p) == 0 || p[0] != comInit {
		return
	}
	begin := f.begin
	if begin == nil {
		begin = [][]byte{packet(5, 'x'), locator(), packet(resComplete)}
	}
	for _, p := range begin {
		_ = send(f.data, p)
	}
	if p := receive(f.data); len(p) == 0 || p[0] != comExecute {
		return
	}
	sent := 0
	next := func(p []byte) bool {
		if sent++; f.cut > 0 && sent > f.cut {
			if f.then != nil {
				_ = send(f.data, f.then)
			}
			if f.hang {
				receive(f.data)
			}
			return false
		}
		return send(f.data, p) == nil
	}
	for _, i := range items {
		if !next(append([]byte{resDescriptor, engineInnoDB, 0}, i.desc...)) || i.data != nil && !next(packet(resData, i.data...)) {
			return
		}
		if c, err := parseState(i.desc); err == nil && binary.BigEndian.Uint32(i.desc[8:]) == descState && !c.begins {
			if p := receive(f.ack); len(p) == 0 || p[0] != comAck || !bytes.Equal(p[10:10+locatorSize], desc(descLocator, locatorSize)) || p[len(p)-1] != stateAcknowledged {
				return
			}
			f.acks++
			_ = send(f.ack, packet(resComplete))
		}
	}
	if next(packet(resComplete)) {
		for _, c := range []net.Conn{f.data, f.ack} {
			if p := receive(c); len(p) > 0 && p[0] == comExit {
				_ = send(c, packet(resComplete))
			}
		}
	}
}

// copyFrom copies a fake donor.
func copyFrom(t *testing.T, f *fake, items []item, silence time.Duration) ([]byte, Totals, error) {
	var o Options
	o.Data, f.data = hostiletest.Pair(t)
	o.Ack, f.ack = hostiletest.Pair(t)
	o.Clock, o.Silence = clock.System{}, silence
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve(items)
	}()
	var b bytes.Buffer
	totals, err := Copy(context.Background(), o, &b)
	<-done
	return b.Bytes(), totals, err
}

func TestCopy(t *testing.T) {
	f := &fake{}
	b, totals, err := copyFrom(t, f, whole(), time.Minute)
	if err != nil || totals != (Totals{Files: 5, Bytes: 54, Protocol: "1.3"}) || f.acks != 4 {
		t.Fatalf("%+v, %d acknowledged, %v", totals, f.acks, err)
	}
	dir, err := extract(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "d/b.ibd"); got != "was a.grown" {
		t.Errorf("d/b.ibd has %q", got)
	}
}

// TestCopyFails cuts the connection at each packet, and ends there with errors. What was written by
// then does not pass for a stream.
func TestCopyFails(t *testing.T) {
	const packets = 38 // with the last
	message := "\x05\x2f#HY000no space"
	for cut := 1; cut < packets; cut++ {
		for _, c := range []struct {
			then []byte
			want string
		}{
			{nil, "the server closed the connection in the middle of the copy"},
			{packet(resError, append([]byte{0x25, 0x05, 0, 0}, "interrupted"...)...), "error 1317: interrupted"},
			{packet(plainError, []byte(message)...), "error 12037: no space"},
			{packet(0x44), "unexpected answer 0x44"},
		} {
			b, _, err := copyFrom(t, &fake{cut: cut, then: c.then}, whole(), time.Minute)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("after %d packets: error %v, not %q", cut, err, c.want)
			}
			if drain(b) == nil {
				t.Errorf("after %d packets the stream is whole", cut)
			}
		}
	}
	if _, _, err := copyFrom(t, &fake{cut: 10, then: packet(resComplete)}, whole(), time.Minute); err == nil || !strings.Contains(err.Error(), "called an unfinished copy complete") {
		t.Errorf("complete too soon: %v", err)
	}
	if _, _, err := copyFrom(t, &fake{cut: 10, hang: true}, whole(), 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "was silent for 50ms") {
		t.Errorf("silent: %v", err)
	}
}

func TestCopyRefuses(t *testing.T) {
	newer := locator()
	newer[2]++
	for want, begin := range map[string][][]byte{
		"the server named no snapshot":               {packet(resComplete)},
		"speaks version 0x203 of the clone protocol": {newer},
		"in 8 bytes that are not understood":         {locator()[:9]},
		"error 3634: Too many":                       {packet(resError, append([]byte{0x32, 0x0e, 0, 0}, "Too many"...)...)},
		"the server sent a packet of 0 bytes":        {{}},
		"the server reported an error of 2 bytes":    {packet(resError, 1, 2)},
	} {
		if _, _, err := copyFrom(t, &fake{begin: begin}, nil, time.Minute); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, not %q", err, want)
		}
	}
}

// TestCopyCancelled ends the context, and the writer, in the middle.
func TestCopyCancelled(t *testing.T) {
	for _, fail := range []bool{false, true} {
		f := &fake{cut: 11, hang: true}
		var o Options
		o.Data, f.data = hostiletest.Pair(t)
		o.Ack, f.ack = hostiletest.Pair(t)
		o.Clock = clock.System{}
		go f.serve(append(whole()[:8], text(stateFiles, 0, 0, strings.Repeat("x", 2<<20), 2<<20)))
		ctx, cancel := context.WithCancel(context.Background())
		full := errors.New("full")
		_, err := Copy(ctx, o, writerFunc(func(p []byte) (int, error) {
			if fail {
				return 0, full
			}
			cancel()
			return len(p), nil
		}))
		cancel()
		if fail && !errors.Is(err, full) || !fail && !errors.Is(err, context.Canceled) {
			t.Errorf("error: %v", err)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
