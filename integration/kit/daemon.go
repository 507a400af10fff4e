package kit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Daemon is a running `tidemark run`.
type Daemon struct {
	cmd  *exec.Cmd
	Addr string // of its status port
	log  string
	done chan struct{} // closed when it has ended, with err
	err  error
	Last Status // as last read

	// BackupsMayFail lets Await go on when a base backup has failed: it is taken again.
	BackupsMayFail bool
}

// Status is the part of the status that the story tells. 64-bit integers are strings in it.
type Status struct {
	State                string
	Host                 string
	Error, Hint          string
	ArchivedLagSeconds   float64
	ReceivedTransactions uint64 `json:",string"`
	DuplicateBytes       uint64 `json:",string"`
	Reconnects           uint64 `json:",string"`
	ChecksumFailures     uint64 `json:",string"`
	Syncs                uint64 `json:",string"`
	ServerIDClash        uint32 `json:"serverIdClash"`
	Barrier              struct{ Kind, What, GTID string }
	Missing              []struct{ Setting, Value string }
	MissingUnaccepted    bool
	Archived, Primary    Point
	SemiSync             SemiSync
	LastBackup           struct {
		ID                 string
		Started, Finished  time.Time
		Bytes, StoredBytes uint64 `json:",string"`
		Error              string
	}
	Lease struct {
		Ours         bool
		Host, Writer string
		Epoch        uint64 `json:",string"`
	}
	Compaction struct {
		Segments, Into, RemovedObjects, KeptBytes uint64 `json:",string"`
		Error                                     string
	}
	LastExpiry struct {
		Finished, Succeeded time.Time
		Error               string
	}
	LastVerification Verification
	NextVerification time.Time
}

// Verification is how a check of the archive ended.
type Verification struct {
	Finished                  time.Time
	What, FirstFinding, Error string
	Damage                    uint64 `json:",string"`
}

// SemiSync is how it stands with acknowledgements.
type SemiSync struct {
	Kept                         bool
	Reason                       string
	PrimaryOn                    bool
	Acknowledged, Unacknowledged uint64 `json:",string"`
	Sent                         uint64 `json:",string"`
}

// Point is a place in the primary's log.
type Point struct {
	File   string
	Offset uint64 `json:",string"`
	GTID   string
}

var listening = regexp.MustCompile(`status port listening.*?(127\.0\.0\.1:\d+)`)

// Start runs `tidemark run` with its log in a file, and returns when its status port listens.
func Start(tool Tool, config, log string) (*Daemon, error) {
	d := &Daemon{log: log, done: make(chan struct{})}
	d.cmd = tool.Command("run", "--config", config)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	found := make(chan string, 1)
	go func() {
		defer f.Close()
		in := bufio.NewScanner(stderr)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			fmt.Fprintln(f, in.Text())
			if m := listening.FindStringSubmatch(in.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	select {
	case d.Addr = <-found:
		return d, nil
	case <-d.done:
		return nil, fmt.Errorf("tidemark run ended: %w\n%s", d.err, d.Tail())
	case <-time.After(time.Minute): // a disk that is busy with gigabytes takes its time
		_ = d.cmd.Process.Kill()
		return nil, errors.New("tidemark run does not listen on its status port\n" + d.Tail())
	}
}

// Pid is that of the process.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// running reports whether it has not ended.
func (d *Daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Tail is the end of the log.
func (d *Daemon) Tail() string {
	data, _ := os.ReadFile(d.log)
	return string(data[max(0, len(data)-2000):])
}

// Status asks the status port.
func (d *Daemon) Status() (Status, error) {
	r, err := http.Get("http://" + d.Addr + "/status")
	if err != nil {
		return Status{}, err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return Status{}, err
	}
	var m struct{ Clusters []Status }
	if err := json.Unmarshal(data, &m); err != nil {
		return Status{}, err
	}
	d.Last = m.Clusters[0]
	return d.Last, nil
}

// torn is in the error of a base backup of MariaDB that comes by chance, with any statement on a table of MyISAM; it is
// taken again.
const torn = "the copy was made while these were written to"

// Await polls the status until it is as wished.
func (d *Daemon) Await(ctx context.Context, limit time.Duration, ok func(Status) bool) error {
	deadline := time.Now().Add(limit)
	for ctx.Err() == nil {
		c, err := d.Status()
		switch {
		case err == nil && ok(c):
			return nil
		case err == nil && c.LastBackup.Error != "" && !d.BackupsMayFail && !strings.Contains(c.LastBackup.Error, torn):
			return errors.New("the base backup failed: " + c.LastBackup.Error)
		case time.Now().After(deadline):
			return fmt.Errorf("nothing after %s; state %s, error %q, %v\n%s", limit, c.State, c.Error, err, d.Tail())
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

// Pause stops it in its tracks, until Resume.
func (d *Daemon) Pause() { _ = d.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (d *Daemon) Resume() { _ = d.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends it as a crash does.
func (d *Daemon) Kill() {
	d.Addr = ""
	_ = d.cmd.Process.Kill()
	<-d.done
}

// Stop asks it to end and waits.
func (d *Daemon) Stop() error {
	if d.cmd.ProcessState != nil || d.Addr == "" {
		return nil
	}
	d.Addr = ""
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if <-d.done; d.err != nil {
		return fmt.Errorf("tidemark run: %w\n%s", d.err, d.Tail())
	}
	return nil
}
