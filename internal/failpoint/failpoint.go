// Package failpoint lets a test end the program just before or just after a step on which durability
// rests, as a crash would.
//
// It is compiled out: only a program built with the tag "failpoints" looks at the environment variable
//
//	TIDEMARK_FAILPOINT=before:spool-sync:7
//
// and kills itself, with SIGKILL, when it is about to do that step for the seventh time; "after" is when
// the step has been done, or has failed. In any other program Before and After are empty.
package failpoint

// Step is something that makes data durable, tells somebody that it is, or lets go of it.
type Step string

// The steps. Each is marked in one place.
const (
	SpoolWrite  Step = "spool-write"  // events are written to the open segment
	SpoolSync   Step = "spool-sync"   // the open segment is synced
	SpoolRemove Step = "spool-remove" // a file of an archived segment is removed from the spool
	SaveState   Step = "save-state"   // the spool's state, how far the archive reached, is replaced
	Ack         Step = "ack"          // the primary is told that transactions are safe

	FileWrite  Step = "file-write"  // a temporary file is written, of the spool or of a file:// archive
	FileSync   Step = "file-sync"   // and synced
	FileRename Step = "file-rename" // and gets its name, in the place of what has it
	FileLink   Step = "file-link"   // or only if nothing has it

	PutData     Step = "put-data"     // a segment's data or a part of a base backup is stored
	PutManifest Step = "put-manifest" // the object that commits it, or another that must be new, is put
	PutHead     Step = "put-head"     // how far the archive reaches is put
	Delete      Step = "delete"       // an object of the archive is deleted
)

// Steps returns all steps.
func Steps() []Step {
	return []Step{SpoolWrite, SpoolSync, SpoolRemove, SaveState, Ack, FileWrite, FileSync, FileRename, FileLink,
		PutData, PutManifest, PutHead, Delete}
}
