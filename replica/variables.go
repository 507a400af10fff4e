package replica

import (
	"github.com/go-mysql-org/go-mysql/client"

	"tidemark/internal/variables"
)

// ReadVariables asks a server for the variables on which the result of applying its log depends.
func ReadVariables(conn *client.Conn) (map[string]string, error) {
	return variables.Ask(texts(conn))
}

// ReadTimeZone asks a server for the time zone of its machine, as variables.Offsets has it.
func ReadTimeZone(conn *client.Conn) (string, error) { return variables.AskZone(texts(conn)) }

func texts(conn *client.Conn) variables.Query {
	return func(sql string) ([][]string, error) {
		r, err := conn.Execute(sql)
		if err != nil {
			return nil, queryError("ask for the server's variables", err, 0)
		}
		if !r.HasResultset() {
			return nil, nil
		}
		defer r.Close()
		rows := make([][]string, r.RowNumber())
		for i := range rows {
			for j := range r.ColumnNumber() {
				text, err := r.GetString(i, j)
				if err != nil {
					return nil, queryError("ask for the server's variables", err, 0)
				}
				rows[i] = append(rows[i], text)
			}
		}
		return rows, nil
	}
}
