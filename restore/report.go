package restore

import (
	"fmt"
	"slices"

	"tidemark/internal/gtid"
	"tidemark/internal/mysqld"
)

// Report says what a restore has done. As JSON it is a result for people and scripts.
type Report struct {
	Cluster   string   `json:"cluster"`
	Timeline  uint32   `json:"timeline"`
	Target    string   `json:"target"`
	TargetDir string   `json:"target_dir"`
	Base      string   `json:"base"`
	Done      bool     `json:"done"`
	Restarted bool     `json:"restarted"` // what an interrupted restore had left was removed first
	Why       string   `json:"restarted_because,omitempty"`
	Resumed   *Resumed `json:"resumed,omitempty"` // what an interrupted restore had left was used
	had       uint64   // transactions that the server had when it was started last
	Paused    bool     `json:"paused,omitempty"` // it follows, and was told to stop: the same command goes on

	GTID            string       `json:"gtid"` // the position of the restored server
	LastApplied     *Transaction `json:"last_applied,omitempty"`
	FirstNotApplied *Transaction `json:"first_not_applied,omitempty"`
	Transactions    uint64       `json:"transactions"` // applied, also before an interruption
	LogBytes        int64        `json:"log_bytes"`    // of them
	Batches         int          `json:"batches"`
	Threads         int          `json:"threads"`

	Server *Server `json:"server,omitempty"` // that was left running
	Moved  *Moved  `json:"moved,omitempty"`  // into a service

	Phases  []PhaseTime `json:"phases"`
	Seconds float64     `json:"seconds"`
	Rate    float64     `json:"transactions_per_second"` // while they were applied

	// EventsDisabled are scheduled events that applying the log has left disabled on the restored
	// server, as on any replica, whether or not they were enabled on the original one.
	EventsDisabled []string  `json:"events_disabled,omitempty"`
	EmptyTables    []string  `json:"empty_tables,omitempty"` // that lack rows: those of MEMORY, and what came of them
	PreparedXA     []string  `json:"prepared_xa,omitempty"`  // transactions left prepared at the stop
	Suspects       []Suspect `json:"suspects,omitempty"`
	Notes          []string  `json:"notes,omitempty"` // what is good to know, and asks for nothing
	Warnings       []string  `json:"warnings,omitempty"`
	NextSteps      []string  `json:"next_steps,omitempty"`
	Guides         []Guide   `json:"guides,omitempty"` // what the restored server can be made
}

// PhaseTime is how long a phase took.
type PhaseTime struct {
	Phase   Phase   `json:"phase"`
	Seconds float64 `json:"seconds"`
}

// Resumed says where a restore went on that had been interrupted.
type Resumed struct {
	GTID         string `json:"gtid"`         // the position of the server
	Transactions uint64 `json:"transactions"` // of the log that it had applied, or its base backup holds
}

// HasWarnings reports whether the report holds something that needs a look.
func (r *Report) HasWarnings() bool { return len(r.Warnings) > 0 }

func newReport(p *Plan) *Report {
	return &Report{Cluster: p.Cluster, Timeline: p.Timeline, Target: p.Target, Base: p.Base.ID, GTID: p.start.String(),
		FirstNotApplied: p.FirstNotApplied, Suspects: p.Suspects, Notes: p.Notes, Warnings: append([]string(nil), p.Warnings...)}
}

// goOn takes over what a further plan says of its stop.
func (r *Report) goOn(p *Plan) {
	r.Timeline, r.FirstNotApplied, r.Suspects, r.Notes = p.Timeline, p.FirstNotApplied, p.Suspects, p.Notes
	for _, w := range p.Warnings {
		r.warn("%s", w)
	}
}

// pause fills in what is known when a restore that follows was told to stop.
func (r *Report) pause(p *Plan, at *gtid.State, fragile string) {
	position := at.String()
	r.Paused, r.GTID = true, position
	if at.Covers(p.position) {
		r.LastApplied = p.LastApplied
	} else {
		r.FirstNotApplied = nil
	}
	if fragile != "" {
		r.warn("transactions since %s need temporary tables that are gone with the server: the next start begins again from the base backup", fragile)
	}
	r.NextSteps = []string{
		"To go on following: the same command.",
		"To open it: the same command without --follow, to the end of the archive or a target that is not behind it; " +
			"to open it where it stands: with --to-gtid " + orNone(position) + " in place of --follow.",
	}
}

// warn adds a warning, once.
func (r *Report) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Warnings, text) {
		r.Warnings = append(r.Warnings, text)
	}
}

// rate says how fast the log was applied, in the phase that has just ended.
func (r *Report) rate() {
	if last := r.Phases[len(r.Phases)-1]; last.Seconds > 0 {
		r.Rate = float64(r.Transactions-r.had) / last.Seconds
	}
}

// continues says how the restored server's own history goes on.
func continues(p *Plan, position string) string {
	if p.base.Flavor == gtid.MySQL {
		return fmt.Sprintf("Its gtid_executed is %s; it has a new server_uuid, under which new transactions follow.", position)
	}
	return fmt.Sprintf("Its gtid_slave_pos is set to %s: with the binlog on, new transactions follow it.", position)
}

// complete fills in what is known when all is done.
func (r *Report) complete(p *Plan, user mysqld.User, started bool) {
	r.Done = true
	r.LastApplied, r.GTID = p.LastApplied, p.position.String()
	if !started {
		r.NextSteps = append(r.NextSteps, fmt.Sprintf("Start a server of %s on %s (its files belong to user %s) with the options of the old one, but another server_id than %d: "+
			"what it writes is a new history.", p.ServerVersion, r.TargetDir, user.Name, p.base.ServerID))
	}
	r.NextSteps = append(r.NextSteps, continues(p, orNone(r.GTID)))
	r.Guides = guides(p)
	if len(r.EventsDisabled) > 0 {
		r.NextSteps = append(r.NextSteps, "Look at the scheduled events named above, and enable those that are to run: ALTER EVENT … ENABLE.")
	}
	if len(r.EmptyTables) > 0 {
		r.NextSteps = append(r.NextSteps, "Fill the tables that lack rows, named above, before they are used.")
	}
	if len(r.PreparedXA) > 0 {
		r.NextSteps = append(r.NextSteps, "Decide the prepared XA transactions named above: XA COMMIT … or XA ROLLBACK …; they hold locks until then.")
	}
}
