package workload

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
)

const userSchemas = "NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"

// inventory describes all that is in the schemas of users, by "table schema.name" and the like,
// and the status of the events.
func inventory(conn *client.Conn, f flavor) (objects map[string]Object, events map[string]string, err error) {
	// Timestamps are compared as text, and definitions must be quoted alike everywhere.
	if _, err := conn.Execute("SET @sql_mode=@@sql_mode, @time_zone=@@time_zone, sql_mode='', time_zone='+00:00'"); err != nil {
		return nil, nil, err
	}
	defer func() {
		if _, e := conn.Execute("SET sql_mode=@sql_mode, time_zone=@time_zone"); err == nil {
			err = e
		}
	}()
	in := inventor{conn: conn, flavor: f, objects: map[string]Object{}, events: map[string]string{}}
	for _, step := range []func() error{in.schemas, in.tables, in.triggers, in.routines, in.eventsOf} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return in.objects, in.events, nil
}

type inventor struct {
	conn    *client.Conn
	flavor  flavor
	objects map[string]Object
	events  map[string]string
}

func (in *inventor) schemas() error {
	rows, err := query(in.conn, "SELECT schema_name, default_character_set_name, default_collation_name "+
		"FROM information_schema.schemata WHERE schema_name "+userSchemas)
	for _, r := range rows {
		in.objects["schema "+r[0]] = Object{Definition: strings.Join(r[1:], " ")}
	}
	return err
}

// tables describes tables, sequences and views.
func (in *inventor) tables() error {
	columns, err := query(in.conn, "SELECT table_schema, table_name, column_name FROM information_schema.columns "+
		"WHERE table_schema "+userSchemas+" ORDER BY table_schema, table_name, ordinal_position")
	if err != nil {
		return err
	}
	columnsOf := map[string][]string{}
	for _, c := range columns {
		table := ident(c[0], c[1])
		columnsOf[table] = append(columnsOf[table], ident(c[2]))
	}
	tables, err := query(in.conn, "SELECT table_schema, table_name, table_type FROM information_schema.tables "+
		"WHERE table_schema "+userSchemas)
	if err != nil {
		return err
	}
	for _, t := range tables {
		name := ident(t[0], t[1])
		kind := map[string]string{"VIEW": "view", "SEQUENCE": "sequence"}[t[2]]
		if kind == "" {
			kind = "table"
		}
		object, err := in.definition("SHOW CREATE TABLE " + name)
		if err != nil {
			return err
		}
		if kind != "view" {
			if object.Rows, object.Sum, err = in.sum(name, columnsOf[name]); err != nil {
				return err
			}
		}
		in.objects[kind+" "+t[0]+"."+t[1]] = object
	}
	return nil
}

// sum adds up a hash of every row, so that the order of rows does not matter. Values are
// hashed one by one because a concatenation of blobs could pass max_allowed_packet.
func (in *inventor) sum(table string, columns []string) (rows int64, sum string, err error) {
	hashes := make([]string, len(columns))
	for i, c := range columns {
		hashes[i] = "IFNULL(" + in.flavor.hash(c) + ", '-')"
	}
	result, err := query(in.conn, "SELECT COUNT(*), COALESCE(SUM(CAST(CONV(LEFT("+
		in.flavor.hash("CONCAT_WS('#', "+strings.Join(hashes, ", ")+")")+", 15), 16, 10) AS UNSIGNED)), 0) FROM "+table)
	if err != nil {
		return 0, "", err
	}
	rows, err = strconv.ParseInt(result[0][0], 10, 64)
	return rows, result[0][1], err
}

// counter is where the next automatic number is, which rolled back transactions move on the
// primary only.
var counter = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// definition returns what SHOW CREATE says, less the name, which comes first.
func (in *inventor) definition(show string) (Object, error) {
	rows, err := query(in.conn, show)
	if err != nil {
		return Object{}, err
	}
	return Object{Definition: counter.ReplaceAllString(strings.Join(rows[0][1:], "\n"), "")}, nil
}

func (in *inventor) triggers() error {
	rows, err := query(in.conn, "SELECT trigger_schema, trigger_name, event_object_table, action_timing, event_manipulation, action_order, "+
		"action_statement, sql_mode, definer, character_set_client, collation_connection, database_collation "+
		"FROM information_schema.triggers WHERE trigger_schema "+userSchemas)
	for _, r := range rows {
		in.objects["trigger "+r[0]+"."+r[1]] = Object{Definition: strings.Join(r[2:], "\n")}
	}
	return err
}

func (in *inventor) routines() error {
	rows, err := query(in.conn, "SELECT routine_schema, routine_name, routine_type FROM information_schema.routines "+
		"WHERE routine_schema "+userSchemas)
	if err != nil {
		return err
	}
	for _, r := range rows {
		object, err := in.definition(fmt.Sprintf("SHOW CREATE %s %s", r[2], ident(r[0], r[1])))
		if err != nil {
			return err
		}
		in.objects[strings.ToLower(r[2])+" "+r[0]+"."+r[1]] = object
	}
	return nil
}

func (in *inventor) eventsOf() error {
	rows, err := query(in.conn, "SELECT event_schema, event_name, status, definer, time_zone, event_type, event_definition, execute_at, "+
		"interval_value, interval_field, starts, ends, on_completion, sql_mode, event_comment, character_set_client, "+
		"collation_connection, database_collation FROM information_schema.events WHERE event_schema "+userSchemas)
	for _, r := range rows {
		key := "event " + r[0] + "." + r[1]
		in.events[key] = r[2]
		in.objects[key] = Object{Definition: strings.Join(r[3:], "\n")}
	}
	return err
}

// ident quotes a name, qualified if it has several parts.
func ident(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = "`" + strings.ReplaceAll(p, "`", "``") + "`"
	}
	return strings.Join(quoted, ".")
}
