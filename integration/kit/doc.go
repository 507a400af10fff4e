// Package kit is what tests with real servers are written with. A scenario is ten lines: a primary with
// this load, archived with this configuration, this happens, restored to that, compared.
//
//	func TestDroppedTable(t *testing.T) {
//		kit.Each(t, "", kit.Servers(2), func(t *testing.T, b servertest.Binaries) {
//			w := kit.Archived(t, kit.Setup{Binaries: b, SQL: []string{"CREATE DATABASE d"}})
//			load := w.NewLoad(1, workload.Options{Domains: 2})
//			load.Begin(4)
//			load.Wrote(200)
//			load.End()
//			truth := w.Truth("before the accident")
//			w.Server.Exec("DROP DATABASE wl_0")
//			w.End()
//			w.RestoreEquals(truth, "--to-gtid", truth.GTIDPos)
//		})
//	}
//
// # What runs beside what
//
// Each and One let a test run beside others, in the same package and in others, as soon as the machine has
// what the test's Need says. Neither changes the environment of the process: a Tool carries its own, with
// the PATH of the servers that it works with. Ports are free ones, directories temporary ones.
//
// A test that only needs *a* primary, and neither stops it nor reads its whole log, shares one with others:
// Setup.Shared. Its tables are in World.DB.
//
// # What is waited for
//
// A test waits for what it needs: World.Await for a status, World.Settle for the archive to hold all that
// the primary has, Load.Wrote for so many transactions, Until for anything else. It does not sleep until
// it is probably so. Intervals (the age of segments, heartbeats, graces) are short by configuration: Brisk. Schedules,
// whose least step is a minute, come when the test says so: World.StartAhead and World.JumpClock.
//
// # What a restore leaves alone
//
// Each restore that a World runs, by Restore, Run and their like, is surrounded by two pictures of what lies in the
// world's directory, beside the target, and in the data of a primary that does not run: a difference fails the test.
//
// # The rooms
//
//	servertest   real servers: start, kill, query; the versions and tiers
//	workload     writes all that a binlog can hold, from a seed, and knows what a copy must hold
//	ledger       what a server must hold after each transaction of its log, by its writers and its own tool
//	forge        archives of a server's log without an archiver, cut as a test wants them
//	kit          World: a primary and the program beside it. Cluster: servers that replicate. Proxy:
//	             a network that fails. Tool: the program. Need and slots: what runs beside what
//
// A server that lies, stalls or breaks, for tests that need no real one, is internal/mysqld/hostiletest: unit tests
// may import it too.
//
// Tests are of a tier: unit tests need no server (go test -short), scenarios run on one MariaDB and one
// MySQL with TIDEMARK_TEST_TIER=scenario, and without it on all versions and storages that are installed, which is
// the tier matrix. The code of a scenario is the same in each. A campaign is a counted test with a large TIDEMARK_N.
package kit
