package workload

import (
	"math/rand/v2"
	"slices"
)

// kind is a kind of transaction, or of several in a row. run leaves no transaction open and
// no session state behind, unless it fails in the middle of a transaction.
type kind struct {
	name   string
	group  Group // "" if it cannot be left out
	weight int   // how often, in proportion to the others
	run    func(*session) error
}

// kinds returns what is written to a server of the flavor, without the groups left out.
func kinds(o Options, f flavor) []kind {
	all := []kind{
		{"transfer", "", 600, (*session).transfer},
		{"transfer-rollback", "", 30, (*session).transferRollback},
		{"insert", "", 300, (*session).insert},
		{"update", "", 200, (*session).update},
		{"delete", "", 150, (*session).delete},
		{"upsert", "", 60, (*session).upsert},
		{"insert-select", "", 40, (*session).insertSelect},
		{"multi-statement", "", 150, (*session).multiStatement},
		{"multi-table", "", 60, (*session).multiTable},
		{"savepoint", "", 50, (*session).savepoint},
		{"no-primary-key", "", 20, (*session).noPrimaryKey},
		{"partitioned", "", 20, (*session).partitioned},

		{"myisam", NonTransactional, 60, (*session).nonTransactional},
		{"statement", Statements, 60, (*session).statement},
		{"user-variable", Statements, 15, (*session).userVariable},
		{"temporary-table", Statements, 10, (*session).temporaryTable},
		{"procedure-by-statement", Statements, 10, (*session).procedureByStatement},
		{"xa", XA, 30, (*session).xa},
		{"blob", Blobs, 20, (*session).blob},
		{"big", Blobs, 1, (*session).big},

		{"table", Definitions, 15, (*session).table},
		{"truncate", Definitions, 4, (*session).truncate},
		{"view", Definitions, 8, (*session).view},
		{"trigger", Definitions, 6, (*session).trigger},
		{"procedure", Definitions, 10, (*session).procedure},
		{"database", Definitions, 3, (*session).database},
		{"admin", Definitions, 2, (*session).admin},
		{"swap", Fragile, 8, (*session).swap},
		{"partitions", Fragile, 5, (*session).partitions},
		{"event", Events, 10, (*session).event},
		{"rotate", Rotation, 1, (*session).rotate},
	}
	switch f {
	case mariaDB:
		all = append(all, mariaKinds()...)
	case mySQL:
		all = append(all, myKinds()...)
	}
	return slices.DeleteFunc(all, func(k kind) bool {
		return slices.Contains(o.Without, k.group) || k.name == "big" && o.BigTransaction <= 0
	})
}

// pick chooses a kind by weight.
func pick(rng *rand.Rand, kinds []kind) kind {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := rng.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			return k
		}
	}
	return kinds[len(kinds)-1]
}
