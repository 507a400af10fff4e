package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule is a set of minutes: five cron fields (minute, hour, day of month, month, day of week)
// in UTC. The zero Schedule is never.
type Schedule struct {
	text   string
	fields [5]uint64 // a bit for each value
	anyDay [2]bool   // day of month, day of week: not restricted
}

// bounds of the fields; a 7 in the last one is Sunday too.
var bounds = [5]struct {
	name   string
	lo, hi int
}{{"minute", 0, 59}, {"hour", 0, 23}, {"day of month", 1, 31}, {"month", 1, 12}, {"day of week", 0, 7}}

// horizon is how far Next looks: the 29th of February comes within eight years.
const horizon = 9 * 366 * 24 * time.Hour

// String returns the schedule as it is written.
func (s Schedule) String() string { return s.text }

// Never reports whether no time is in the schedule.
func (s Schedule) Never() bool { return s.text == "" }

// UnmarshalText reads five fields of '*', numbers, ranges, lists and steps, or "".
func (s *Schedule) UnmarshalText(b []byte) error {
	*s = Schedule{text: strings.TrimSpace(string(b))}
	if s.text == "" {
		return nil
	}
	fields := strings.Fields(s.text)
	if len(fields) != len(bounds) {
		return fmt.Errorf("%q has %d fields: write minute, hour, day of month, month and day of week, as \"0 3 * * *\"", b, len(fields))
	}
	for i, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			bits, err := cronPart(part, bounds[i].lo, bounds[i].hi)
			if err != nil {
				return fmt.Errorf("%q is no %s: write *, a number from %d to %d, 1-5, 1,15 or */10", f, bounds[i].name, bounds[i].lo, bounds[i].hi)
			}
			s.fields[i] |= bits
		}
	}
	s.fields[4] |= s.fields[4] >> 7 & 1
	s.anyDay = [2]bool{strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")}
	if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return fmt.Errorf("%q never comes", b)
	}
	return nil
}

// cronPart reads "*", "n", "n-m", each with "/step" or without.
func cronPart(part string, lo, hi int) (bits uint64, err error) {
	span, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
			return 0, fmt.Errorf("bad step %q", stepText)
		}
	}
	first, last := lo, hi
	if span != "*" {
		from, to, isRange := strings.Cut(span, "-")
		if first, err = strconv.Atoi(from); err != nil {
			return 0, err
		}
		last = first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				return 0, err
			}
		} else if stepped {
			last = hi
		}
	}
	if first < lo || last > hi || first > last {
		return 0, fmt.Errorf("%d-%d is not within %d-%d", first, last, lo, hi)
	}
	for n := first; n <= last; n += step {
		bits |= 1 << n
	}
	return bits, nil
}

// Next returns the first time in the schedule after t, or the zero time when there is none.
func (s Schedule) Next(t time.Time) time.Time {
	if s.Never() {
		return time.Time{}
	}
	t = t.UTC()
	end := t.Add(horizon)
	t = t.Truncate(time.Minute).Add(time.Minute)
	for t.Before(end) {
		switch {
		case !s.has(3, int(t.Month())):
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.day(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case !s.has(1, t.Hour()):
			t = t.Truncate(time.Hour).Add(time.Hour)
		case !s.has(0, t.Minute()):
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

func (s Schedule) has(field, value int) bool { return s.fields[field]>>value&1 == 1 }

// day follows cron: when both fields of the day are restricted, either may match.
func (s Schedule) day(t time.Time) bool {
	month, week := s.has(2, t.Day()), s.has(4, int(t.Weekday()))
	if s.anyDay[0] || s.anyDay[1] {
		return month && week
	}
	return month || week
}
