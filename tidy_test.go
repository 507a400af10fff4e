// Package tidemark holds no code; the program is in the packages below. Its tests hold the rules of
// the tree: which package may import which, who may create a file or ask for the time, how long a
// file may be, and what the program may depend on.
//
// This file is the rules. tidy_checks_test.go applies them, tidy_broken_test.go breaks each of them.
// To let something pass, add it here with its reason, in the same change.
package tidemark

import (
	"os"
	"testing"
)

// layers are the packages from top to bottom. A package may import those of lower rows only. A
// package below a listed one, itself not listed, is private to it; one whose name ends in "test" is
// a test kit, imported by tests alone. integration/ imports what it likes and is imported by nothing.
var layers = [][]string{
	{"cmd/tidemark"},
	{"internal/cli"},
	{"internal/daemon"},
	{"replica", "archiver", "basebackup", "restore", "internal/verify", "internal/transfer", "internal/compact", "internal/expire", "internal/lease"},
	{"internal/catalog", "internal/barrier"},
	{"internal/binlog", "storage", "storage/cloud", "storage/file", "storage/s3", "storage/gcs", "storage/azure", "internal/seal", "internal/clone", "internal/xbstream", "internal/mysqld"},
	{"proto/archive", "proto/status", "internal/config", "internal/durable", "internal/walltime", "internal/variables"},
	{"internal/fault", "internal/gtid", "internal/clock", "internal/keys", "internal/failpoint", "internal/ordered", "internal/confine", "internal/zone", "internal/sqltext"},
}

// sideways are the imports allowed inside one row.
var sideways = []edge{
	{from: "storage/file", to: "storage"}, // a driver implements the interface
	{from: "storage/s3", to: "storage"},
	{from: "storage/gcs", to: "storage"},
	{from: "storage/azure", to: "storage"},
	{from: "internal/transfer", to: "internal/verify", inTests: true}, // what is copied is verified
	{from: "internal/compact", to: "internal/verify", inTests: true},  // and what is compacted
	{from: "archiver", to: "internal/verify", inTests: true},          // and what a crash of the archiver leaves
	{from: "internal/expire", to: "internal/verify", inTests: true},   // what is left is whole,
	{from: "internal/expire", to: "restore", inTests: true},           // and restores,
	{from: "internal/expire", to: "internal/compact", inTests: true},  // compacted or not
	{from: "internal/lease", to: "restore", inTests: true},            // taken in an archive of files
	{from: "storage/cloud", to: "storage"},                            // what these three share
	{from: "storage/s3", to: "storage/cloud"},
	{from: "storage/gcs", to: "storage/cloud"},
	{from: "storage/azure", to: "storage/cloud"},
	{from: "storage", to: "storage/file", inTests: true}, // the decorators are tested over a real driver
}

// restricted are the packages that only some may import, whatever their row.
var restricted = []restriction{
	{path: "tidemark/storage/file", by: []string{"cmd", "internal/cli", "restore/archivetest"}, inTests: true, why: "only the wiring names a concrete driver"},
	{path: "tidemark/storage/s3", by: []string{"cmd", "internal/cli"}, why: "only the wiring names a concrete driver"},
	{path: "tidemark/storage/gcs", by: []string{"cmd", "internal/cli"}, why: "only the wiring names a concrete driver"},
	{path: "tidemark/storage/azure", by: []string{"cmd", "internal/cli"}, why: "only the wiring names a concrete driver"},
	{path: "tidemark/proto/archive", by: []string{"internal/catalog"}, why: "the catalog alone reads and writes the archive's messages"},
	{path: "tidemark/proto/status", by: []string{"internal/daemon", "internal/cli"}, why: "the daemon reports it, the command line shows it"},
	{path: "filippo.io/age", by: []string{"internal/keys"}, why: "keys are handled in one place, which never shows them"},
	{path: "github.com/prometheus", by: []string{"internal/daemon"}, why: "metrics are counted where they are reported"},
	{path: "go.uber.org/zap", by: []string{"cmd", "internal/cli", "internal/daemon", "replica", "archiver", "basebackup", "restore", "internal/verify", "internal/expire"}, why: "below, errors are returned and not logged"},
}

// reserved are functions that one package calls for all the others. Tests and integration/ are free.
var reserved = []reservation{
	{pkg: "os", names: []string{"Create", "CreateTemp", "Link", "Mkdir", "MkdirAll", "OpenFile", "Rename", "Symlink", "WriteFile"}, owner: "internal/durable"},
	{pkg: "syscall", names: []string{"Fsync", "Fdatasync", "Link", "Open", "Rename"}, owner: "internal/durable"},
	{pkg: "golang.org/x/sys/unix", names: []string{"Fsync", "Fdatasync", "Link", "Open", "Openat", "Rename", "Renameat", "Renameat2", "SyncFileRange"}, owner: "internal/durable"},
	{pkg: "", names: []string{"Sync"}, owner: "internal/durable"}, // the method; where durable is imported, its own
	{pkg: "time", names: []string{"Now", "Since", "Until"}, owner: "internal/clock"},
}

// exceptions let one package or file call a reserved function. One that is no longer needed fails.
var exceptions = []exception{
	{in: "internal/confine/confine_linux.go", name: "unix.Open", why: "a path as such (O_PATH), for a rule of the kernel's: no file is made or read"},
}

// Longest a thing may be, in lines.
const (
	maxFile     = 600
	maxTestFile = 900
	maxFunc     = 120
)

// unwanted are texts that no file may hold. They are written in halves, so that this one does not.
var unwanted = []string{"/wo" + "rk/", "../sha" + "red", "TO" + "DO", "FIX" + "ME"}

// rules are all the checks.
var rules = []rule{
	{"layers", checkLayers},
	{"restricted", checkRestricted},
	{"reserved", checkReserved},
	{"init", checkInit},
	{"comments", checkComments},
	{"sizes", checkSizes},
	{"text", checkText},
	{"dependencies", checkDependencies},
}

func TestTidy(t *testing.T) {
	tree, err := load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.files) < 10 {
		t.Fatalf("read %d Go files: this is not the tree", len(tree.files))
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, problem := range rule.check(tree) {
				t.Error(problem)
			}
		})
	}
	t.Run("exceptions", func(t *testing.T) {
		for _, problem := range unusedExceptions(tree, exceptions) {
			t.Error(problem)
		}
	})
}
