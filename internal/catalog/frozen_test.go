package catalog

import (
	"fmt"
	"os"
	"strings"
	"testing"

	pb "tidemark/proto/archive"
)

// TestFrozen holds the messages of the archive to what was released: a field that changes its name,
// number or type, or goes away, breaks archives. A new field is added to the list, and to docs/format.md.
func TestFrozen(t *testing.T) {
	doc, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	var fields strings.Builder
	messages := pb.File_proto_archive_archive_proto.Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		if !strings.Contains(string(doc), "**"+string(m.Name())+"**") && !strings.Contains(string(doc), "### "+string(m.Name())) {
			t.Errorf("docs/format.md does not describe %s", m.Name())
		}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			kind := f.Kind().String()
			if f.Message() != nil {
				kind = string(f.Message().FullName())
			}
			fmt.Fprintf(&fields, "%s %d %s %s %s\n", m.Name(), f.Number(), f.JSONName(), f.Cardinality(), kind)
			if !strings.Contains(string(doc), "`"+f.JSONName()+"`") {
				t.Errorf("docs/format.md does not name %s of %s", f.JSONName(), m.Name())
			}
		}
	}
	want, err := os.ReadFile("testdata/fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	if fields.String() != string(want) {
		t.Errorf("the fields are\n%s\nand were\n%s", fields.String(), want)
	}
}
