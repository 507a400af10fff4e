// Package variables knows the server variables that the result of applying a binlog depends on, and what a
// server that applies one does with each. Table is closed: of all variables that the servers of our tests
// have, each is in it or in testdata/harmless.txt, with the reason.
//
// A base backup records the Names of the server that it copies. The server that applies the log after it gets
// Options, and Environment; of what cannot be had there, Differences tells.
package variables

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tidemark/internal/gtid"
)

// Use says what the server that applies the log does with a variable.
type Use int

const (
	// Recorded: it has the value that was recorded, as the same statements must do the same.
	Recorded Use = iota
	// OfData: the same, and it stays what it was when the data was copied.
	OfData
	// Raised: it has the value that was recorded, or Value if that is more. It is a limit.
	Raised
	// Forced: it has Value, with which what worked once cannot fail.
	Forced
	// Reported: it is the server's own, and a difference is said.
	Reported
)

func (u Use) String() string {
	return [...]string{"as recorded", "as in the base backup", "raised", "forced", "reported"}[u]
}

// Variable is a server variable and its use.
type Variable struct {
	Name   string
	Flavor gtid.Flavor // 0 for both
	Use    Use
	Value  string // of Raised and Forced, and of Reported the one that makes no difference
	Why    string
	option string // its name as an option, where that is another
}

// Table lists the variables by name.
func Table() []Variable { return slices.Clone(table) }

// Names are those that a base backup records.
func Names() []string {
	var names []string
	for _, v := range table {
		if v.Use != Forced {
			names = append(names, v.Name)
		}
	}
	return names
}

// Option is an option of a server, "innodb-page-size" with "16384".
type Option struct {
	Name, Value string
	Variable    string // that it sets
}

// Options are those of a server of a flavor that applies a log, in a fixed order. recorded is from an archive: of what is not in the table
// nothing is taken, so that an archive cannot make a server load or run something.
func Options(flavor gtid.Flavor, recorded map[string]string) ([]Option, error) {
	return options(flavor, recorded, true)
}

// KeptOptions are Options of a server that stays when the log is applied: nothing is raised or forced.
func KeptOptions(flavor gtid.Flavor, recorded map[string]string) ([]Option, error) {
	return options(flavor, recorded, false)
}

func options(flavor gtid.Flavor, recorded map[string]string, applies bool) ([]Option, error) {
	var list []Option
	for _, v := range table {
		value, ok := recorded[v.Name]
		if strings.ContainsAny(value, "\x00\n\r") {
			return nil, fmt.Errorf("recorded variable %s has the value %q", v.Name, value)
		}
		switch {
		case v.Flavor != both && v.Flavor != flavor:
			continue
		case value == "" && v.Name != "sql_mode": // of no other is the empty value one to be set
			if v.Use == Recorded || v.Use == OfData || !applies || v.Value == "" {
				continue
			}
			value = v.Value
		case (v.Use == Recorded || v.Use == OfData) && ok:
		case v.Use == Raised && applies:
			value = raised(value, v.Value)
		case v.Use == Raised && ok:
		case v.Use == Forced && applies:
			value = v.Value
		default:
			continue
		}
		name := strings.ReplaceAll(cmp.Or(v.option, v.Name), "_", "-")
		list = append(list, Option{Name: name, Value: value, Variable: v.Name})
	}
	return list, nil
}

// raised is the larger of two numbers; what is none counts as nothing.
func raised(recorded, least string) string {
	r, err := strconv.ParseUint(recorded, 10, 64)
	l, _ := strconv.ParseUint(least, 10, 64) // the table's
	if err != nil || r < l {
		return least
	}
	return recorded
}

// Difference is a variable that the server that applied the log did not have as recorded.
type Difference struct {
	Name     string
	Recorded string
	Why      string
}

// Differences are the variables of Use Reported that were recorded with a value that makes one.
func Differences(flavor gtid.Flavor, recorded map[string]string) []Difference {
	var list []Difference
	for _, v := range table {
		value, ok := recorded[v.Name]
		if ok && v.Use == Reported && (v.Flavor == both || v.Flavor == flavor) && value != v.Value {
			list = append(list, Difference{Name: v.Name, Recorded: value, Why: v.Why})
		}
	}
	return list
}
