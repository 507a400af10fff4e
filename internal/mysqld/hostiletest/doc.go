// Package hostiletest stands in for a server that a test must be able to make lie, stall and break: it speaks as
// much of the client protocol as our sessions and dumps need, and what it says is the test's choice.
//
// # Bytes
//
// Packets builds what a server sends, right or wrong; Send is a connection that brings such bytes in pieces
// of any size and then closes:
//
//	p := hostiletest.NewPackets(1) // the sequence number of the first
//	p.Event(ev)                    // in as many packets as it takes
//	p.Seq++                        // a packet is missing
//	p.Err(1236, "#HY000", "Could not find first log file name in binary log index file")
//	conn := hostiletest.Send(p.Bytes(), hostiletest.Pieces(7))
//
// A function of pieces may also wait before it returns: then they come slowly. Pair is both ends of a connection,
// for a test that writes the other side itself.
//
// # Sessions
//
// A Server answers a real client, over TCP: it lets anyone in, and answers each statement as its Answers say.
//
//	s := &hostiletest.Server{Answers: hostiletest.Answers{
//		"SELECT @@version":                       hostiletest.Row("10.11.6-MariaDB-log", "7"),
//		"SHOW BINARY LOGS":                       {Rows: [][]string{{"binlog.000001", "4711"}}},
//		"STOP SLAVE":                             {},
//		"SELECT @@gtid_binlog_state":             hostiletest.Refuse(1227, "Access denied"),
//	}}
//	conn, err := replica.Dial(ctx, replica.Options{Host: s.Listen(t), User: "u"})
//
// A statement is answered by the longest key that it begins with. One without an answer fails the test: a stand-in
// that guesses proves nothing. Asked for its binlog, the server sends Dump, and closes the connection.
//
// What comes before a session is between Listen and the test: Greeting is what a server says first, Packet frames
// anything.
package hostiletest
