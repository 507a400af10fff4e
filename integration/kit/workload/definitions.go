package workload

import (
	"fmt"
	"slices"
)

// name returns one of few names that only this worker uses.
func (s *session) name(what string, few int) string {
	return fmt.Sprintf("%s_%d_%d", what, s.id, s.rng.IntN(few))
}

func (s *session) without(g Group) bool {
	if g == Rebuilt && !s.w.rebuilds.Load() && slices.Contains(s.w.opts.Without, Recreated) {
		return true
	}
	return slices.Contains(s.w.opts.Without, g)
}

// table makes a table and drops another; some tables stay, with rows.
func (s *session) table() error {
	name, create := s.name("x", 4), ""
	switch s.rng.IntN(5) {
	case 0:
		create = "AS SELECT id, k, v, n FROM t1 LIMIT 20"
	case 1:
		create = "LIKE t2"
	case 2:
		create = "(id INT AUTO_INCREMENT PRIMARY KEY, k INT, v VARCHAR(100)) ENGINE=MyISAM"
		if s.without(Recreated) {
			create = "(id INT PRIMARY KEY, k INT, v VARCHAR(100)) ENGINE=InnoDB"
		}
	case 3:
		create = "(id INT PRIMARY KEY, k INT, v TEXT) ENGINE=InnoDB ROW_FORMAT=COMPRESSED"
	default:
		create = fmt.Sprintf("(id INT PRIMARY KEY, k INT CHECK (k < 100000), v VARCHAR(100) DEFAULT (CONCAT('v', 1))) COMMENT=%s", s.text(60))
	}
	if err := s.replace("TABLE", name, create); err != nil {
		return err
	}
	return s.run(
		fmt.Sprintf("INSERT INTO %s (id, k, v) VALUES (1001, %d, %s), (1002, 2, 'y')", name, s.key(), s.text(50)),
		"DROP TABLE IF EXISTS "+s.name("x", 4)+", no_such_table")
}

// swap exchanges two tables at once, as tools that change schemas online do.
func (s *session) swap() error {
	return s.run(
		"INSERT INTO left_side (v) VALUES ("+s.text(40)+")",
		"RENAME TABLE left_side TO between_sides, right_side TO left_side, between_sides TO right_side",
		fmt.Sprintf("DELETE FROM right_side WHERE id %% 7 = %d", s.rng.IntN(7)))
}

func (s *session) partitions() error {
	name := s.name("xp", 2)
	if err := s.replace("TABLE", name, "(id INT PRIMARY KEY, v VARCHAR(50)) PARTITION BY RANGE (id) "+
		"(PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS THAN MAXVALUE)"); err != nil {
		return err
	}
	return s.run(
		"INSERT INTO "+name+" VALUES (1, 'a'), (7, "+s.text(40)+"), (9, 'c')",
		"ALTER TABLE "+name+" REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (8), PARTITION p2 VALUES LESS THAN MAXVALUE)",
		"ALTER TABLE "+name+" "+[]string{"TRUNCATE", "DROP", "REBUILD"}[s.rng.IntN(3)]+" PARTITION p1")
}

func (s *session) truncate() error {
	tables := []string{"audit", "t3", "statements", "numbered", "m"}
	if s.without(Rebuilt) {
		tables = tables[:4]
	}
	return s.exec("TRUNCATE TABLE %s", tables[s.rng.IntN(len(tables))])
}

func (s *session) view() error {
	name := s.name("v", 2)
	if s.rng.IntN(3) == 0 {
		return s.exec("DROP VIEW IF EXISTS %s", name)
	}
	return s.run(fmt.Sprintf("CREATE OR REPLACE ALGORITHM=MERGE VIEW %s AS SELECT id, k, v FROM t1 WHERE k < %d WITH CHECK OPTION", name, s.key()),
		fmt.Sprintf("INSERT INTO %s (k, v) VALUES (-1, %s)", name, s.text(20)))
}

func (s *session) trigger() error {
	name := s.name("tr", 2)
	if s.rng.IntN(2) == 0 {
		return s.exec("DROP TRIGGER IF EXISTS %s", name)
	}
	return s.replace("TRIGGER", name, fmt.Sprintf("BEFORE UPDATE ON t3 FOR EACH ROW SET NEW.n = COALESCE(OLD.n, 0) + %d", s.rng.IntN(10)))
}

func (s *session) procedure() error {
	procedure, function := s.name("p", 2), s.name("f", 2)
	if err := s.replace("PROCEDURE", procedure, "(IN a INT) COMMENT "+s.text(20)+" BEGIN "+
		"INSERT INTO t2 (k, v) VALUES (a, CONCAT('p', a)); UPDATE t1 SET n = a WHERE k = a; END"); err != nil {
		return err
	}
	if err := s.replace("FUNCTION", function, fmt.Sprintf("(a INT) RETURNS INT DETERMINISTIC RETURN a * %d", s.rng.IntN(9))); err != nil {
		return err
	}
	return s.run(
		fmt.Sprintf("CALL %s (%s(%d))", procedure, function, s.key()),
		"DROP PROCEDURE IF EXISTS "+s.name("p", 2),
		"DROP FUNCTION IF EXISTS "+s.name("f", 2))
}

func (s *session) database() error {
	name := fmt.Sprintf("%s_extra_%d", s.schema, s.id)
	if s.rng.IntN(2) == 0 && !s.without(Recreated) {
		return s.exec("DROP DATABASE IF EXISTS %s", name)
	}
	return s.run("CREATE DATABASE IF NOT EXISTS "+name,
		"CREATE TABLE IF NOT EXISTS "+name+".t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50)) CHARACTER SET utf8mb4",
		"INSERT INTO "+name+".t (v) VALUES ("+s.text(50)+")",
		"ALTER DATABASE "+name+" CHARACTER SET "+[]string{"latin1", "utf8mb4"}[s.rng.IntN(2)])
}

// admin are statements that go into the binlog though they change nothing.
func (s *session) admin() error {
	what := []string{"ANALYZE", "OPTIMIZE", "REPAIR"}
	if s.without(Rebuilt) {
		what = what[:1]
	}
	return s.exec("%s TABLE %s", what[s.rng.IntN(len(what))], []string{"m", "a"}[s.rng.IntN(2)])
}

func (s *session) event() error {
	name := s.name("ev", 2)
	switch s.rng.IntN(4) {
	case 0:
		return s.exec("DROP EVENT IF EXISTS %s", name)
	case 1:
		if err := s.replace("EVENT", name, "ON SCHEDULE EVERY 1 HOUR STARTS '2035-01-01 00:00:00' DO DELETE FROM audit"); err != nil {
			return err
		}
		return s.run("ALTER EVENT " + name + " DISABLE COMMENT " + s.text(20))
	default:
		return s.replace("EVENT", name, fmt.Sprintf("ON SCHEDULE EVERY %d DAY STARTS '2035-01-01 00:00:00' ENDS '2036-01-01 00:00:00' "+
			"ON COMPLETION PRESERVE DO INSERT INTO audit (what) VALUES ('e')", 1+s.rng.IntN(9)))
	}
}
