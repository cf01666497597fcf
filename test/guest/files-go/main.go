// files-go: what a Go program sees of files, and what it does to them, by package os and beside it.
//
//	files-go read DIRECTORY...
//	files-go write DIRECTORY
//	files-go watch DIRECTORY FILE    says what FILE holds, again whenever the directory's names change
package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func describe(path string, d fs.DirEntry) {
	info := must(d.Info())
	fmt.Print(path, " ", info.Mode())
	switch {
	case info.Mode().IsRegular():
		fmt.Printf(" %d %x", info.Size(), sha256.Sum256(must(os.ReadFile(path))))
		if time.Since(info.ModTime()) > 24*time.Hour {
			fmt.Print(" ", info.ModTime().UnixNano())
		}
	case info.Mode()&fs.ModeSymlink != 0:
		fmt.Print(" to ", must(os.Readlink(path)), " ", must(filepath.EvalSymlinks(path)))
	}
	fmt.Println()
}

func read(top string) {
	check(filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		check(err)
		describe(path, d)
		return nil
	}))
	check(os.Chdir(top))
	fmt.Println(must(os.Getwd()), must(filepath.Glob("*")))
	entries := must(fs.ReadDir(os.DirFS(top), "."))
	fmt.Println(len(entries), "entries")
	_, err := os.ReadFile("nothing")
	fmt.Println(err, errors.Is(err, fs.ErrNotExist))
	root := must(os.OpenRoot(top))
	_, err = root.Open("../etc/passwd")
	fmt.Println("beyond the root:", err != nil)
}

func mapped(f *os.File) {
	size := int(must(f.Stat()).Size())
	m := must(syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED))
	fmt.Printf("mapped %x\n", sha256.Sum256(m))
	check(syscall.Munmap(m))
}

func write(top string) {
	dir := filepath.Join(top, "go/a/b")
	check(os.MkdirAll(dir, 0o750))
	file := filepath.Join(dir, "file")
	check(os.WriteFile(file, []byte("written by Go\n"), 0o640))
	f := must(os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0))
	w := bufio.NewWriterSize(f, 512)
	for i := range 1000 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	check(w.Flush())
	check(f.Sync())
	check(f.Close())
	check(os.Rename(file, filepath.Join(dir, "renamed")))
	check(os.Symlink("renamed", filepath.Join(dir, "link")))
	check(os.Link(filepath.Join(dir, "renamed"), filepath.Join(dir, "second")))
	check(os.Chmod(filepath.Join(dir, "second"), 0o600))
	temporary := must(os.CreateTemp(top, "temporary-*"))
	must(temporary.WriteString("scratch"))
	must(temporary.Seek(3, io.SeekStart))
	must(temporary.WriteString("ATCH"))
	check(temporary.Truncate(6))
	check(temporary.Close())
	check(os.Rename(temporary.Name(), filepath.Join(dir, "from-temporary")))
	old := time.Unix(1_000_000_000, 5)
	check(os.Chtimes(filepath.Join(dir, "from-temporary"), old, old))
	check(os.CopyFS(filepath.Join(top, "copy"), os.DirFS(dir)))
	check(os.RemoveAll(filepath.Join(top, "full")))
	f = must(os.Open(filepath.Join(dir, "link")))
	mapped(f)
	read(filepath.Join(top, "go"))
}

func watch(dir, file string) {
	fd := must(syscall.InotifyInit1(syscall.IN_CLOEXEC))
	must(syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE|syscall.IN_MOVED_TO|syscall.IN_DELETE))
	buffer := make([]byte, 4096)
	for last := ""; ; must(syscall.Read(fd, buffer)) {
		content, err := os.ReadFile(file)
		if err == nil && string(content) != last {
			last = string(content)
			fmt.Printf("%s is %q\n", file, last)
		}
		if last == "last" {
			return
		}
	}
}

func main() {
	switch os.Args[1] {
	case "read":
		for _, dir := range os.Args[2:] {
			read(dir)
		}
	case "write":
		write(os.Args[2])
	case "watch":
		watch(os.Args[2], os.Args[3])
	}
}
