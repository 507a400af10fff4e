package binlog

import (
	"encoding/hex"
	"strings"
	"testing"

	"tidemark/internal/gtid"
)

// Events of a MySQL 9.7 server: a definition, an insert with a tag, one without, one with another
// original commit time, and the lists of two files.
const (
	plainEvent    = "5196016b21070000004d000000eb000000000001c21ea1bae5ab11f19f2902fc00000001010000000000000002000000000000000001000000000000008ff0eff7c86006b0506201006031e0bd"
	taggedEvent   = "5196016b2a070000005200000063020000000002760000000209033c8502e9029503ad0222c5037d025204f103000000020404060a7461675f3108080a0c0c7fe910f0f7c860061031041283120bfdf3ef17"
	longEvent     = "5196016b21070000004f0000006c030000000000c21ea1bae5ab11f19f2902fc00000001030000000000000002020000000000000004000000000000004713f0f7c86006fc0901506201008d1e437f"
	originalEvent = "5196016b2107000000560000007c040000000000c21ea1bae5ab11f19f2902fc00000001040000000000000002020000000000000005000000000000005a14f0f7c8608640420f00000000fc100150620100a594f760"
	emptyList     = "5196016b23070000001f0000009e00000080000000000000000000b17aa0b9"
	taggedList    = "5196016b230700000076000000f500000080000102000000000001c21ea1bae5ab11f19f2902fc0000000100010000000000000001000000000000000500000000000000c21ea1bae5ab11f19f2902fc000000010a7461675f31010000000000000001000000000000000200000000000000a31fb1a7"
	server        = "c21ea1ba-e5ab-11f1-9f29-02fc00000001"
)

// event makes the event of a hex dump, and its body.
func event(t *testing.T, dump string) (*Event, []byte) {
	t.Helper()
	data, err := hex.DecodeString(dump)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	return &Event{Header: h, Data: data, First: true, Last: true}, body(data, h.Size, true)
}

func TestMySQLGTID(t *testing.T) {
	for _, tt := range []struct {
		name, event, gtid string
		length            uint64
	}{
		{"plain", plainEvent, server + ":1", 77 + 99},
		{"tagged", taggedEvent, server + ":tag_1:1", 82 + 71 + 44 + 40 + 31},
		{"long", longEvent, server + ":3", 79 + 71 + 44 + 40 + 31},
		{"with an original commit time", originalEvent, server + ":4", 86 + 71 + 44 + 40 + 31},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev, b := event(t, tt.event)
			parse := parseMySQLGTID
			if ev.Type == TypeTaggedGTID {
				parse = parseTaggedGTID
			}
			g, err := parse(b)
			if err != nil || g.gtid.String() != tt.gtid || g.length != tt.length || g.committed/1e6 != int64(ev.Timestamp) || g.committed%1e6 == 0 {
				t.Errorf("%+v, %s, %v", g, g.gtid, err)
			}
			for n := range b {
				if cut, err := parse(b[:n]); err == nil && cut != g {
					t.Errorf("cut off at %d: %+v", n, cut)
				}
			}
		})
	}
}

func TestListedState(t *testing.T) {
	for dump, want := range map[string]string{emptyList: "", taggedList: server + ":1-4:tag_1:1"} {
		ev, b := event(t, dump)
		s, err := ListedState(ev, b)
		if err != nil || s.Flavor() != gtid.MySQL || s.String() != want {
			t.Errorf("%v, %v; want %s", s, err, want)
		}
		ev.Last = false
		if _, err := ListedState(ev, b[:len(b)/2]); err == nil {
			t.Error("no error for a part of a list")
		}
	}
	ev, b := event(t, plainEvent)
	if s, err := ListedState(ev, b); s != nil || err != nil {
		t.Errorf("%v, %v for another event", s, err)
	}
}

// TestMySQLTransactions: a transaction ends where its GTID event says, whatever the events in it are.
func TestMySQLTransactions(t *testing.T) {
	var track tracker
	inside := func(typ Type, size uint32) *Event {
		return &Event{Header: Header{Type: typ, Size: size}, First: true, Last: true}
	}
	see := func(ev *Event, body []byte) *Event {
		t.Helper()
		if err := track.observe(ev, body); err != nil {
			t.Fatal(err)
		}
		return ev
	}
	begin := func(dump string) *Event {
		t.Helper()
		ev, b := event(t, dump)
		if see(ev, b); !ev.Begin || !ev.Open || ev.End || ev.CommitTime().Unix() != int64(ev.Timestamp) {
			t.Errorf("%+v", ev)
		}
		return ev
	}
	begin(plainEvent)
	if ev := see(inside(TypeQuery, 99), nil); !ev.End || ev.Open || ev.GTID.String() != server+":1" {
		t.Errorf("%+v", ev)
	}
	begin(taggedEvent)
	for _, size := range []uint32{71, 44, 40} {
		if ev := see(inside(TypeXID, size), nil); ev.End || !ev.Open || ev.GTID.Tag != "tag_1" {
			t.Errorf("%+v", ev)
		}
	}
	if ev := see(inside(TypeQuery, 31), nil); !ev.End {
		t.Errorf("%+v", ev)
	}
	if ev := see(inside(TypeQuery, 31), nil); ev.End || ev.Open || !ev.GTID.IsZero() {
		t.Errorf("between transactions: %+v", ev)
	}
	begin(plainEvent)
	if ev := see(inside(TypeRotate, 44), nil); ev.End || ev.Open {
		t.Errorf("a file ends in a transaction: %+v", ev)
	}
	begin(plainEvent)
	if err := track.observe(inside(TypeQuery, 100), nil); err == nil || !strings.Contains(err.Error(), "99 left") {
		t.Errorf("an event that is too long: %v", err)
	}
	if err := track.observe(inside(TypeAnonymousGTID, 79), nil); err == nil || !strings.Contains(err.Error(), "gtid_mode") {
		t.Errorf("a transaction without a GTID: %v", err)
	}
}

// TestHeartbeatV2 has the position of one that a MySQL 9.7 server could send from behind 4 GiB.
func TestHeartbeatV2(t *testing.T) {
	b := append([]byte{1, 13}, "binlog.000012"...)
	b = append(b, 2, 9, 0xfe, 1, 0, 0, 0, 1, 0, 0, 0, 0)
	p, err := ParseHeartbeat(Header{Type: TypeHeartbeatV2}, b)
	if err != nil || p != (Point{File: "binlog.000012", Offset: 1<<32 | 1}) {
		t.Errorf("%v, %v", p, err)
	}
	for n := 1; n < len(b)-1; n++ { // the last byte ends the list
		if p, err := ParseHeartbeat(Header{Type: TypeHeartbeatV2}, b[:n]); err == nil && p.Offset != 0 {
			t.Errorf("cut off at %d: %v", n, p)
		}
	}
}
