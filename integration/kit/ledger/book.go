package ledger

import (
	"fmt"

	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/integration/kit/servertest"
)

// Value reads the first value of a query's result from a server.
type Value func(sql string) (string, error)

// Book is one writer's: what its tables held after each of its transactions. It is for one goroutine.
type Book struct {
	series Series
	number int64 // MySQL: of the last transaction
	conn   *client.Conn
	holds  func(Value) (string, error)
	held   map[string]string // by GTID
}

// Open begins the book of a writer that has a session of its own. holds says what its tables hold, of whichever server it
// reads the values. On MySQL the transactions are those of the series; on MariaDB the server numbers them, in the domain
// of the session.
func Open(conn *client.Conn, series Series, holds func(Value) (string, error)) *Book {
	return &Book{series: series, conn: conn, holds: holds, held: make(map[string]string)}
}

// Begin gives the next transaction its GTID, which MySQL does not tell afterwards. Commit calls it; a transaction that is
// written with Run alone must be begun.
func (b *Book) Begin() error {
	if b.series.Flavor != servertest.MySQL {
		return nil
	}
	b.number++
	return b.Run(b.series.Next(b.number))
}

// Commit executes statements that are one transaction of the log, and notes what the tables hold then.
func (b *Book) Commit(sql ...string) error {
	if err := b.Begin(); err != nil {
		return err
	}
	if err := b.Run(sql...); err != nil {
		return err
	}
	gtid, err := b.committed()
	if err != nil {
		return err
	}
	b.held[gtid], err = b.holds(b.Value)
	return err
}

// committed is the GTID of the transaction that was committed last.
func (b *Book) committed() (string, error) {
	if b.series.Flavor != servertest.MySQL {
		return b.Value("SELECT @@last_gtid")
	}
	err := b.Run("SET SESSION gtid_next='AUTOMATIC'")
	if err != nil { // nothing was changed: the GTID is still to be used
		err = b.Run("COMMIT", "SET SESSION gtid_next='AUTOMATIC'")
	}
	return b.series.GTID(b.number), err
}

// Run executes statements, of which the book notes nothing.
func (b *Book) Run(sql ...string) error {
	for _, s := range sql {
		if _, err := b.conn.Execute(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// Value reads a value in the writer's session.
func (b *Book) Value(sql string) (string, error) {
	r, err := b.conn.Execute(sql)
	if err != nil {
		return "", fmt.Errorf("%s: %w", sql, err)
	}
	return r.GetString(0, 0)
}

// Holds is what the writer's tables hold on a server.
func (b *Book) Holds(value Value) (string, error) { return b.holds(value) }

// Wrote reports whether a transaction is in the book.
func (b *Book) Wrote(gtid string) bool {
	_, ok := b.held[gtid]
	return ok
}

// After is what the tables held after the last of the writer's transactions in a log; "" if there is none.
func (b *Book) After(log []Transaction) string {
	for i := len(log) - 1; i >= 0; i-- {
		if held, ok := b.held[log[i].GTID]; ok {
			return held
		}
	}
	return ""
}
