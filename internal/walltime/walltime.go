// Package walltime reads times as people write them: as RFC 3339, as this program prints them, by the clock on
// the wall, or as so long ago. A time that could be two moments is never guessed: it is refused with both.
package walltime

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tidemark/internal/fault"
)

// Understood says what Read understands.
const Understood = "Write 2026-11-30 03:59, 2026-11-30T03:59:07.123Z, 2026-11-30 03:59 +01:00, 2026-11-30 03:59 Europe/Berlin, " +
	"yesterday 14:00, or 10 minutes ago; a time without a zone is one of this machine's zone."

// Reader reads times, as of a moment and in a zone.
type Reader struct {
	Now  time.Time
	Zone *time.Location // of what names none
}

// Moment is a time that was read.
type Moment struct {
	Time time.Time // in the zone that it was read in
	How  string    // why it is this moment, where the text alone does not say: "in this machine's zone, CET"; else ""
}

// String says which moment it is, and why.
func (m Moment) String() string {
	s := m.Time.Format("2006-01-02 15:04:05.999999999 -07:00")
	if m.How != "" {
		s += ", " + m.How
	}
	return s
}

// Read reads a time. The error is of kind Usage and says what is wrong with the text, its hint what to write.
func (r Reader) Read(text string) (Moment, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return Moment{}, refuse(text, "it is empty")
	}
	if len(text) > 100 {
		return Moment{}, refuse(text[:100]+"…", "it is too long")
	}
	last := len(words) - 1
	if strings.EqualFold(words[last], "ago") {
		return r.ago(text, words[:last])
	}
	if last == 0 && strings.EqualFold(words[0], "now") {
		return Moment{r.Now.In(r.Zone), "now"}, nil
	}
	return r.dated(text, words)
}

// ago reads "10 minutes", "1h30m" and the like, before now.
func (r Reader) ago(text string, words []string) (Moment, error) {
	var d time.Duration
	switch len(words) {
	case 1:
		var err error
		if d, err = short(words[0]); err != nil {
			return Moment{}, refuse(text, err.Error())
		}
	case 2:
		number := strings.ToLower(words[0])
		if number == "a" || number == "an" {
			number = "1"
		}
		n, err := strconv.ParseUint(number, 10, 32)
		unit, ok := units[strings.TrimSuffix(strings.ToLower(words[1]), "s")]
		if words[1] == "s" {
			unit, ok = time.Second, true
		}
		if err != nil || !ok || n > uint64(longest/unit) {
			return Moment{}, refuse(text, "that is no number of seconds, minutes, hours, days or weeks")
		}
		d = time.Duration(n) * unit
	default:
		return Moment{}, refuse(text, "that is no number of seconds, minutes, hours, days or weeks")
	}
	return Moment{r.Now.Add(-d).In(r.Zone), "which is " + text}, nil
}

// longest is how long ago something may be: a century.
const longest = 100 * 366 * 24 * time.Hour

// units are those of durations, without the s of several.
var units = map[string]time.Duration{"second": time.Second, "sec": time.Second, "minute": time.Minute, "min": time.Minute, "m": time.Minute,
	"hour": time.Hour, "hr": time.Hour, "h": time.Hour, "day": 24 * time.Hour, "d": 24 * time.Hour, "week": 7 * 24 * time.Hour, "w": 7 * 24 * time.Hour}

// short reads a duration in one word, "90m", "1h30m" or "2d".
func short(word string) (time.Duration, error) {
	word = strings.ToLower(word)
	d, err := time.ParseDuration(word)
	if days, ok := strings.CutSuffix(word, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 || d > longest {
		return 0, fmt.Errorf("%q is no duration", word)
	}
	return d, nil
}

// civil is what a calendar and a clock show.
type civil struct {
	year, month, day, hour, minute, second, nanos int
}

// dated reads a day, the time of day, and perhaps a zone.
func (r Reader) dated(text string, words []string) (Moment, error) {
	day, clock, rest := words[0], "", words[1:]
	// In one word as RFC 3339 has it, or as the name of a base backup has it, or in two.
	if i := strings.IndexAny(day, "Tt"); i > 0 && isDigit(day[0]) {
		day, clock = day[:i], day[i+1:]
	} else if len(rest) > 0 {
		clock, rest = rest[0], rest[1:]
	}
	if clock == "" || !isDigit(clock[0]) {
		return Moment{}, refuse(text, "it says no time of day")
	}
	clock, zone := splitZone(clock)
	if zone != "" {
		rest = append([]string{zone}, rest...)
	}
	if len(rest) > 1 {
		return Moment{}, refuse(text, fmt.Sprintf("what %q means is not known", strings.Join(rest[1:], " ")))
	}
	loc, how := r.Zone, ""
	if len(rest) == 1 {
		var err error
		if loc, err = r.zone(rest[0]); err != nil {
			return Moment{}, refuse(text, err.Error())
		}
	} else {
		how = "in this machine's zone"
	}
	c, relative, err := r.calendar(day, loc)
	if err == nil {
		err = c.setClock(clock)
	}
	if err != nil {
		return Moment{}, refuse(text, err.Error())
	}
	t, err := c.in(text, loc)
	if err != nil {
		return Moment{}, err
	}
	name, _ := t.Zone()
	switch {
	case how != "" && name != "" && isLetter(name[0]):
		how += ", " + name
	case how == "" && relative:
		how = "in the zone given"
	}
	return Moment{t, how}, nil
}

// splitZone cuts a zone off that is written together with a time of day: "03:59Z", "03:59:07+01:00".
func splitZone(clock string) (before, zone string) {
	if i := strings.IndexFunc(clock, func(c rune) bool { return c != ':' && c != '.' && (c < '0' || c > '9') }); i > 0 {
		return clock[:i], clock[i:]
	}
	return clock, ""
}

// zone reads the name of a zone or its offset.
func (r Reader) zone(text string) (*time.Location, error) {
	switch strings.ToUpper(text) {
	case "Z", "UTC", "GMT":
		return time.UTC, nil
	}
	if text[0] == '+' || text[0] == '-' {
		digits := strings.Replace(text[1:], ":", "", 1)
		if len(digits) == 2 {
			digits += "00"
		}
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || len(digits) != 4 || n/100 > 14 || n%100 > 59 {
			return nil, fmt.Errorf("%q is no offset of a zone", text)
		}
		seconds := int(n/100*3600 + n%100*60)
		if text[0] == '-' {
			seconds = -seconds
		}
		return time.FixedZone("", seconds), nil
	}
	if !strings.Contains(text, "/") { // CST is a zone of America, of China and of Cuba
		return nil, fmt.Errorf("%q does not say which zone it is: write an offset, +01:00, or a name, Europe/Berlin", text)
	}
	loc, err := time.LoadLocation(text)
	if err != nil {
		return nil, fmt.Errorf("the zone %q is not known on this machine", text)
	}
	return loc, nil
}

// calendar reads a day: a date, today or yesterday.
func (r Reader) calendar(day string, loc *time.Location) (c civil, relative bool, err error) {
	now := r.Now.In(loc)
	switch strings.ToLower(day) {
	case "today":
		return civil{year: now.Year(), month: int(now.Month()), day: now.Day()}, true, nil
	case "yesterday":
		y := time.Date(now.Year(), now.Month(), now.Day()-1, 12, 0, 0, 0, time.UTC)
		return civil{year: y.Year(), month: int(y.Month()), day: y.Day()}, true, nil
	}
	var n []int
	if len(day) == 8 { // 20261130
		n, err = numbers([]string{day[:4], day[4:6], day[6:]}, 4, 2, 2)
	} else {
		n, err = numbers(strings.Split(day, "-"), 4, 2, 2)
	}
	if err != nil || len(n) != 3 {
		return c, false, fmt.Errorf("%q is no day", day)
	}
	c = civil{year: n[0], month: n[1], day: n[2]}
	t := time.Date(c.year, time.Month(c.month), c.day, 12, 0, 0, 0, time.UTC)
	if t.Year() != c.year || int(t.Month()) != c.month || t.Day() != c.day || c.year < 1970 {
		return c, false, fmt.Errorf("there is no day %q", day)
	}
	return c, false, nil
}

// setClock reads a time of day: 03:59, 03:59:07, 03:59:07.123, or 035907.
func (c *civil) setClock(clock string) error {
	whole, fraction, dotted := strings.Cut(clock, ".")
	parts := strings.Split(whole, ":")
	if len(parts) == 1 && len(whole) == 6 {
		parts = []string{whole[:2], whole[2:4], whole[4:]}
	}
	wrong := fmt.Errorf("%q is no time of day", clock)
	if len(parts) < 2 || len(parts) > 3 || dotted && (len(parts) != 3 || fraction == "" || len(fraction) > 9) {
		return wrong
	}
	n, err := numbers(parts, 2, 2, 2)
	if err != nil || n[0] > 23 || n[1] > 59 || len(n) > 2 && n[2] > 59 {
		return wrong
	}
	c.hour, c.minute = n[0], n[1]
	if len(n) > 2 {
		c.second = n[2]
	}
	if dotted {
		nanos, err := numbers([]string{fraction + strings.Repeat("0", 9-len(fraction))}, 9)
		if err != nil {
			return wrong
		}
		c.nanos = nanos[0]
	}
	return nil
}

// numbers reads numbers of so many digits each; there may be fewer of them.
func numbers(parts []string, digits ...int) ([]int, error) {
	var list []int
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if i >= len(digits) || len(p) != digits[i] || err != nil {
			return nil, errors.New("no number")
		}
		list = append(list, int(n))
	}
	return list, nil
}

// in is the one moment at which a zone's clocks show c. Where there are two, or none, because clocks were set
// back or ahead, it is refused with both that may be meant.
func (c civil) in(text string, loc *time.Location) (time.Time, error) {
	naive := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, c.nanos, time.UTC)
	as := func(offset int) time.Time { return naive.Add(-time.Duration(offset) * time.Second).In(loc) }
	_, here := as(0).Zone()
	near := as(here)
	start, end := near.ZoneBounds()
	var offsets []int // that are in force around it
	add := func(t time.Time) {
		if _, o := t.Zone(); len(offsets) == 0 || offsets[len(offsets)-1] != o {
			offsets = append(offsets, o)
		}
	}
	if !start.IsZero() {
		add(start.Add(-1))
	}
	add(near)
	if !end.IsZero() {
		add(end)
	}
	var shown, skipped []time.Time
	for i, o := range offsets {
		if _, is := as(o).Zone(); is == o {
			if len(shown) == 0 || !shown[0].Equal(as(o)) {
				shown = append(shown, as(o))
			}
		}
		if i > 0 && o > offsets[i-1] { // the clocks were set ahead between the two: did they pass over c?
			early, late := as(o), as(offsets[i-1])
			if _, a := early.Zone(); a == offsets[i-1] {
				if _, b := late.Zone(); b == o {
					skipped = []time.Time{late, early}
				}
			}
		}
	}
	const exact = "2006-01-02T15:04:05.999999999Z07:00"
	switch {
	case len(shown) == 1:
		return shown[0], nil
	case len(shown) > 1:
		return time.Time{}, fault.New(fault.Usage, "read time", text,
			errors.New("the clocks of that zone showed it twice, as they were set back")).
			WithHint(fmt.Sprintf("Write %s for the first of the two, or %s for the second.", shown[0].Format(exact), shown[1].Format(exact)))
	case len(skipped) == 2:
		return time.Time{}, fault.New(fault.Usage, "read time", text,
			errors.New("the clocks of that zone never showed it, as they were set ahead")).
			WithHint(fmt.Sprintf("Write %s, by the offset before that, or %s, by the one after it.",
				skipped[0].Format(exact), skipped[1].Format(exact)))
	}
	return time.Time{}, refuse(text, "the clocks of that zone never showed it")
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

func refuse(text, why string) error {
	return fault.New(fault.Usage, "read time", strconv.Quote(text), errors.New(why)).WithHint(Understood)
}
