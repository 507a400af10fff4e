package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Share is a share of the whole, written "5%".
type Share float64

// String writes the share in percent.
func (s Share) String() string { return strconv.FormatFloat(float64(s), 'g', -1, 64) + "%" }

// UnmarshalText reads a number of percent.
func (s *Share) UnmarshalText(b []byte) error {
	number, ok := strings.CutSuffix(string(b), "%")
	p, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(p == 0 || p >= 0.1 && p <= 100) {
		return fmt.Errorf("%q is not a share: write 5%%; 0.1%% to 100%%, or 0%%", b)
	}
	*s = Share(p)
	return nil
}

// Parts is how many parts, of that share at most, make up the whole; 0 for nothing.
func (s Share) Parts() int {
	if s == 0 {
		return 0
	}
	return int(math.Ceil(100/float64(s) - 1e-9))
}
