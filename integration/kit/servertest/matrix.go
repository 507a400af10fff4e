package servertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Flavors of servers, as Binaries.Flavor has them.
const (
	MariaDB = "mariadb"
	MySQL   = "mysql"
)

// Version is a server version that tests run on.
type Version struct {
	Name   string // of the subtest, and of the prefix that scripts/install-servers.sh makes: "mysql-9.7"
	Flavor string
	series string // of which it must be
	later  bool   // a later series is as good: Debian's sid moves on
	matrix bool   // only the tier of all versions runs on it
	system bool   // the machine's own, in PATH
}

func (v Version) String() string { return v.Name }

// Versions returns what tests run on, oldest first.
func Versions() []Version {
	return []Version{
		{Name: "mariadb-10.11", Flavor: MariaDB, series: "10.11", system: true},
		{Name: "mariadb-11.8", Flavor: MariaDB, series: "11.8", matrix: true},
		{Name: "mysql-9.7", Flavor: MySQL, series: "9.7", later: true},
	}
}

// Find looks the version's programs up on this machine.
func (v Version) Find() (Binaries, error) {
	prefix := ""
	if !v.system {
		home, err := serversDir()
		if err != nil {
			return Binaries{}, err
		}
		prefix = filepath.Join(home, v.Name)
	}
	b, err := Find(prefix)
	if err != nil {
		return b, err
	}
	if b.Flavor != v.Flavor || !v.includes(b.Version) {
		return b, fmt.Errorf("%s is wanted, %s is %s %s", v.Name, b.Mysqld, b.Flavor, b.Version)
	}
	return b, nil
}

// includes tells whether a full version, as "9.7.1", is one of those that v stands for.
func (v Version) includes(version string) bool {
	have, want := series(version), series(v.series)
	return have == want || v.later && slices.Compare(have[:], want[:]) > 0
}

func series(version string) (n [2]int) {
	if _, err := fmt.Sscanf(version, "%d.%d", &n[0], &n[1]); err != nil {
		return [2]int{-1, -1}
	}
	return n
}

// serversDir is where scripts/install-servers.sh puts prefixes.
func serversDir() (string, error) {
	if dir := os.Getenv("TIDEMARK_SERVERS"); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", errors.New("TIDEMARK_SERVERS is no absolute path: " + dir)
		}
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "tidemark", "servers"), err
}

// Runner is the part of testing.T that runs subtests. T is the type of subtests, as testing.T's.
type Runner[T any] interface {
	TB
	Run(name string, f func(T)) bool
}

// Each runs a scenario as a subtest on every version of a flavor ("": of any), named after it. A
// version that is not on this machine, or lacks one of the programs, is skipped, or fails if
// TIDEMARK_MUST_RUN=1. TIDEMARK_TEST_SERVERS=mariadb-11.8,mysql-9.7 chooses the versions; without it
// they are all, or with TIDEMARK_TEST_TIER=scenario one of each flavor.
func Each[T Runner[T]](t T, flavor string, scenario func(T, Binaries), programs ...string) {
	t.Helper()
	for _, v := range chosen(t) {
		if flavor != "" && v.Flavor != flavor {
			continue
		}
		t.Run(v.Name, func(t T) {
			t.Helper()
			b, err := v.Find()
			if err == nil {
				err = b.Has(programs...)
			}
			if err != nil {
				unavailable(t, err)
			}
			scenario(t, b)
		})
	}
}

// chosen returns the versions that TIDEMARK_TEST_SERVERS names, or those of the tier.
func chosen(tb TB) []Version {
	tb.Helper()
	all, names := Versions(), os.Getenv("TIDEMARK_TEST_SERVERS")
	if names == "" && Matrix() {
		return all
	}
	if names == "" {
		return slices.DeleteFunc(all, func(v Version) bool { return v.matrix })
	}
	var some []Version
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(v Version) bool { return v.Name == strings.TrimSpace(name) })
		if i < 0 {
			tb.Fatalf("TIDEMARK_TEST_SERVERS names %q, which is none of %v", name, all)
		}
		some = append(some, all[i])
	}
	return some
}

// Matrix tells whether tests run on all versions and all storages.
func Matrix() bool { return os.Getenv("TIDEMARK_TEST_TIER") != "scenario" }

// unavailable ends a test that lacks a program: where all tests must run, as a failure.
func unavailable(tb TB, err error) {
	tb.Helper()
	if os.Getenv("TIDEMARK_MUST_RUN") == "1" {
		tb.Fatalf("%v", err)
	}
	tb.Skipf("%v", err)
}
