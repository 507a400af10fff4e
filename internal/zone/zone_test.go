package zone

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

var instant = regexp.MustCompile(`FROM_UNIXTIME\((\d+)\)`)

// clockOf answers as a server whose machine has the zone.
func clockOf(zone *time.Location, queries *int) Query {
	return func(sql string) (row []string, err error) {
		*queries++
		for _, m := range instant.FindAllStringSubmatch(sql, -1) {
			at, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, err
			}
			row = append(row, time.Unix(at, 0).In(zone).Format(time.DateTime))
		}
		return row, nil
	}
}

// TestAsk: what is asked, written down, read again and made a file is the zone, at random instants and at those
// around each change.
func TestAsk(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca",
		"Pacific/Apia", "America/Caracas", "Asia/Tokyo", "America/Sao_Paulo"} {
		want, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		queries := 0
		asked, err := Ask(clockOf(want, &queries))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		z, err := Parse(asked.String())
		if err != nil || z.String() != asked.String() {
			t.Fatalf("%s: %q reads as %q, %v", name, asked, z, err)
		}
		got, err := time.LoadLocationFromTZData(name, z.File("ABC"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		instants := []int64{0, last}
		for _, c := range z.changes {
			instants = append(instants, c.at-1, c.at)
		}
		for range 10_000 {
			instants = append(instants, rng.Int64N(last))
		}
		for _, at := range instants {
			if g, w := time.Unix(at, 0).In(got).Format(time.DateTime), time.Unix(at, 0).In(want).Format(time.DateTime); g != w {
				t.Errorf("%s: %d is %s, not %s", name, at, g, w)
				break
			}
		}
		if queries > 40 || len(z.String()) > 4000 || z.UTC() != (name == "UTC") {
			t.Errorf("%s: %d queries, %d bytes, UTC %t", name, queries, len(z.String()), z.UTC())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "x", "3600 5", "3600 5+x", "3600 5+99999999", "3600 50+3600 50+0", "3600 -5+0",
		"0" + strings.Repeat(" 1+1", 2000)} {
		if z, err := Parse(text); err == nil {
			t.Errorf("%.30q reads as %q", text, z)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("3600 323830800+7200 338950800+3600")
	f.Fuzz(func(t *testing.T, text string) {
		z, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(z.String())
		if err != nil || again.String() != z.String() {
			t.Fatalf("%q became %q, %v", z, again, err)
		}
		if _, err := time.LoadLocationFromTZData("X", z.File("X")); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
