package restore

import "testing"

// TestParseXID reads names as XA RECOVER FORMAT='SQL' writes them.
func TestParseXID(t *testing.T) {
	for _, c := range []struct{ format, text, want string }{
		{"1", "'x'", "X'78',X'',1"},
		{"1", "'pla, in'", "X'706c612c20696e',X'',1"},
		{"1", "X'e282ac',X'62'", "X'e282ac',X'62',1"},
		{"3", "X'615c',X'62',3", "X'615c',X'62',3"},
		{"7", "'a','b',7", "X'61',X'62',7"},
		{"7", "'a','',7", "X'61',X'',7"},
		{"7", "'a','b',8", ""},
		{"1", "'a", ""},
		{"1", "X'6'", ""},
		{"x", "'a'", ""},
		{"1", "", ""},
	} {
		if got, err := parseXID(c.format, c.text); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}
