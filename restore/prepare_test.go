package restore

import (
	"os/exec"
	"testing"
)

// TestOfTheMachine tells failures of a tool that another base backup would meet too from those of the files it was given.
func TestOfTheMachine(t *testing.T) {
	for _, c := range []struct {
		script, log string
		want        bool
	}{
		{"exit 1", "[ERROR] InnoDB: Invalid log header", false},
		{"exit 1", "Aria log apply FAILED", false},
		{"kill -ABRT $$", "InnoDB: Assertion failure in file log0recv.cc", false},
		{"kill -SEGV $$", "", false},
		{"kill -KILL $$", "", true}, // as the kernel does when memory is short
		{"kill -TERM $$", "", true},
		{"exit 1", "InnoDB: Error number 28 means 'No space left on device'", true},
		{"exit 1", "Cannot allocate memory for the buffer pool", true},
		{"exit 1", "Loading plugins\nError: file_key_management is not there", true},
		{"exit 1", "Encrypted tablespace d/t: key is not available", true},
		{"kill -ABRT $$", "terminate called after throwing an instance of 'std::bad_alloc'", true},
		{"exit 1", "Loading encryption plugin from encrypted.cnf\nAria log apply FAILED", false},
		{"exit 1", "Loading encryption plugin from encrypted.cnf\n[ERROR] InnoDB: Invalid log header", false},
	} {
		if err := exec.Command("sh", "-c", c.script).Run(); err == nil || ofTheMachine(err, c.log) != c.want {
			t.Errorf("%s, %q: %v, want %v", c.script, c.log, err, c.want)
		}
	}
	if err := exec.Command("/no/such/tool").Run(); !ofTheMachine(err, "") {
		t.Errorf("no tool: %v", err)
	}
	if ofTheMachine(errNotCompleted, "") {
		t.Error("a tool that did not complete")
	}
}
