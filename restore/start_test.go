package restore

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/fault"
)

func TestCheckStart(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	socket := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	check := func(e Endpoint) (*Endpoint, error) {
		r := &run{Options: Options{TargetDir: "/srv/restored", Start: &e}}
		return &e, r.checkStart()
	}
	for _, taken := range []Endpoint{{Port: tcp.Addr().(*net.TCPAddr).Port}, {Socket: socket}, {Socket: "/" + strings.Repeat("x", 200)}, {Port: 3307, Host: "192.0.2.1"}} {
		if _, err := check(taken); !fault.Is(err, fault.Usage) || fault.HintOf(err) == "" {
			t.Errorf("%+v is not refused: %v", taken, err)
		}
	}
	if e, err := check(Endpoint{}); err != nil || e.Socket != "/srv/restored/server.sock" {
		t.Errorf("%+v, %v", e, err)
	}
}
