// fetch: a static Go client. It gets each URL and prints the body, or what went wrong.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
)

func get(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		var number syscall.Errno
		errors.As(err, &number)
		return fmt.Sprintf("%v (errno %d)", err, int(number))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(body))
}

// At once, printed in order.
func main() {
	var wait sync.WaitGroup
	lines := make([]string, len(os.Args)-1)
	for i, url := range os.Args[1:] {
		wait.Add(1)
		go func(i int, url string) {
			defer wait.Done()
			lines[i] = get(url)
		}(i, url)
	}
	wait.Wait()
	for i, line := range lines {
		fmt.Println(os.Args[1+i], line)
	}
}
