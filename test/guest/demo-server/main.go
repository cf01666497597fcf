// A web server as its author would write it: net/http, static, knowing nothing of mirrord-trace.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	addr := ":8080"
	if len(os.Args) > 1 {
		addr = os.Args[1]
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
		fmt.Fprintf(w, "your own program, the guest; you are %s\n", r.RemoteAddr)
	})
	log.SetFlags(0)
	log.Fatal(http.ListenAndServe(addr, nil))
}
