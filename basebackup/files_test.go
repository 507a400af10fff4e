package basebackup

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"tidemark/internal/xbstream"
)

// TestAbsent: what a stream says of tablespaces that were made, removed and renamed while they were copied counts as it will
// when the copy is prepared.
func TestAbsent(t *testing.T) {
	stream := xbstream.NewInspector(xbstream.Mbstream)
	names := renames{}
	stream.Content = func(path string, p []byte, _ uint64) { names.content(path, p) }
	for _, f := range []struct{ name, data string }{
		{"d/t.ibd", "x"}, {"d/t.frm", "x"},
		{"d/fresh.new", "x"},
		{"d/again.ibd", "x"}, {"d/again.del", ""}, {"d/again.new", "x"},
		{"d/gone.ibd", "x"}, {"d/gone.del", ""},
		{"d/old.ibd", "x"}, {"d/old.ren", "d/to"},
		{"d/both.ibd", "x"}, {"d/both.ren", "d/elsewhere"}, {"d/both.new", "x"},
		{"d/removed.ibd", "x"}, {"d/removed.ren", "d/nothing"}, {"d/removed.del", ""},
	} {
		if _, err := stream.Write(chunks(f.name, f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	there := []string{"d/t.ibd", "d/t.frm", "d/fresh.ibd", "d/again.ibd", "d/to.ibd", "d/both.ibd", "d/elsewhere.ibd"}
	missing := []string{"d/gone.ibd", "d/old.ibd", "d/nothing.ibd", "d/imported.ibd", "d/u.frm", "d/u.MYD"}
	never := []string{"d/data.csv", "d/x.dos"}
	lost, uncopied := names.absent(slices.Concat(there, missing, never), stream)
	if !slices.Equal(lost, missing) || !slices.Equal(uncopied, never) {
		t.Errorf("lost %v, uncopied %v", lost, uncopied)
	}
}

// chunks are those of a file in an mbstream.
func chunks(name, data string) []byte {
	head := func(typ byte) []byte {
		b := append([]byte("XBSTCK01\x00"), typ)
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(name))), name...)
	}
	var b []byte
	if data != "" {
		b = binary.LittleEndian.AppendUint64(head('P'), uint64(len(data)))
		b = binary.LittleEndian.AppendUint64(b, 0)
		b = append(binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(data))), data...)
	}
	return append(b, head('E')...)
}

// TestOtherDirectories finds the directories in the data directory that are no databases.
func TestOtherDirectories(t *testing.T) {
	s := &server{datadir: "/srv/db", variables: map[string]string{
		"datadir": "/srv/db/", "log_bin_basename": "/srv/db/logs/bin/binlog", "relay_log_basename": "/srv/db/relay", "tmpdir": "/tmp:/srv/db/tmp",
		"innodb_undo_directory": "./", "innodb_log_group_home_dir": "redo", "slow_query_log_file": "slow/q.log", "log_error": "", "plugin_dir": "/usr/lib/x",
	}}
	if got := s.otherDirectories(); !slices.Equal(got, []string{"redo", "tmp", "logs", "slow"}) {
		t.Errorf("%v", got)
	}
}
