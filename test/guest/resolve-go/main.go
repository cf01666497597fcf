// What Go's own resolver says of each name: a line for each, addresses sorted. Static, no libc.
package main

import (
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
)

func main() {
	for _, name := range os.Args[1:] {
		addrs, err := net.LookupHost(name)
		sort.Strings(addrs)
		fmt.Printf("%s: %s %v\n", name, strings.Join(addrs, " "), err)
	}
}
