package kit

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"

	"tidemark/integration/kit/servertest"
)

// ReadSegment reads a segment that is not encrypted as the format promises that it can be read: with zstd and
// the server's own tool alone. It returns what that tool prints.
func ReadSegment(b servertest.Binaries, path string) ([]byte, error) {
	const pipeline = `set -o pipefail; zstd -dc "$1" | "$2" --verify-binlog-checksum -`
	out, err := exec.Command("bash", "-c", pipeline, "bash", path, b.Binlog).CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("End of log file")) {
		err = errors.New("the log has no end")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", path, err, out[max(0, len(out)-500):])
	}
	return out, err
}
