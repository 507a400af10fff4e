package workload

import "fmt"

// mariaKinds are those that only MariaDB has.
func mariaKinds() []kind {
	return []kind{
		{"mixed-engines", NonTransactional, 30, (*session).mixedEngines}, // MySQL allows none with GTIDs
		{"sequence", Sequences, 30, (*session).sequence},
		{"alter", Definitions, 10, (*session).alter},
	}
}

func mariaTables() []string {
	return []string{`CREATE SEQUENCE IF NOT EXISTS %[1]s.numbers CACHE 5`}
}

// mixedEngines changes MyISAM and InnoDB in one transaction, which is committed or not.
func (s *session) mixedEngines() error {
	return s.run("BEGIN", s.nonTransactionalSQL(), s.change(), s.nonTransactionalSQL(), s.change(),
		[]string{"COMMIT", "ROLLBACK"}[s.rng.IntN(2)])
}

func (s *session) sequence() error {
	switch s.rng.IntN(8) {
	case 0:
		return s.exec("DO SETVAL(numbers, %d)", s.rng.IntN(1000))
	case 1:
		name := s.name("seq", 2)
		return s.run("CREATE OR REPLACE SEQUENCE "+name+" START WITH 10 INCREMENT BY 3 CACHE 2", "DO NEXTVAL("+name+")",
			"ALTER SEQUENCE "+name+" RESTART 500 MAXVALUE 100000", "DO NEXTVAL("+name+")")
	case 2:
		return s.exec("DROP SEQUENCE IF EXISTS %s", s.name("seq", 2))
	default:
		return s.exec("REPLACE INTO numbered VALUES (NEXT VALUE FOR numbers, %s)", s.text(40))
	}
}

func (s *session) alter() error {
	column, table := fmt.Sprintf("x%d", s.rng.IntN(3)), s.wide()
	switch s.rng.IntN(7) {
	case 0, 1:
		return s.exec("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s INT NOT NULL DEFAULT %d%s", table, column, s.rng.IntN(9), []string{"", " FIRST", " AFTER k"}[s.rng.IntN(3)])
	case 2:
		return s.exec("ALTER TABLE %s DROP COLUMN IF EXISTS %s", table, column)
	case 3:
		return s.exec("ALTER TABLE %s ADD INDEX IF NOT EXISTS extra (n, k)", table)
	case 4:
		return s.exec("DROP INDEX IF EXISTS extra ON %s", table)
	case 5:
		return s.exec("ALTER TABLE %s MODIFY COLUMN v VARCHAR(%d), COMMENT='%d'", table, 300+s.rng.IntN(50), s.rng.IntN(100))
	default:
		if !s.without(Rebuilt) {
			table = []string{table, "m", "a"}[s.rng.IntN(3)]
		}
		return s.exec("ALTER TABLE %s FORCE", table)
	}
}
