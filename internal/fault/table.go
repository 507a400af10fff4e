package fault

// Kind is the closed list of failures the program tells apart. New kinds are appended.
type Kind int

const (
	None Kind = iota
	Other
	Usage
	Warnings
	NoArchive
	Locked
	WrongKey
	Unreachable
	Integrity
	Primary
	Storage
	Config
	TargetNotEmpty
	Interrupted
)

// Row is one line of the exit code table.
type Row struct {
	Kind Kind
	Name string
	Code int
	Text string // for the documentation
}

// Table maps kinds to exit codes. The documentation's table is made from it.
var Table = []Row{
	{None, "ok", 0, "done"},
	{Other, "error", 1, "any other error"},
	{Usage, "usage", 2, "wrong flags or arguments"},
	{Warnings, "warnings", 3, "done, with warnings that need a look"},
	{NoArchive, "no-archive", 10, "no archive, or no such cluster in it"},
	{Locked, "locked", 11, "another process archives this cluster or uses this directory"},
	{WrongKey, "wrong-key", 12, "the identity cannot decrypt the archive"},
	{Unreachable, "unreachable-target", 13, "a gap, or a target the archive does not cover"},
	{Integrity, "integrity", 14, "damaged, missing, swapped or stale data"},
	{Primary, "primary-unreachable", 15, "the primary cannot be reached or refuses us"},
	{Storage, "storage-unreachable", 16, "the storage cannot be reached or refuses us"},
	{Config, "config-invalid", 17, "the configuration is invalid"},
	{TargetNotEmpty, "target-not-empty", 18, "the target is not empty and not ours"},
	{Interrupted, "interrupted", 130, "interrupted by a signal"},
}

// String returns the kind's name in the table.
func (k Kind) String() string { return row(k).Name }

// ExitCode returns the process exit code of the kind.
func (k Kind) ExitCode() int { return row(k).Code }

func row(k Kind) Row {
	for _, r := range Table {
		if r.Kind == k {
			return r
		}
	}
	return Table[1]
}
