package cli

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/proto/status"
)

// serve answers as a running one with that status; it returns the environment that leads to it.
func serve(t *testing.T, s *status.Status) []string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/status" {
			http.NotFound(w, r)
			return
		}
		data, err := protojson.Marshal(s)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(srv.Close)
	return []string{"TIDEMARK_STATUS_LISTEN=" + strings.TrimPrefix(srv.URL, "http://")}
}

func TestStatus(t *testing.T) {
	now := timestamppb.New(begun)
	s := &status.Status{Version: "1.2.3", Started: timestamppb.New(begun.Add(-26 * time.Hour)), Now: now, Clusters: []*status.Cluster{
		{Name: "shop", State: status.State_STATE_CATCHING_UP, Host: "db1:3306", ServerVersion: "10.11.19-MariaDB", Timeline: 1,
			Archived: &status.Point{File: "binlog.000012", Offset: 4711, Gtid: "0-1-34103"}, ArchivedLagSeconds: 2.25, Segments: 1234,
			Window: &status.Window{Earliest: timestamppb.New(begun.Add(-time.Hour)), Latest: now}, Reconnects: 1,
			LastBackup: &status.Backup{Id: "b1", Finished: timestamppb.New(begun.Add(-time.Hour)), StoredBytes: 3 << 30}, SpoolLimitBytes: 10 << 30},
		{Name: "app", State: status.State_STATE_IDLE},
	}}
	env := serve(t, s)
	o := program(context.Background(), env, "status").must(t, 0)
	for _, want := range []string{"tidemark 1.2.3, running for 26h 00m", "cluster shop: catching up", "archived 2.2s", "binlog.000012:4711  0-1-34103",
		"2026-11-20 02:00:00 UTC to 2026-11-20 03:00:00 UTC", "1,234 segments", "1h 00m ago (b1), 3.0 GiB", "1 reconnect,", "0 B of 10.0 GiB", "cluster app: idle", "none"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}
	got := new(status.Status)
	o = program(context.Background(), env, "status", "--json").must(t, 0)
	if err := protojson.Unmarshal([]byte(o.stdout), got); err != nil || !proto.Equal(got, s) {
		t.Errorf("%v in %s", err, o.stdout)
	}
	o = program(context.Background(), env, "status", "app").must(t, 0)
	if strings.Contains(o.stdout, "shop") || !strings.Contains(o.stdout, "app") {
		t.Error(o.stdout)
	}
	o = program(context.Background(), env, "status", "nosuch").must(t, 2)
	if !strings.Contains(o.stderr, "Name one of: shop, app.") {
		t.Error(o.stderr)
	}
}

func TestStatusOfTrouble(t *testing.T) {
	for state, exit := range map[status.State]int{status.State_STATE_STOPPED: 3, status.State_STATE_STALLED: 3, status.State_STATE_WAITING: 3,
		status.State_STATE_STREAMING: 0, status.State_STATE_CONNECTING: 0} {
		env := serve(t, &status.Status{Clusters: []*status.Cluster{{Name: "shop", State: state, Error: "connect: no route", Hint: "Mend it.",
			LastBackup: &status.Backup{Error: "disk full"}, RunningBackup: &status.Backup{Bytes: 5}}}})
		o := program(context.Background(), env, "status").must(t, exit)
		for _, want := range []string{"connect: no route", "Mend it.", "failed: disk full", "backup running"} {
			if !strings.Contains(o.stdout, want) {
				t.Errorf("no %q in\n%s", want, o.stdout)
			}
		}
	}
}

func TestStatusWithoutDaemon(t *testing.T) {
	for env, exit := range map[string]int{"TIDEMARK_STATUS_LISTEN=127.0.0.1:1": 1, "TIDEMARK_STATUS_LISTEN=off": 17} {
		o := program(context.Background(), []string{env}, "status").must(t, exit)
		if o.stdout != "" || !strings.HasPrefix(o.stderr, "tidemark: ask for the status") {
			t.Errorf("%+v", o)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	o := program(context.Background(), []string{"TIDEMARK_STATUS_LISTEN=" + strings.TrimPrefix(srv.URL, "http://")}, "status").must(t, 1)
	if !strings.Contains(o.stderr, "404") {
		t.Error(o.stderr)
	}
}
