// Package cli is the command line. Each command is a file: a New function that names it and its
// flags, its options as a struct, and a run function that returns a result, which is then rendered as
// text or as JSON.
//
// The result goes to standard output; the log, progress and errors go to standard error. Exit codes
// are those of internal/fault. What the JSON looks like is documented in docs/cli.md, and people
// script against it: names are added, never changed.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/storage"
)

// Program is what the program is made of and where it runs.
type Program struct {
	Version string
	Drivers []Driver
	Args    []string // without the program's name
	Environ []string // as os.Environ returns it
	Stdout  io.Writer
	Stderr  io.Writer
	Clock   clock.Clock
	Zone    *time.Location // of times that name none; nil: the machine's
}

// Driver opens the archives of one URL scheme.
type Driver struct {
	Scheme string
	Open   func(ctx context.Context, u *url.URL, o config.Storage) (storage.Store, error)
}

// Main runs the command that the arguments name and returns the exit code.
func Main(ctx context.Context, p Program) int {
	a := &app{Program: p, json: slices.Contains(p.Args, "--json")}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started && fault.KindOf(err) == fault.Other {
		err = usage(err.Error(), "tidemark") // cobra's own refusals
	}
	kind := fault.KindOf(err)
	if err != nil {
		a.printError(err, kind)
	}
	return kind.ExitCode()
}

// app is one run of the program.
type app struct {
	Program
	flags   config.Flags
	file    string
	json    bool
	quiet   bool
	log     logOptions
	started bool // the arguments were understood
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidemark",
		Short: "Continuous archiving and point-in-time recovery for MariaDB and MySQL",
		Long: `Tidemark archives the binary log of a MariaDB or MySQL server as it is written, takes base
backups, and restores the server to any moment in between.

The configuration is read from ` + config.DefaultFile + ` or the file that --config names.
Without a file, give --archive, and --primary and --user where the server is needed.`,
		Example: `  tidemark run                                   # archive, as the configuration says
  tidemark list                                  # what can be restored
  tidemark restore shop --target-dir /srv/restored --to-time 2026-11-21T09:41:00Z`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if cmd.Name() != "run" {
				beFrugal()
			}
			return checkGiven(cmd, args)
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("no command is given", "tidemark")
			}
			var known []string
			for _, c := range cmd.Commands() {
				known = append(known, c.Name())
			}
			return unknown(fmt.Sprintf("unknown command %q", args[0]), config.Nearest(args[0], known), "tidemark")
		},
	}
	root.SetFlagErrorFunc(flagError)
	f := root.PersistentFlags()
	f.StringVar(&a.file, "config", "", "configuration `file` (default "+config.DefaultFile+")")
	f.StringVar(&a.flags.Archive, "archive", "", "`URL` of the archive")
	f.StringVar(&a.flags.Primary, "primary", "", "`host:port` of the primary, or the path of its socket")
	f.StringVar(&a.flags.User, "user", "", "`account` on the primary")
	f.StringVar(&a.flags.Cluster, "cluster", "", "`name` of the cluster that is meant or that --primary describes (default \"default\")")
	f.BoolVar(&a.json, "json", false, "print the result, progress and errors as JSON")
	f.BoolVar(&a.quiet, "quiet", false, "show no progress")
	f.StringVar(&a.log.level, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	f.StringVar(&a.log.format, "log-format", "", "`format` of the log: text or json (default text, json with --json)")
	root.AddCommand(
		a.newRun(), a.newBackup(), a.newRestore(), a.newList(), a.newStatus(), a.newVerify(),
		a.newCheck(), a.newCat(), a.newCopy(), a.newCompact(), a.newExpire(), a.newKeep(), a.newKeygen(), a.newConfig(), a.newCompletion(), a.newVersion())
	return root
}

// usage is an error about arguments. command is what to ask for help.
func usage(text, command string) error {
	return fault.New(fault.Usage, "", "", errors.New(strings.TrimSpace(text))).WithHint("Run `" + command + " --help`.")
}

// unknown is usage with a suggestion, if there is one.
func unknown(text, nearest, command string) error {
	if nearest != "" {
		return fault.New(fault.Usage, "", "", errors.New(text)).WithHint(fmt.Sprintf("Did you mean %s?", nearest))
	}
	return usage(text, command)
}

var flagName = regexp.MustCompile(`--([a-z][a-z-]+)`)

// flagError gives cobra's errors about flags their kind, and a misspelt flag a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	if wrong, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		var known []string
		for _, m := range flagName.FindAllStringSubmatch(cmd.Flags().FlagUsages()+cmd.InheritedFlags().FlagUsages(), -1) {
			known = append(known, m[1])
		}
		nearest := config.Nearest(wrong, known)
		if nearest != "" {
			nearest = cmd.CommandPath() + " --" + nearest
		}
		return unknown("unknown flag --"+wrong, nearest, cmd.CommandPath())
	}
	return usage(err.Error(), cmd.CommandPath())
}

// clusterArg allows one argument, the name of a cluster.
func clusterArg(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage(fmt.Sprintf("%d arguments where the name of one cluster is expected", len(args)), cmd.CommandPath())
	}
	return nil
}

// noArgs allows none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Sprintf("unexpected argument %q", args[0]), cmd.CommandPath())
	}
	return nil
}

// first returns the argument, or "".
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// printError prints an error, once, with its hint on a line of its own.
func (a *app) printError(err error, kind fault.Kind) {
	hint := fault.HintOf(err)
	if a.json {
		a.encode(a.Stderr, struct {
			Error string `json:"error"`
			Kind  string `json:"kind"`
			Hint  string `json:"hint,omitempty"`
			Exit  int    `json:"exit"`
		}{err.Error(), kind.String(), hint, kind.ExitCode()})
		return
	}
	if kind == fault.Interrupted {
		fmt.Fprintln(a.Stderr, "tidemark: interrupted")
		return
	}
	fmt.Fprintf(a.Stderr, "tidemark: %s\n", err)
	if hint != "" {
		fmt.Fprintf(a.Stderr, "hint: %s\n", hint)
	}
}

// encode writes indented JSON with a newline.
func (a *app) encode(w io.Writer, v any) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}

// exits is the end of a command's help: the exit codes that it may return beside the usual ones.
func exits(kinds ...fault.Kind) string {
	var b strings.Builder
	b.WriteString("\n\nEXIT STATUS\n")
	for _, r := range fault.Table {
		switch r.Kind {
		case fault.None, fault.Other, fault.Usage, fault.Interrupted:
		default:
			if !slices.Contains(kinds, r.Kind) {
				continue
			}
		}
		fmt.Fprintf(&b, "  %3d  %s\n", r.Code, r.Text)
	}
	return strings.TrimRight(b.String(), "\n")
}
