package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"tidemark/internal/durable"
	"tidemark/internal/fault"
	"tidemark/internal/mysqld"
)

// Service is a stopped service of systemd whose data directory the result takes the place of.
type Service struct {
	Name string
	// Run runs a program and returns what it prints; the machine's if nil.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)

	datadir string
}

func runProgram(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}

var (
	unitProperty = regexp.MustCompile(`(?m)^(LoadState|ActiveState|ExecStart)=(.*)$`)
	unitProgram  = regexp.MustCompile(`argv\[\]=([^;]*?) ;`)
	datadirLine  = regexp.MustCompile(`(?m)^datadir\s+(\S.*?)\s*$`)
)

func (s *Service) refuse(err error, hint string) error {
	return fault.New(fault.Other, "restore into service", s.Name, err).WithHint(hint)
}

// check asks systemd for the service's state, and its server for the data directory, before anything is
// written; and again before that is replaced.
func (s *Service) check(ctx context.Context, target string) error {
	if s.Run == nil {
		s.Run = runProgram
	}
	out, err := s.Run(ctx, "systemctl", "show", s.Name, "--property=LoadState,ActiveState,ExecStart")
	if err != nil {
		return s.refuse(err, "Restore without --into-service, and move the directory yourself.")
	}
	unit := make(map[string]string)
	for _, m := range unitProperty.FindAllSubmatch(out, -1) {
		unit[string(m[1])] = string(m[2])
	}
	switch active := unit["ActiveState"]; {
	case unit["LoadState"] != "loaded":
		return s.refuse(errors.New("there is no such service"), "Name one that `systemctl list-unit-files` lists.")
	case active != "inactive" && active != "failed":
		return s.refuse(fmt.Errorf("it is %s", active), "Stop it: systemctl stop "+s.Name)
	}
	if err := s.findDatadir(ctx, unit["ExecStart"]); err != nil {
		return err
	}
	parent := filepath.Dir(s.datadir)
	for _, dir := range []string{s.datadir, existing(target)} {
		same, err := sameDevice(parent, dir)
		if err != nil {
			return err
		}
		if !same {
			return s.refuse(fmt.Errorf("%s is on another file system than %s, and a directory is not renamed across them", dir, parent),
				"Give a --target-dir beside "+s.datadir+", or restore without --into-service and copy the result.")
		}
	}
	return nil
}

// findDatadir asks the server that the service starts where its data is, with the options that the service
// gives it.
func (s *Service) findDatadir(ctx context.Context, execStart string) error {
	m := unitProgram.FindStringSubmatch(execStart)
	if m == nil {
		return s.refuse(fmt.Errorf("what it starts cannot be told from %q", execStart), "Restore without --into-service, and move the directory yourself.")
	}
	words := strings.Fields(m[1])
	var first, args []string
	for _, w := range words[1:] {
		switch {
		case strings.HasPrefix(w, "--defaults-"):
			first = append(first, w) // nothing may come before it
		case strings.HasPrefix(w, "--datadir="):
			args = append(args, w)
		}
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=mysql") // else it refuses
	}
	out, err := s.Run(ctx, words[0], append(append(first, args...), "--verbose", "--help")...)
	if err != nil {
		return s.refuse(err, "Restore without --into-service, and move the directory yourself.")
	}
	d := datadirLine.FindSubmatch(out)
	if d == nil {
		return s.refuse(fmt.Errorf("%s does not say where its data is", words[0]), "Restore without --into-service, and move the directory yourself.")
	}
	dir, err := filepath.EvalSymlinks(string(d[1])) // a link stays, and what it leads to is replaced
	if err != nil {
		return s.refuse(err, "Start the service once, or make its data directory, so that it can be replaced.")
	}
	s.datadir = dir
	return nil
}

// existing is the nearest directory above a path that exists, or the path itself.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// Moved says where the result is, and what was there before.
type Moved struct {
	Service string `json:"service"`
	Datadir string `json:"datadir"`
	Kept    string `json:"kept"`  // the old data directory
	Start   string `json:"start"` // a command
}

// moveIn puts the result in the place of the service's data directory, which is kept under a dated name.
// What fails after the first of the two steps is undone.
func (r *run) moveIn(ctx context.Context) error {
	s := r.Service
	if err := s.check(ctx, r.work.target); err != nil {
		return err
	}
	var old syscall.Stat_t
	if err := syscall.Stat(s.datadir, &old); err != nil {
		return err
	}
	owner := mysqld.User{UID: int(old.Uid), GID: int(old.Gid)}
	err := filepath.WalkDir(r.work.target, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return owner.Own(path)
	})
	if err == nil {
		err = os.Chmod(r.work.target, fs.FileMode(old.Mode).Perm())
	}
	if err != nil {
		return err
	}
	kept := s.datadir + "." + r.clock.Now().UTC().Format("20060102T150405Z")
	if err := r.FS.Rename(s.datadir, kept); err != nil {
		return s.refuse(err, "The data is restored in "+r.work.target+".")
	}
	if err := r.FS.Rename(r.work.target, s.datadir); err != nil {
		return s.refuse(errors.Join(err, r.FS.Rename(kept, s.datadir)), "The data is restored in "+r.work.target+"; look whether "+s.datadir+" is there.")
	}
	for _, dir := range []string{filepath.Dir(s.datadir), filepath.Dir(r.work.target)} {
		if err := durable.Settle(r.FS, dir); err != nil {
			return err
		}
	}
	r.report.Moved = &Moved{Service: s.Name, Datadir: s.datadir, Kept: kept, Start: "systemctl start " + s.Name}
	r.report.NextSteps = append([]string{fmt.Sprintf("Give the service another server_id than %d, and see that its binlog does not go on with files of before. Then start it: systemctl start %s",
		r.plan.base.ServerID, s.Name), "Remove " + kept + " when it is no longer needed."}, r.report.NextSteps[min(1, len(r.report.NextSteps)):]...)
	return nil
}
