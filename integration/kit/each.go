package kit

import (
	"os"
	"testing"

	"tidemark/integration/kit/servertest"
)

// Each runs a scenario beside others on every version of a flavor ("": of any) that the tier has, as
// servertest.Each does; need is what it needs of the machine on each.
func Each(t *testing.T, flavor string, need Need, scenario func(*testing.T, servertest.Binaries), programs ...string) {
	t.Helper()
	t.Parallel()
	servertest.Each(t, flavor, func(t *testing.T, b servertest.Binaries) {
		Parallel(t, need)
		scenario(t, b)
	}, programs...)
}

// One lets a test run beside others on one MariaDB, whose programs it returns. It skips, or fails where
// all must run, when one is not there.
func One(t *testing.T, need Need, programs ...string) servertest.Binaries {
	t.Helper()
	Parallel(t, need)
	return servertest.Require(t, programs...)
}

// OnSystem runs a scenario beside others on the machine's own server, as a subtest that is named after its
// version, or on those that TIDEMARK_TEST_SERVERS names. It is for what servers have little part in.
func OnSystem(t *testing.T, need Need, scenario func(*testing.T, servertest.Binaries), programs ...string) {
	t.Helper()
	if os.Getenv("TIDEMARK_TEST_SERVERS") != "" {
		Each(t, "", need, scenario, programs...)
		return
	}
	t.Parallel()
	t.Run(servertest.Versions()[0].Name, func(t *testing.T) { scenario(t, One(t, need, programs...)) })
}
