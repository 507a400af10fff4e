package mysqld

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"

	"tidemark/internal/durable"
)

// NewAccount makes up a name for Options.Account.
func NewAccount() string { return "tidemark_" + strings.ToLower(rand.Text()[:12]) }

// writeAccount makes up the private account's password and writes the file from which the server creates
// the account when it starts: anew where a server that was killed has left it. The file is the user's
// alone, and is removed as soon as the server answers.
func (s *Server) writeAccount() (path string, err error) {
	if s.user = s.o.Account; s.user == "" {
		s.user = NewAccount()
	}
	s.password = rand.Text() + "-9aZ" // as password checks want it
	account := fmt.Sprintf("'%s'@'localhost'", s.user)
	statements := fmt.Sprintf("DROP USER IF EXISTS %[1]s;\nCREATE USER %[1]s IDENTIFIED BY '%[2]s';\nGRANT ALL PRIVILEGES ON *.* TO %[1]s WITH GRANT OPTION;\n",
		account, s.password)
	path = filepath.Join(s.dir, "init.sql")
	if err := durable.WriteFileAtomic(durable.OS{}, path, []byte(statements)); err != nil {
		return path, err
	}
	return path, s.o.User.Own(path)
}

// dropAccount removes the private account, unless what was done on the server has removed it already.
func (s *Server) dropAccount(ctx context.Context) error {
	conn, err := s.Connect(ctx)
	if denied(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(fmt.Sprintf("DROP USER '%s'@'localhost'", s.user))
}
