package walltime

import (
	"strings"
	"testing"
	"time"

	"tidemark/internal/fault"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("this machine does not know the zones: %v", err)
	}
	return loc
}

// A clock in Berlin shows 04:00.
func reader(t testing.TB) Reader {
	return Reader{time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC), zone(t, "Europe/Berlin")}
}

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		// RFC 3339, and what this program prints: of lists, plans, the log, and in the names of base backups.
		"2026-11-30T03:59:07Z":           "2026-11-30T03:59:07Z",
		"2026-11-30t03:59:07z":           "2026-11-30T03:59:07Z",
		"2026-11-30T03:59:07.123Z":       "2026-11-30T03:59:07.123Z",
		"2026-11-30T03:59:07.123456789Z": "2026-11-30T03:59:07.123456789Z",
		"2026-11-30T04:59:07+01:00":      "2026-11-30T03:59:07Z",
		"2026-11-30 03:59:07 UTC":        "2026-11-30T03:59:07Z",
		"20261130T035907Z":               "2026-11-30T03:59:07Z",
		"2026-11-30 04:59:07 +01:00":     "2026-11-30T03:59:07Z",
		// Of this machine's zone.
		"2026-11-30 03:59":                        "2026-11-30T02:59:00Z in this machine's zone, CET",
		" 2026-11-30  03:59 ":                     "2026-11-30T02:59:00Z in this machine's zone, CET",
		"2026-11-30T03:59":                        "2026-11-30T02:59:00Z in this machine's zone, CET",
		"2026-07-01 03:59:07.123":                 "2026-07-01T01:59:07.123Z in this machine's zone, CEST",
		"2026-10-25 01:59:59":                     "2026-10-24T23:59:59Z in this machine's zone, CEST",
		"2026-10-25 03:00":                        "2026-10-25T02:00:00Z in this machine's zone, CET",
		"2026-03-29 01:59:59.9":                   "2026-03-29T00:59:59.9Z in this machine's zone, CET",
		"2026-03-29 03:00":                        "2026-03-29T01:00:00Z in this machine's zone, CEST",
		"2024-02-29 12:00 -0330":                  "2024-02-29T15:30:00Z",
		"2026-11-30 03:59 +05":                    "2026-11-29T22:59:00Z",
		"2026-11-30 03:59 gmt":                    "2026-11-30T03:59:00Z",
		"2026-10-25 02:30 +02:00":                 "2026-10-25T00:30:00Z",
		"2026-10-25T02:30:00+0100":                "2026-10-25T01:30:00Z",
		"2026-11-30 03:59 America/New_York":       "2026-11-30T08:59:00Z",
		"2026-10-25 02:30 America/New_York":       "2026-10-25T06:30:00Z",
		"2011-12-31 10:00 Pacific/Apia":           "2011-12-30T20:00:00Z", // the day after one that there was not
		"1995-01-02 10:00 Pacific/Kiritimati":     "1995-01-01T20:00:00Z",
		"2026-04-05 01:45:00 Australia/Lord_Howe": "", // half an hour, twice
		// By now.
		"now":                        "2026-11-30T03:00:00Z now",
		"10 minutes ago":             "2026-11-30T02:50:00Z which is 10 minutes ago",
		"1 hour ago":                 "2026-11-30T02:00:00Z which is 1 hour ago",
		"an Hour Ago":                "2026-11-30T02:00:00Z which is an Hour Ago",
		"2 days ago":                 "2026-11-28T03:00:00Z which is 2 days ago",
		"30 s ago":                   "2026-11-30T02:59:30Z which is 30 s ago",
		"1h30m ago":                  "2026-11-30T01:30:00Z which is 1h30m ago",
		"2d ago":                     "2026-11-28T03:00:00Z which is 2d ago",
		"yesterday 14:00":            "2026-11-29T13:00:00Z in this machine's zone, CET",
		"today 03:59":                "2026-11-30T02:59:00Z in this machine's zone, CET",
		"yesterday 23:30 Asia/Tokyo": "2026-11-29T14:30:00Z in the zone given",
		"yesterday 14:00:30 Z":       "2026-11-29T14:00:30Z in the zone given",
		// Refused.
		"": "", "yesterday": "", "2026-11-30": "", "03:59": "", "soon": "", "ago": "", "minutes ago": "", "-5 minutes ago": "",
		"5 fortnights ago": "", "99999999999 days ago": "", "9999999 weeks ago": "", "-1h ago": "", "5 minutes": "",
		"2026-11-31 03:59": "", "2026-02-29 12:00": "", "2026-13-01 12:00": "", "26-11-30 12:00": "", "30.11.2026 12:00": "", "11/30/2026 12:00": "",
		"2026-11-30 24:00": "", "2026-11-30 03:60": "", "2026-11-30 03:59:60": "", "2026-11-30 3:59": "", "2026-11-30 03": "",
		"2026-11-30 03:59.5": "", "2026-11-30 03:59:07.": "", "2026-11-30 03:59:07.1234567890": "", "2026-11-30 03:59 CET": "",
		"2026-11-30 03:59 CST": "", "2026-11-30 03:59 Mars/Olympus": "", "2026-11-30 03:59 ../etc/passwd": "", "2026-11-30 03:59 +25:00": "",
		"2026-11-30 03:59 +1": "", "2026-11-30 03:59 UTC now": "", "2026-11-30 03:59Z UTC": "", "1960-01-01 00:00 UTC": "", "T03:59": "",
		"2026-11-30 03:59 pm": "", "２０２６-11-30 03:59": "", "2011-12-30 10:00 Pacific/Apia": "",
	} {
		m, err := reader(t).Read(text)
		got := ""
		if err == nil {
			got = strings.TrimSpace(m.Time.UTC().Format(time.RFC3339Nano) + " " + m.How)
		}
		if got != want {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
		if err != nil && (!fault.Is(err, fault.Usage) || fault.HintOf(err) == "") {
			t.Errorf("%q: %v without a hint, of kind %v", text, err, fault.KindOf(err))
		}
	}
}

// TestTwice: what the clocks showed twice, or never, is refused with both moments that may be meant; each of
// the two, as the hint has it, is read.
func TestTwice(t *testing.T) {
	for text, want := range map[string][2]string{
		"2026-10-25 02:30":                     {"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"},
		"2026-10-25 02:00":                     {"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"},
		"2026-10-25 02:59:59.999":              {"2026-10-25T02:59:59.999+02:00", "2026-10-25T02:59:59.999+01:00"},
		"2026-03-29 02:30":                     {"2026-03-29T03:30:00+02:00", "2026-03-29T01:30:00+01:00"},
		"2026-03-29 02:00":                     {"2026-03-29T03:00:00+02:00", "2026-03-29T01:00:00+01:00"},
		"2026-11-01 01:15 America/New_York":    {"2026-11-01T01:15:00-04:00", "2026-11-01T01:15:00-05:00"},
		"2026-03-08 02:59 America/New_York":    {"2026-03-08T03:59:00-04:00", "2026-03-08T01:59:00-05:00"},
		"2026-04-05 01:45 Australia/Lord_Howe": {"2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30"},
	} {
		_, err := reader(t).Read(text)
		hint := fault.HintOf(err)
		if !fault.Is(err, fault.Usage) || !strings.Contains(hint, want[0]) || !strings.Contains(hint, want[1]) {
			t.Errorf("%q: %v (%s), want both %v", text, err, hint, want)
		}
		for _, one := range want {
			if _, err := reader(t).Read(one); err != nil {
				t.Errorf("the hint of %q names %s: %v", text, one, err)
			}
		}
	}
}

// FuzzRead: no text is read as something else than it says: a moment, written with its offset, is the same moment.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"2026-11-30 03:59", "20261130T035907Z", "10 minutes ago", "yesterday 14:00 Europe/Berlin", "2026-10-25 02:30", "1h ago", "0\xffT", "0000-00 0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := reader(t)
		m, err := r.Read(text)
		if err != nil {
			if !fault.Is(err, fault.Usage) || !m.Time.IsZero() {
				t.Fatalf("%q: %v, %v", text, err, m)
			}
			return
		}
		again, err := r.Read(m.Time.Format(time.RFC3339Nano))
		if m.Time.Year() < 1970 { // long ago: it is not written so
			return
		}
		if err != nil || !again.Time.Equal(m.Time) {
			t.Fatalf("%q is %s, which is read as %s, %v", text, m, again, err)
		}
	})
}
