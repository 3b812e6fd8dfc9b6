// What stands beside Kubernetes in the test cluster and is too small to install: `beside dns|git|targets [flags]`.
package main

import (
	"fmt"
	"os"
)

func main() {
	parts := map[string]func([]string) error{"dns": serveDNS, "git": serveGit, "targets": serveTargets}
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: beside dns|git|targets [flags]")
		os.Exit(2)
	}
	if err := parts[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
