package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tidemark/internal/config"
	"tidemark/internal/fault"
	"tidemark/storage"
)

func (a *app) newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [CLUSTER]",
		Short: "Check that archiving, base backups and restores can work from here",
		Long: `Try every step that archiving takes: the storage (an object is put, read, listed and removed), the
state directory, the connection to each host, the account's privileges, the server's settings, and the
programs that base backups and restores need. Each finding that is not ok comes with its remedy.
Nothing is changed on the server.

The exit code is 0 when all is well, 3 when there are warnings only, and that of the first problem
otherwise.` + exits(fault.Warnings, fault.WrongKey, fault.Primary, fault.Storage, fault.Config),
		Example: `  tidemark check
  tidemark check --primary db1:3306 --user tidemark --archive file:///srv/archive`,
		Args: clusterArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runCheck(cmd.Context(), first(args))
			if r == nil {
				return err
			}
			return a.print(r, err)
		},
	}
}

type checkResult struct {
	Clusters []*checkCluster `json:"clusters"`
}

type checkCluster struct {
	Name     string          `json:"name"`
	Findings []*checkFinding `json:"findings"`
}

// checkFinding is the outcome of one check.
type checkFinding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warning, problem
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`

	kind fault.Kind // of a problem
}

const (
	resultOK      = "ok"
	resultWarning = "warning"
	resultProblem = "problem"
)

// checker collects the findings about one cluster.
type checker struct {
	a   *app
	cfg *config.Config
	cl  *config.Cluster
	out *checkCluster
	at  string // before what is found out about one of several hosts
}

func (c *checker) add(check, result, detail, remedy string, kind fault.Kind) {
	c.out.Findings = append(c.out.Findings, &checkFinding{check, result, c.at + detail, remedy, kind})
}

func (c *checker) ok(check, format string, args ...any) {
	c.add(check, resultOK, fmt.Sprintf(format, args...), "", fault.None)
}

func (c *checker) warn(check, remedy, format string, args ...any) {
	c.add(check, resultWarning, fmt.Sprintf(format, args...), remedy, fault.Warnings)
}

// fail records err as a problem; its hint is the remedy.
func (c *checker) fail(check string, err error) {
	c.add(check, resultProblem, err.Error(), fault.HintOf(err), fault.KindOf(err))
}

func (a *app) runCheck(ctx context.Context, name string) (*checkResult, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	clusters := cfg.Clusters
	if name != "" || len(clusters) == 0 {
		cl, err := cfg.Cluster(name)
		if err != nil {
			return nil, err
		}
		clusters = []*config.Cluster{cl}
	}
	var store storage.Store
	if err = cfg.NeedArchive(); err == nil {
		store, err = a.openStore(ctx, cfg)
	}
	r := new(checkResult)
	for _, cl := range clusters {
		c := &checker{a: a, cfg: cfg, cl: cl, out: &checkCluster{Name: cl.Name}}
		r.Clusters = append(r.Clusters, c.out)
		if err != nil {
			c.fail("storage", err)
		} else {
			c.storage(ctx, store)
		}
		c.stateDir()
		c.encryption()
		c.retention()
		c.primary(ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return r, r.err()
}

// err is the first problem's, or says that there are warnings.
func (r *checkResult) err() error {
	kind, problems, warnings := fault.None, 0, 0
	for _, c := range r.Clusters {
		for _, f := range c.Findings {
			switch f.Result {
			case resultProblem:
				if problems++; kind == fault.None {
					kind = f.kind
				}
			case resultWarning:
				warnings++
			}
		}
	}
	switch {
	case problems > 0:
		return fault.New(kind, "", "", errors.New(counted(problems, "problem")+", "+counted(warnings, "warning")))
	case warnings > 0:
		return fault.New(fault.Warnings, "", "", errors.New(counted(warnings, "warning")))
	}
	return nil
}

func (r *checkResult) text(t *text) {
	for _, c := range r.Clusters {
		t.title("cluster %s", c.Name)
		for _, f := range c.Findings {
			t.line("  %-8s %-13s %s", f.Result, f.Check, f.Detail)
			if f.Remedy != "" {
				t.line("  %-8s %-13s -> %s", "", "", f.Remedy)
			}
		}
	}
}
