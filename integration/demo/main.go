// Command demo tells the whole story on this machine in about a minute: a throwaway primary under
// write load is archived, a base backup is taken meanwhile, a table is dropped by accident, and the
// database is restored to just before that and compared with what it held. Everything lives in a
// temporary directory and is gone afterwards. It exits 0 only when every table is equal.
//
//	go run ./integration/demo [-seconds 10] [-keep]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tidemark/integration/kit"
	"tidemark/integration/kit/servertest"
)

func main() {
	seconds := flag.Int("seconds", 10, "how long writers write")
	keep := flag.Bool("keep", false, "keep the temporary directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "tidemark-demo-")
	if err == nil {
		s := &story{ctx: ctx, dir: dir, began: time.Now(), load: time.Duration(*seconds) * time.Second}
		err = s.tell()
		s.cleanUp()
		if *keep {
			fmt.Println("\nkept:", dir)
		} else if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo failed:", err)
		os.Exit(1)
	}
}

// story is the state of the demo. Its methods are its chapters.
type story struct {
	ctx   context.Context
	dir   string
	began time.Time
	load  time.Duration

	primary  *servertest.Process
	restored *servertest.Process
	daemon   *kit.Daemon
	tool     kit.Tool
	config   string
	shop     *shop
	truth    truth
	accident string // GTID of the DROP TABLE
}

func (s *story) tell() error {
	for _, chapter := range []struct {
		title string
		tell  func() error
	}{
		{"build tidemark", s.build},
		{"start a throwaway primary", s.startPrimary},
		{"archive it, with writers writing", s.startArchiving},
		{"a base backup is taken under load", s.awaitBackup},
		{"writers go on, then the truth is recorded", s.recordTruth},
		{"the accident: DROP TABLE shop.orders", s.drop},
		{"what would a restore to just before it do?", s.plan},
		{"restore to just before it", s.restore},
		{"start the restored server and compare every table", s.compare},
	} {
		fmt.Printf("\n%5.1fs  == %s\n", time.Since(s.began).Seconds(), chapter.title)
		if err := chapter.tell(); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
	}
	fmt.Printf("\n%5.1fs  == done: nothing was lost but the accident\n", time.Since(s.began).Seconds())
	return nil
}

// say prints a line of the story.
func (s *story) say(format string, args ...any) {
	fmt.Printf("        "+format+"\n", args...)
}

func (s *story) build() error {
	var err error
	s.tool.Path, err = kit.Build()
	return err
}

func (s *story) startPrimary() error {
	bins, err := servertest.Find("")
	if err != nil {
		return err
	}
	if err := bins.Has("mariadb-backup", "mbstream"); err != nil {
		return err
	}
	s.primary, err = servertest.Launch(servertest.Options{ServerID: 1, Binaries: bins, Extra: []string{"--max-binlog-size=32M"}})
	if err != nil {
		return err
	}
	if err := s.primary.CreateUser(servertest.User, password); err != nil {
		return err
	}
	version, err := s.primary.Value("SELECT @@version")
	if err != nil {
		return err
	}
	s.say("MariaDB %s on %s, its data in %s", version, s.primary.Addr, s.primary.Datadir)
	s.shop = newShop(s.primary)
	return s.shop.open()
}

func (s *story) cleanUp() {
	if s.shop != nil {
		s.shop.close()
	}
	if s.daemon != nil {
		_ = s.daemon.Stop()
	}
	for _, p := range []*servertest.Process{s.primary, s.restored} {
		if p != nil {
			_ = p.Close()
		}
	}
}
