package archiver

import (
	"strings"
	"testing"

	"tidemark/internal/catalog"
)

// TestNameless: the manifest of an encrypted segment does not tell what a barrier is about, and what the spool and the status
// have of it stays.
func TestNameless(t *testing.T) {
	list := []catalog.Barrier{{Kind: "import", Offset: 7, GTID: "0-1-2", What: "ALTER TABLE secret.t IMPORT TABLESPACE"}}
	plain := nameless(list)
	if len(plain) != 1 || strings.Contains(plain[0].What, "secret") || plain[0].Offset != 7 || plain[0].GTID != "0-1-2" || plain[0].Kind != "import" {
		t.Errorf("%+v", plain)
	}
	if list[0].What != "ALTER TABLE secret.t IMPORT TABLESPACE" {
		t.Errorf("what it was made of has changed: %+v", list)
	}
}
