package restore

import (
	"strings"
	"testing"

	"tidemark/internal/binlog"
	"tidemark/internal/binlog/binlogtest"
)

func TestNamesDirectory(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE TABLE t (i INT) DATA DIRECTORY='/far'":                                        true,
		"/* made by x */ create table t (i INT) index directory='/far'":                       true,
		"ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (3) data  directory '/f')": true,
		"CREATE TABLE t (" + strings.Repeat("c", 5000) + " INT) DATA DIRECTORY='/far'":        true,
		"CREATE TABLE t (i INT)": false,
		"INSERT INTO t VALUES ('CREATE TABLE t (i INT) DATA DIRECTORY=1')":                             false,
		"CREATE DEFINER=`root`@`localhost` PROCEDURE p() CREATE TABLE t (i INT) DATA DIRECTORY='/far'": false,
		"CREATE OR REPLACE TABLE t (i INT) DATA DIRECTORY='/far'":                                      true,
		"": false,
	} {
		if got := namesDirectory(binlog.TypeQuery, binlogtest.QueryBody("d", text)); got != want {
			t.Errorf("%.60q: %v", text, got)
		}
	}
}
