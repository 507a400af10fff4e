// Package ledger knows what a server must hold after any transaction of its log, so that a restore to any of them can be
// judged. It rests on nothing of the program that is tested: the writers note what they see, and the server's own tool
// says in which order their transactions stand in the log.
//
//	books := []*ledger.Book{ledger.Open(srv.Conn(), ledger.Series{Writer: 0, Flavor: srv.Binaries.Flavor}, holds)}
//	err := books[0].Commit("BEGIN", "INSERT …", "COMMIT") // by several writers at once, each in tables of its own
//	…
//	log := ledger.Read(t, srv)
//	restore to before log[i]; then for each book, the tables must hold book.After(log[:i]),
//	and the server must be at ledger.Position(log[:i])
//
// A Book notes after each commit what its writer's tables hold, by what the test calls holds: a checksum of them, say. Its
// writer may write nothing else there, and nobody else may.
//
// A Series names transactions before they are written: a writer that does not live to see its commit succeed
// still knows which GTID to look for.
package ledger
