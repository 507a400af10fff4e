package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"tidemark/internal/catalog"
	"tidemark/internal/fault"
)

// DamagedBase is the error of a restore, of kind Integrity, whose base backup cannot be used.
type DamagedBase struct {
	ID  string
	Err error
}

// Error says what is wrong with it.
func (d *DamagedBase) Error() string { return d.Err.Error() }

// Unwrap returns what is wrong with it.
func (d *DamagedBase) Unwrap() error { return d.Err }

// RunOrFallBack carries out a plan that MakePlan made of po. Where its base backup turns out to be damaged,
// it goes on with a plan from another one, if there is any that serves the target, and says so in log and
// report; else the error is that of the damage.
func RunOrFallBack(ctx context.Context, c *catalog.Catalog, plan *Plan, po PlanOptions, o Options) (*Report, error) {
	for {
		report, err := Run(ctx, c, plan, o)
		var d *DamagedBase
		if !errors.As(err, &d) || ctx.Err() != nil {
			return report, err
		}
		po = po.without(d)
		other, perr := MakePlan(ctx, c, po)
		if perr != nil {
			return report, err
		}
		if o.Log != nil {
			o.Log.Warn("the base backup is damaged: the restore begins again from another one", zap.Error(d), zap.String("base", other.Base.ID))
		}
		plan = other
	}
}

// without returns the options of a plan that does not use a base backup.
func (o PlanOptions) without(d *DamagedBase) PlanOptions {
	o.Damaged = append(slices.Clip(o.Damaged), d)
	if o.Base == d.ID {
		o.Base = ""
	}
	return o
}

// passOver leaves out base backups that are damaged.
func (h *history) passOver(p *Plan, damaged []*DamagedBase) {
	for _, d := range damaged {
		h.bases = slices.DeleteFunc(h.bases, func(b *catalog.Base) bool { return b.ID == d.ID })
		p.Warnings = append(p.Warnings, fmt.Sprintf("base backup %s is passed over: %v", d.ID, d.Err))
	}
}

// baseDamage returns an error about an object of the plan's base backup as such.
func (p *Plan) baseDamage(err error) *DamagedBase {
	var f *fault.Error
	if !fault.Is(err, fault.Integrity) || !errors.As(err, &f) || !strings.HasPrefix(f.Subject, "base/"+p.base.ID+"/") {
		return nil
	}
	return &DamagedBase{ID: p.base.ID, Err: err}
}
