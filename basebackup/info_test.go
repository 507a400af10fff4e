package basebackup

import (
	"fmt"
	"testing"

	"tidemark/internal/variables"
)

func TestParseBinlogInfo(t *testing.T) {
	for text, want := range map[string]string{
		"binlog.000007\t1640490\t0-1-34103\n":         "binlog.000007:1640490 0-1-34103",
		"binlog.000007\t1640490\t0-1-34103,1-2-5\n":   "binlog.000007:1640490 0-1-34103,1-2-5",
		"binlog.000001\t325\t\n":                      "binlog.000001:325 ",
		"binlog.000001\t325\n":                        "binlog.000001:325 ",
		"a b.000001\t4294967296":                      "a b.000001:4294967296 ",
		"":                                            "error",
		"binlog.000001\n":                             "error",
		"binlog.000001\tx\t0-1-1\n":                   "error",
		"\t4\t\n":                                     "error",
		"binlog.000001\t4\t0-1-1\tmore\n":             "error",
		"binlog.000001\t4\t0-1-1\nbinlog.000002\t4\n": "error",
	} {
		p, gtids, err := parseBinlogInfo(text)
		got := fmt.Sprintf("%s %s", p, gtids)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestParseCheckpoints(t *testing.T) {
	from, to, err := parseCheckpoints("backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 44420\nlast_lsn = 47061\n")
	if from != 0 || to != 44420 || err != nil {
		t.Errorf("%d, %d, %v", from, to, err)
	}
	for _, text := range []string{"", "backup_type = incremental\nfrom_lsn = 1\nto_lsn = 2\n", "backup_type = full-backuped\nfrom_lsn = 1\n"} {
		if _, _, err := parseCheckpoints(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if complete(map[string]string{"partial": "N", "incremental": "N"}) != nil || complete(map[string]string{"partial": "Y"}) == nil {
		t.Error("what is complete?")
	}
}

// TestRecorded picks variables: the server's before the tool's, and none that may hold a key.
func TestRecorded(t *testing.T) {
	s := &server{variables: map[string]string{"innodb_checksum_algorithm": "full_crc32", "file_key_management_filekey": "secret", "port": "3306"},
		plugins: []string{"a=a.so", "b=b.so"}}
	got := s.recorded(parseSettings("# made up\n[mysqld]\ninnodb_checksum_algorithm=crc32\ninnodb-page-size = 16384\nplugin_load=x.so\n" +
		"file_key_management_filekey=secret\nhashicorp_key_management_token=secret\n"))
	want := map[string]string{"innodb_checksum_algorithm": "full_crc32", "innodb_page_size": "16384", "plugin_load": "x.so", "plugins": "a=a.so,b=b.so"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	for _, name := range append(variables.Names(), recordedToo...) {
		if name == "file_key_management_filekey" {
			t.Error("the key is recorded")
		}
	}
}
