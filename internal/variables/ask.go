package variables

import (
	"slices"

	"tidemark/internal/zone"
)

// Offsets is the name under which the time zone of the server's machine is recorded, as package zone writes it.
const Offsets = "system_time_zone_offsets"

// Query executes a statement and returns its rows, as text.
type Query func(sql string) ([][]string, error)

// Ask asks a server for those of the Names that it has.
func Ask(query Query) (map[string]string, error) {
	rows, err := query("SHOW GLOBAL VARIABLES")
	if err != nil {
		return nil, err
	}
	names := Names()
	found := make(map[string]string)
	for _, row := range rows {
		if slices.Contains(names, row[0]) {
			found[row[0]] = row[1]
		}
	}
	return found, nil
}

// AskZone asks a server for the time zone of its machine, by some 30 short queries.
func AskZone(query Query) (offsets string, err error) {
	if _, err := query("SET time_zone = 'SYSTEM'"); err != nil {
		return "", err
	}
	z, err := zone.Ask(func(sql string) ([]string, error) {
		rows, err := query(sql)
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		return rows[0], nil
	})
	if err != nil {
		return "", err
	}
	if _, err := query("SET time_zone = DEFAULT"); err != nil {
		return "", err
	}
	return z.String(), nil
}
