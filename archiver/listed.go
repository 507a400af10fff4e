package archiver

import (
	"fmt"

	"tidemark/internal/binlog"
	"tidemark/internal/fault"
)

// endsFile reports whether an event is one with which a server ends a file: one that is killed does not.
func endsFile(t binlog.Type) bool { return t == binlog.TypeRotate || t == binlog.TypeStop }

// checkListed checks what a file of MySQL lists as having come before it. Of a file that its server has ended nothing
// can be missing: bytes follow on bytes, so what is new in the list is only learned late. Where nothing ended the file
// before, as the server crashed, what is new there is what that has lost.
func (a *Archiver) checkListed(ev *binlog.Event, body []byte) error {
	if !a.cutOff || ev.Type != binlog.TypePreviousGTIDs || a.mstate.Set() == nil {
		return nil
	}
	listed, err := binlog.ListedState(ev, body)
	if err != nil {
		return err
	}
	if lost := listed.Without(a.mstate); !lost.Empty() {
		return fault.New(fault.Integrity, "read the binlog", fmt.Sprintf("%s:%d", ev.File, ev.Offset),
			fmt.Errorf("%w: it lists %s, which the file before it does not hold, and nothing ends that file", ErrDiverged, lost)).
			WithHint("The primary has lost a part of its binlog in a crash. If it stays so, its history becomes a timeline of its own (fork_grace).")
	}
	a.cutOff = false
	return nil
}
