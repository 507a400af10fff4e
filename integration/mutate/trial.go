package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What becomes of a mutation.
const (
	killed   = "killed"
	survived = "SURVIVED"
	broken   = "BROKEN" // it does not fit the code, or the tests cannot be run
	fits     = "fits"
)

// verdict is what has become of a mutation, and why.
type verdict struct{ outcome, why string }

// trial is a checkout in which mutations are tried.
type trial struct {
	root  string
	dir   string // temporary
	tiers []tier
}

// newTrial finds the checkout that this is run in.
func newTrial(ctx context.Context, dir string, tiers []tier) (*trial, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the checkout: %w", err)
	}
	return &trial{root: strings.TrimSpace(string(out)), dir: dir, tiers: tiers}, nil
}

// baseline runs the tests that need no server without a mutation.
func (t *trial) baseline(ctx context.Context) error {
	args, err := unit(t.root, mutation{})
	if err != nil {
		return err
	}
	f, err := test(ctx, t.root, os.Environ(), args)
	if err == nil && f != nil {
		err = fmt.Errorf("%s fails without any mutation", f)
	}
	return err
}

// try makes a mutation, and runs the tests until one fails.
func (t *trial) try(ctx context.Context, m mutation, compileOnly bool) verdict {
	env, err := t.mutate(m)
	if err != nil {
		return verdict{broken, err.Error()}
	}
	cmd := exec.CommandContext(ctx, "go", "build", m.pkg())
	cmd.Dir, cmd.Env = t.root, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return verdict{broken, fmt.Sprintf("it does not compile: %v\n%s", err, out)}
	}
	if compileOnly {
		return verdict{fits, ""}
	}
	for _, tier := range t.tiers {
		args, err := tier.command(t.root, m)
		if err != nil {
			return verdict{broken, err.Error()}
		}
		if len(args) == 0 {
			continue
		}
		f, err := test(ctx, t.root, env, args)
		switch {
		case err != nil:
			return verdict{broken, err.Error()}
		case f != nil && f.build:
			return verdict{broken, f.pkg + " does not compile with it, or vet finds it"}
		case f != nil:
			return verdict{killed, f.String()}
		}
	}
	return verdict{survived, m.breaks}
}

// mutate writes the mutation's file as it would be, and returns the environment in which the go command takes that
// for the checkout's: also when a test calls it to build the program.
func (t *trial) mutate(m mutation) ([]string, error) {
	path := filepath.Join(t.root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	changed, err := m.apply(string(text))
	if err != nil {
		return nil, err
	}
	instead, overlay := filepath.Join(t.dir, m.name+".go"), filepath.Join(t.dir, m.name+".json")
	data, err := json.Marshal(map[string]map[string]string{"Replace": {path: instead}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(instead, []byte(changed), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		return nil, err
	}
	return append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay)), nil
}
