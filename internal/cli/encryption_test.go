package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/config"
	"tidemark/internal/keys"
)

// keygen makes a pair and returns the recipient and the identity's file.
func keygen(t *testing.T, args ...string) (recipient, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "identity")
	var r keygenResult
	o := tidemark(append([]string{"keygen", "--json", "--output", path}, args...)...).must(t, 0)
	o.parse(t, &r)
	if strings.Contains(o.stdout+o.stderr, "AGE-SECRET") || r.File != path || r.Fingerprint != keys.Fingerprint(r.Recipient) {
		t.Errorf("%+v", o)
	}
	return r.Recipient, path
}

func TestKeygen(t *testing.T) {
	for _, args := range [][]string{nil, {"--pq"}} {
		recipient, path := keygen(t, args...)
		info, err := os.Stat(path)
		check(t, err)
		data, err := os.ReadFile(path)
		check(t, err)
		ids, err := keys.ParseIdentities(path, data)
		check(t, err)
		if info.Mode().Perm() != 0o600 || !ids.AnyOf([]string{keys.Fingerprint(recipient)}) || !strings.Contains(string(data), "# public key: "+recipient+"\n") {
			t.Errorf("mode %v, %s", info.Mode(), ids)
		}
		o := tidemark(append([]string{"keygen", "--output", path}, args...)...).must(t, 18)
		if again, err := os.ReadFile(path); err != nil || string(again) != string(data) || o.stdout != "" {
			t.Errorf("it was written over: %v, %+v", err, o)
		}
		// Without a file, all goes to standard output, and the recipient to standard error.
		o = tidemark(append([]string{"keygen"}, args...)...).must(t, 0)
		ids, err = keys.ParseIdentities("", []byte(o.stdout))
		check(t, err)
		if r, ok := strings.CutPrefix(strings.TrimSpace(o.stderr), "Public key: "); !ok || !ids.AnyOf([]string{keys.Fingerprint(r)}) || strings.Contains(o.stderr, "SECRET") {
			t.Errorf("%+v", o.stderr)
		}
	}
	tidemark("keygen", "--json").must(t, 2)
	tidemark("keygen", "x").must(t, 2)
	tidemark("keygen", "--output", filepath.Join(t.TempDir(), "no", "dir")).must(t, 1)
}

func TestCopyAndKeys(t *testing.T) {
	_, archive, _ := sample(t)
	recipient, identity := keygen(t)
	_, other := keygen(t)
	pq, _ := keygen(t, "--pq")
	to := "file://" + t.TempDir() + "/to"

	var r copyResult
	tidemark("copy", "--archive", archive, "--to", to, "--recipient", recipient, "--dry-run", "--json").must(t, 0).parse(t, &r)
	if !r.DryRun || r.Segments != 4 || r.Bases != 1 || len(r.Recipients) != 1 || r.Recipients[0] != keys.Fingerprint(recipient) {
		t.Errorf("%+v", r)
	}
	tidemark("list", "--archive", to).must(t, 10)
	o := tidemark("copy", "--archive", archive, "--to", to, "--recipient", recipient).must(t, 0)
	if !strings.Contains(o.stdout, "4 segments and 1 base backup copied") {
		t.Error(o.stdout)
	}
	tidemark("copy", "--archive", archive, "--to", to, "--json").must(t, 0).parse(t, &r)
	if r.SegmentsThere != 4 || r.BasesThere != 1 || r.Segments != 0 {
		t.Errorf("%+v", r)
	}
	tidemark("verify", "--archive", to).must(t, 0)
	if o := tidemark("verify", "--stored", "--archive", to).must(t, 0); !strings.Contains(o.stdout, "data read as stored") {
		t.Error(o.stdout)
	}
	for _, args := range [][]string{{"verify", "--data"}, {"cat", "--output", t.TempDir()}, {"restore", "--dry-run"}, {"copy", "--to", "file://" + t.TempDir() + "/x", "--recipient", recipient}} {
		args = append(args, "--archive", to)
		if o := tidemark(args...).must(t, 12); !strings.Contains(o.stderr, keys.Fingerprint(recipient)) || !strings.Contains(o.stderr, "hint: ") {
			t.Errorf("%s: %s", args[0], o.stderr)
		}
		if o := tidemark(append(args, "--identity", other)...).must(t, 12); !strings.Contains(o.stderr, other) {
			t.Errorf("%s: %s", args[0], o.stderr)
		}
		if o := program(t.Context(), []string{"TIDEMARK_ENCRYPTION_IDENTITY_FILE=" + other}, args...).must(t, 12); !strings.Contains(o.stderr, other) {
			t.Errorf("%s: %s", args[0], o.stderr)
		}
		tidemark(append(args, "--identity", "/not/there")...).must(t, 17)
	}
	tidemark("cat", "--output", filepath.Join(t.TempDir(), "out"), "--archive", to, "--identity", identity).must(t, 0)
	program(t.Context(), []string{"TIDEMARK_ENCRYPTION_IDENTITY_FILE=" + identity}, "restore", "--dry-run", "--archive", to).must(t, 0)
	// A file that is not there matters only to what needs it.
	program(t.Context(), []string{"TIDEMARK_ENCRYPTION_IDENTITY_FILE=/not/there"}, "verify", "--stored", "--archive", to).must(t, 0)

	secret, err := os.ReadFile(identity)
	check(t, err)
	lines := strings.Fields(string(secret))
	key := lines[len(lines)-1]
	for code, list := range map[int][][]string{2: {
		{"copy"}, {"copy", "--to", to, "--same-keys", "--recipient", recipient}, {"copy", "--to", "/tmp/x"}, {"copy", "--to", "s3://b"},
		{"copy", "--to", to, "--from-time", "yesterday"}, {"copy", "--to", to, "--from-time", "2026-11-20T03:00:00Z", "--from-base", "b"},
		{"copy", "--to", to, "--recipient", "age1x"}, {"copy", "--to", to, "--recipient", key}, {"copy", "--to", to, "--recipient", recipient, "--recipient", pq},
		{"copy", "--to", archive}, {"verify", "--data", "--stored"}, {"verify", "--data", "--identity", key},
	}, 13: {{"copy", "--to", to, "--from-base", "b9"}}} {
		for _, args := range list {
			if o := tidemark(append(args, "--archive", archive)...).must(t, code); strings.Contains(o.stdout+o.stderr, key[20:40]) || !strings.Contains(o.stderr, "hint: ") {
				t.Errorf("%s: %+v", args[0], o)
			}
		}
	}
}

// TestCheckEncryption: check says for whom the archive is encrypted, and whether the identity of this
// machine is one of theirs.
func TestCheckEncryption(t *testing.T) {
	recipient, identity := keygen(t)
	_, other := keygen(t)
	for name, tt := range map[string]struct {
		environ []string
		result  string
		detail  string
	}{
		"nothing":            {nil, resultOK, "encryption none"},
		"a recipient":        {[]string{"TIDEMARK_ENCRYPTION_RECIPIENTS=" + recipient}, resultOK, "identity none here"},
		"its identity":       {[]string{"TIDEMARK_ENCRYPTION_RECIPIENTS=" + recipient, "TIDEMARK_ENCRYPTION_IDENTITY_FILE=" + identity}, resultOK, "identity " + identity + " opens " + keys.Fingerprint(recipient)},
		"another identity":   {[]string{"TIDEMARK_ENCRYPTION_RECIPIENTS=" + recipient, "TIDEMARK_ENCRYPTION_IDENTITY_FILE=" + other}, resultProblem, "identity " + other},
		"no such identity":   {[]string{"TIDEMARK_ENCRYPTION_RECIPIENTS=" + recipient, "TIDEMARK_ENCRYPTION_IDENTITY_FILE=/not/there"}, resultWarning, "identity read the identity file"},
		"an identity, alone": {[]string{"TIDEMARK_ENCRYPTION_IDENTITY_FILE=" + identity}, resultOK, "identity " + identity + " opens what was encrypted for " + keys.Fingerprint(recipient)},
	} {
		environ := append(tt.environ, "TIDEMARK_STATE_DIR="+t.TempDir())
		o := program(t.Context(), environ, "check", "--json", "--archive", "file://"+t.TempDir(), "--primary", "127.0.0.1:1", "--user", "u")
		var r checkResult
		o.parse(t, &r)
		found := false
		for _, f := range r.Clusters[0].Findings {
			found = found || f.Result == tt.result && strings.Contains(f.Check+" "+f.Detail, tt.detail)
		}
		if !found {
			t.Errorf("%s: no %s %q in %s", name, tt.result, tt.detail, o.stdout)
		}
	}
}

// TestSourceEncrypts: a server that encrypts its binlog is worth a warning only where the archive
// would hold it in the clear.
func TestSourceEncrypts(t *testing.T) {
	recipient, _ := keygen(t)
	for _, tt := range []struct {
		recipients []string
		result     string
	}{{nil, resultWarning}, {[]string{recipient}, resultOK}} {
		c := &checker{cfg: &config.Config{Encryption: config.Encryption{Recipients: tt.recipients}}, out: new(checkCluster)}
		c.sourceEncrypts()
		if f := c.out.Findings[0]; f.Result != tt.result || (f.Remedy != "") != (tt.result == resultWarning) {
			t.Errorf("%+v", f)
		}
	}
}
