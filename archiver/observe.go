package archiver

import "maps"

// Observe tells which variables the source's server has. Where they differ from those that were observed before, what is
// stored from now on is recorded as written under them: a new segment begins.
func (a *Archiver) Observe(variables map[string]string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil || maps.Equal(variables, a.variables) {
		return a.failed
	}
	a.variables, a.unsaid = maps.Clone(variables), true
	if a.open == nil || a.open.tally.pend.bytes > 0 { // in the midst of a transaction, behind which append seals
		return nil
	}
	return a.seal()
}
