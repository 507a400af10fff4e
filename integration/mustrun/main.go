// Command mustrun reads the output of `go test -json`, prints it as plain `go test` does, and fails
// when a test of a list did not pass: because it failed, skipped, or is not there any more.
//
//	go test -json ./... | mustrun LIST
//
// LIST is a file with a line "package test" for each; '#' begins a comment.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | mustrun LIST")
		os.Exit(2)
	}
	ok, err := run(os.Args[1], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mustrun:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run prints the report of in to out, and returns whether all passed that the list names.
func run(list string, in io.Reader, out io.Writer) (bool, error) {
	data, err := os.ReadFile(list)
	if err != nil {
		return false, err
	}
	must, err := parseList(string(data))
	if err != nil {
		return false, err
	}
	w := bufio.NewWriter(out)
	r := newReport(w)
	if err := r.read(in); err != nil {
		return false, err
	}
	ok := r.close(must)
	return ok, w.Flush()
}
