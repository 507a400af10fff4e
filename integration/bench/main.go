// Command bench measures tidemark against the servers' own tools, side by side in one run, and
// prints ratios: absolute times say little on shared machines.
//
//	go run ./integration/bench stream  [-size 1GiB] [-rounds 3] [-encrypt]
//	go run ./integration/bench restore [-transactions 200000]
//	go run ./integration/bench base    [-size 2048]
//	go run ./integration/bench soak    [-time 10m]
//	go run ./integration/bench commit  [-server mysql-9.7] [-rounds 3] [-time 5s]
//	go run ./integration/bench catalog [-segments 100000]
package main

import (
	"fmt"
	"os"
)

func main() {
	verbs := map[string]func([]string) error{"stream": benchStream, "archive": archiveChild, "restore": benchRestore, "base": benchBase, "commit": benchCommit, "catalog": benchCatalog, "soak": benchSoak}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench stream | restore | base | commit | catalog | soak")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
