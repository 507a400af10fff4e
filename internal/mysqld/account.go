package mysqld

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"

	"tidemark/internal/durable"
)

// writeAccount makes up the private account and writes the file from which the server creates it
// when it starts. The file is the user's alone, and is removed as soon as the server answers.
func (s *Server) writeAccount() (path string, err error) {
	s.user = "tidemark_" + strings.ToLower(rand.Text()[:12])
	s.password = rand.Text() + "-9aZ" // as password checks want it
	account := fmt.Sprintf("'%s'@'localhost'", s.user)
	// The name is made up, so there is no such account.
	statements := fmt.Sprintf("CREATE USER %s IDENTIFIED BY '%s';\nGRANT ALL PRIVILEGES ON *.* TO %s WITH GRANT OPTION;\n",
		account, s.password, account)
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
