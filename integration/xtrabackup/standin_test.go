package xtrabackup

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// What the stand-in must know, in its environment.
const (
	envMysqld = "STANDIN_MYSQLD" // the server; set: this process is the stand-in
	envLie    = "STANDIN_LIE"    // how it fails
	envSaw    = "STANDIN_SAW"    // a file to which it adds its arguments
)

func TestMain(m *testing.M) {
	if os.Getenv(envMysqld) != "" {
		if err := standIn(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "stand-in:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// install makes an xtrabackup of a version in a directory of its own, that is this test's stand-in. It
// writes streams in Percona's dialect, and says what xtrabackup says. Its copy is that of a server which
// has no dirty page and is not written to meanwhile; that is all it can do. To prepare, it runs the
// server, which recovers, and loses the GTIDs it has executed, as those of a copy need not be there.
func install(t *testing.T, mysqld, version, lie string) (dir, saw string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	saw = filepath.Join(dir, "saw")
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$2\" = --version ]; then echo 'xtrabackup version %s-1 based on MySQL server %[1]s Linux (x86_64) (revision id: 0)' >&2; exit 0; fi\n"+
		"%s=%s %s=%s %s=%s exec %s \"$@\"\n", version, envMysqld, mysqld, envLie, lie, envSaw, saw, self)
	if err := os.WriteFile(filepath.Join(dir, "xtrabackup"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, saw
}

func standIn(args []string) error {
	f, err := os.OpenFile(os.Getenv(envSaw), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	options := map[string]string{}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		options[name] = value
	}
	conf, err := os.ReadFile(options["--defaults-file"])
	if _, backup := options["--backup"]; err != nil && backup {
		return err
	}
	fmt.Fprintf(f, "%q\n%q\n%s\n", args, os.Environ(), conf)
	f.Close()
	for name := range options {
		if !slices.Contains(known, strings.TrimPrefix(name, "--")) {
			return fmt.Errorf("unknown option %s", name)
		}
	}
	for line := range strings.Lines(string(conf)) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), "="); name != "" && name != "[xtrabackup]" && !slices.Contains(known, name) {
			return fmt.Errorf("unknown variable %s", line)
		}
	}
	if _, ok := options["--prepare"]; ok {
		err = prepare(options["--target-dir"])
	} else {
		err = backup(options, string(conf))
	}
	if err == nil && os.Getenv(envLie) != "silent" {
		say("completed OK!")
	}
	return err
}

// known are the options of xtrabackup that it is given here.
var known = strings.Fields("backup prepare stream target-dir datadir parallel lock-ddl-timeout backup-lock-timeout backup-lock-retry-count " +
	"use-memory tmpdir innodb-data-file-path innodb-page-size innodb-undo-tablespaces " +
	"defaults-file no-defaults user password host port socket ssl-mode ssl-ca ssl-cert ssl-key")

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "2026-11-21T05:02:15.000000-00:00 0 [Note] [MY-011825] [Xtrabackup] "+format+"\n", args...)
}

// prepare has the server recover, and forget its GTIDs.
func prepare(dir string) error {
	forget := filepath.Join(dir, "forget.sql")
	if err := os.WriteFile(forget, []byte("DELETE FROM mysql.gtid_executed;\nSHUTDOWN;\n"), 0o644); err != nil {
		return err
	}
	defer os.Remove(forget)
	args := []string{"--no-defaults", "--datadir=" + dir, "--socket=" + filepath.Join(dir, "p"), "--skip-networking", "--skip-log-bin", "--mysqlx=OFF", "--secure-file-priv=",
		"--init-file=" + forget, "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--innodb-redo-log-capacity=64M"}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	out, err := exec.Command(os.Getenv(envMysqld), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return os.Remove(filepath.Join(dir, "auto.cnf"))
}

// setting returns a value of an option file.
func setting(conf, name string) string {
	for line := range strings.Lines(conf) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			v, _ = strconv.Unquote(v)
			return v
		}
	}
	return ""
}

func backup(options map[string]string, conf string) error {
	conn, err := client.ConnectWithContext(context.Background(), setting(conf, "host")+":"+setting(conf, "port"), setting(conf, "user"), setting(conf, "password"), "", 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Quit()
	lie := os.Getenv(envLie)
	if lie == "blocks" {
		say("Executing FLUSH TABLES WITH READ LOCK...")
		time.Sleep(time.Minute)
	}
	if _, err := conn.Execute("LOCK INSTANCE FOR BACKUP"); err != nil {
		return err
	}
	if _, err := conn.Execute("FLUSH NO_WRITE_TO_BINLOG BINARY LOGS"); err != nil {
		return err
	}
	r, err := conn.Execute("SELECT `LOCAL` FROM performance_schema.log_status")
	if err != nil {
		return err
	}
	text, _ := r.GetString(0, 0)
	var at struct {
		GTIDs  string `json:"gtid_executed"`
		File   string `json:"binary_log_file"`
		Offset uint64 `json:"binary_log_position"`
	}
	if err := json.Unmarshal([]byte(text), &at); err != nil {
		return err
	}
	var w stream
	dir := options["--datadir"]
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!d.Type().IsRegular() || left(name, at.File)) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w.file(name, data)
		return nil
	})
	if err != nil {
		return err
	}
	said := fmt.Sprintf("filename '%s', position '%d', GTID of the last change '%s'", at.File, at.Offset, strings.ReplaceAll(at.GTIDs, "\n", ""))
	info := fmt.Sprintf("%s\t%d\t%s\n", at.File, at.Offset, at.GTIDs)
	partial := "N"
	switch lie {
	case "info":
		info = strings.Replace(info, strconv.FormatUint(at.Offset, 10), "7", 1)
	case "partial":
		partial = "Y"
	case "gtid":
		info = strings.Replace(info, at.GTIDs, "11111111-1111-1111-1111-111111111111:1-5", 1)
	case "mute":
		said = ""
	}
	if said != "" {
		say("MySQL binlog position: %s", said)
	}
	if lie != "noinfo" {
		w.file("xtrabackup_binlog_info", []byte(info))
	}
	w.file("xtrabackup_checkpoints", []byte("backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 19100000\nlast_lsn = 19100000\n"))
	w.file("xtrabackup_info", fmt.Appendf(nil, "tool_name = xtrabackup\nbinlog_pos = filename '%s', position '%d', GTID of the last change '%s'\npartial = %s\nincremental = N\ncompressed = N\nencrypted = N\n",
		at.File, at.Offset, at.GTIDs, partial))
	w.file("backup-my.cnf", []byte("[mysqld]\ninnodb_page_size=16384\n"))
	switch lie {
	case "cut":
		w.b.Truncate(w.b.Len() - 5)
	case "damaged":
		w.b.Bytes()[w.b.Len()/2] ^= 1
	case "garbage":
		w.b.Reset()
		w.b.WriteString("this is no stream at all")
	}
	if _, err := w.b.WriteTo(os.Stdout); err != nil {
		return err
	}
	if lie == "failed" {
		return errors.New("it was bad")
	}
	return nil
}

// left says what of a data directory xtrabackup leaves out: other binlogs than the last among it.
func left(name, binlog string) bool {
	base := filepath.Base(name)
	return base == "auto.cnf" || strings.HasSuffix(base, ".pem") || strings.HasPrefix(name, "#innodb_temp") || strings.HasPrefix(base, "ibtmp") ||
		strings.HasPrefix(base, "binlog.0") && base != binlog
}

// stream is one in Percona's dialect.
type stream struct{ b bytes.Buffer }

func (s *stream) chunk(typ byte, path string) {
	s.b.WriteString("XBSTCK01")
	s.b.Write(binary.LittleEndian.AppendUint32([]byte{0, typ}, uint32(len(path))))
	s.b.WriteString(path)
}

// file writes a file: those of page-compressed tables, whose pages end in zeroes, by sparse chunks.
func (s *stream) file(path string, data []byte) {
	const buffer, page = 1 << 20, 4 << 10
	sparse := strings.Contains(path, "compressed")
	for at := 0; at < len(data); at += buffer {
		part := data[at:min(at+buffer, len(data))]
		var entries, kept []byte
		if sparse {
			var skip, n uint32
			for p := 0; p < len(part); p += page {
				block := part[p:min(p+page, len(part))]
				if len(bytes.Trim(block, "\x00")) == 0 {
					if n > 0 {
						entries = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(entries, skip), n)
						skip, n = 0, 0
					}
					skip += uint32(len(block))
					continue
				}
				n += uint32(len(block))
				kept = append(kept, block...)
			}
			entries = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(entries, skip), n)
			s.chunk('S', path)
			s.b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(entries)/8)))
		} else {
			kept = part
			s.chunk('P', path)
		}
		head := binary.LittleEndian.AppendUint64(nil, uint64(len(kept)))
		head = binary.LittleEndian.AppendUint64(head, uint64(at))
		head = binary.LittleEndian.AppendUint32(head, crc32.Update(crc32.ChecksumIEEE(entries), crc32.IEEETable, kept))
		s.b.Write(head)
		s.b.Write(entries)
		s.b.Write(kept)
	}
	s.chunk('E', path)
}

// blocks is the disk space that a file takes, in bytes.
func blocks(path string) (size, disk int64, err error) {
	var st syscall.Stat_t
	err = syscall.Stat(path, &st)
	return st.Size, st.Blocks * 512, err
}
