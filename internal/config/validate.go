package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// validate checks what single values cannot say about themselves.
func (l *loader) validate(schemes []string) {
	c := l.config
	check := func(path string, why string) {
		if why != "" {
			l.problems.add(c.origins[path], "%s: %s", path, why)
		}
	}
	if c.Archive != "" {
		check("archive", badURL(c.Archive, schemes))
	}
	c.Storage.badStorage(c.Archive, func(option, why string) { check("storage."+option, why) })
	check("state_dir", badPath(c.StateDir))
	check("status.listen", badListen(c.Status.Listen))
	check("encryption.recipients", badRecipients(c.Encryption.Recipients))
	check("encryption.identity_file", badIdentityFile(c.Encryption.IdentityFile))

	seen := make(map[Address]string) // to the cluster that names it
	for _, cl := range c.Clusters {
		p := clustersKey + "." + cl.Name + "."
		for _, h := range cl.Hosts {
			if other, twice := seen[h]; twice {
				check(p+"hosts", fmt.Sprintf("%s is named in cluster %s already", h, other))
			}
			seen[h] = cl.Name
		}
		for _, f := range [][2]string{{"password_file", cl.PasswordFile}, {"defaults_file", cl.DefaultsFile},
			{"tls.ca", cl.TLS.CA}, {"tls.cert", cl.TLS.Cert}, {"tls.key", cl.TLS.Key}, {"base.datadir", cl.Base.DataDir}} {
			if f[1] != "" {
				check(p+f[0], badPath(f[1]))
			}
		}
		if cl.PasswordFile != "" && cl.DefaultsFile != "" {
			check(p+"defaults_file", "the password is in password_file already: give one of them")
		}
		if (cl.TLS.Cert == "") != (cl.TLS.Key == "") {
			check(p+"tls.cert", "a client certificate needs both tls.cert and tls.key")
		}
		check(p+"heartbeat", outside(cl.Heartbeat, 500*time.Millisecond, time.Minute, formatDuration))
		check(p+"fork_grace", outside(cl.ForkGrace, time.Second, 24*time.Hour, formatDuration))
		check(p+"segment.max_age", outside(cl.Segment.MaxAge, 100*time.Millisecond, time.Hour, formatDuration))
		check(p+"segment.max_size", outside(cl.Segment.MaxSize, 64*KiB, 4*GiB, Size.String))
		check(p+"base.part_size", outside(cl.Base.PartSize, MiB, TiB, Size.String))
		check(p+"base.threads", outside(cl.Base.Threads, 1, 256, func(n int) string { return fmt.Sprint(n) }))
		if b := cl.Verify.Bandwidth; b != 0 {
			check(p+"verify.bandwidth", outside(b, 64*KiB, TiB, Size.String))
		}
		if k := cl.Compaction; k.Size != 0 {
			check(p+"compaction.size", outside(k.Size, MiB, 64*GiB, Size.String))
		}
		check(p+"compaction.age", outside(cl.Compaction.Age, time.Second, 30*24*time.Hour, formatDuration))
		check(p+"compaction.grace", outside(cl.Compaction.Grace, 0, 30*24*time.Hour, formatDuration))
		check(p+"lease.ttl", outside(cl.Lease.TTL, time.Second, time.Hour, formatDuration))
		cl.Retention.check(func(option, why string) { check(p+"retention."+option, why) })
		if least := 4 * cl.Segment.MaxSize; cl.Spool.MaxSize < least {
			check(p+"spool.max_size", fmt.Sprintf("%s is less than four segments of %s", cl.Spool.MaxSize, cl.Segment.MaxSize))
		}
	}
	slices.SortStableFunc(l.problems, func(a, b problem) int {
		if a.at.Name != b.at.Name {
			return strings.Compare(a.at.Name, b.at.Name)
		}
		return a.at.Line - b.at.Line
	})
}

// check checks the retention of a cluster.
func (r Retention) check(check func(option, why string)) {
	number := func(n int) string { return fmt.Sprint(n) }
	if r.Window != 0 {
		check("window", outside(r.Window, time.Hour, 36500*24*time.Hour, formatDuration))
	}
	check("min_backups", outside(r.MinBackups, 1, 10000, number))
	check("grace", outside(r.Grace, 0, 30*24*time.Hour, formatDuration))
	if r.MaxBackups != 0 && r.MaxBackups < r.MinBackups {
		check("max_backups", fmt.Sprintf("%d is less than min_backups, %d", r.MaxBackups, r.MinBackups))
	}
	if r.MaxBackups < 0 {
		check("max_backups", outside(r.MaxBackups, 0, 10000, number))
	}
}

// outside says that a value is not within its bounds, or "".
func outside[T int | Size | time.Duration](v, lo, hi T, text func(T) string) string {
	if v >= lo && v <= hi {
		return ""
	}
	return fmt.Sprintf("%s is not between %s and %s", text(v), text(lo), text(hi))
}

func badPath(p string) string {
	if !filepath.IsAbs(p) {
		return fmt.Sprintf("%q depends on where the program is started: write an absolute path", p)
	}
	return ""
}

func badListen(s string) string {
	if s == "off" {
		return ""
	}
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		return fmt.Sprintf("%q is not an address to listen on: write host:port, or off", s)
	}
	return ""
}

// CheckArchive checks the URL of an archive that is not part of the configuration.
func CheckArchive(url string, schemes []string) error {
	if why := badURL(url, schemes); why != "" {
		return errors.New(why)
	}
	return nil
}

// badURL says what is wrong with the URL of an archive, or "".
func badURL(s string, schemes []string) string {
	u, err := url.Parse(s)
	switch {
	case err == nil && u.Scheme == "" && filepath.IsAbs(s):
		return fmt.Sprintf("%q is not a URL: write file://%s", s, s)
	case err != nil || u.Scheme == "" || u.Opaque != "":
		return fmt.Sprintf("%q is not a URL: write file:///absolute/path", redacted(s))
	case u.User != nil:
		return "a URL must hold no user or password"
	case len(schemes) > 0 && !slices.Contains(schemes, u.Scheme):
		return fmt.Sprintf("storage %s:// is not supported by this build, which has %s", u.Scheme, strings.Join(schemes, ", "))
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Sprintf("%q: a URL of an archive has no ? and no #", s)
	case u.Scheme == "file" && u.Host != "":
		return fmt.Sprintf("%q names a host: write file:///%s", s, u.Host+u.Path)
	case u.Scheme == "file" && path.Clean(u.Path) == "/":
		return fmt.Sprintf("%q names no directory: write file:///absolute/path", s)
	case u.Scheme != "file" && u.Host == "":
		return fmt.Sprintf("%q names no bucket: write %s://bucket/prefix", s, u.Scheme)
	}
	return ""
}

// redacted hides what may be a password in a URL that cannot be read.
func redacted(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + s[at:]
	}
	return s
}
