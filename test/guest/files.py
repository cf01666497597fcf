"""files.py read DIRECTORY… | write DIRECTORY | import: files as Python programs handle them."""

import fcntl
import hashlib
import importlib.util
import json
import mmap
import os
import pathlib
import shutil
import sqlite3
import stat
import sys
import tempfile
import zipfile


def describe(path):
    st = os.lstat(path)
    words = [path, stat.filemode(st.st_mode)]
    if stat.S_ISREG(st.st_mode):
        words += [str(st.st_size), str(st.st_mtime_ns), hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()]
    if stat.S_ISLNK(st.st_mode):
        words += ["to", os.readlink(path), os.path.realpath(path)]
    print(*words)


def read(top):
    for path, dirs, files in os.walk(top):
        dirs.sort()
        for name in sorted(dirs + files):
            describe(os.path.join(path, name))
    os.chdir(top)
    print(os.getcwd(), sorted(str(p) for p in pathlib.Path().rglob("*")))
    with os.scandir(".") as entries:
        print(sorted((e.name, e.is_dir(), e.is_symlink(), e.stat().st_mode) for e in entries))
    for path, dirs, files, fd in os.fwalk("."):
        dirs.sort()
        print(path, sorted(files), [os.stat(f, dir_fd=fd).st_size for f in sorted(files)])
    print(shutil.disk_usage(".").total > 0, os.path.samefile(".", top), os.access(".", os.R_OK | os.X_OK))
    try:
        open("nothing")
    except FileNotFoundError as e:
        print(e)


def imports():
    sys.dont_write_bytecode = True
    sys.path.insert(0, "/app/lib")
    import greetings  # of the target

    print(greetings.__file__, greetings.greet("guest"))
    print(importlib.util.find_spec("greetings.sub").origin)
    print(json.loads(importlib.resources.files(greetings).joinpath("data.json").read_text()))


def rows(path):
    with sqlite3.connect(path) as db:
        db.execute("create table t (a)")
        db.executemany("insert into t values (?)", [(i,) for i in range(500)])
    with sqlite3.connect(path) as db:
        db.execute("update t set a = a * 2")
        print(db.execute("select sum(a) from t").fetchone())
    db.close()


def write(top):
    os.chdir(top)
    shutil.copytree("/app", "app", symlinks=True)
    shutil.move("app/tree/0", "moved")
    shutil.rmtree("app/tree/1")
    with tempfile.TemporaryDirectory(dir=".") as d:
        pathlib.Path(d, "file").write_text("gone")
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as f:
        f.write("atomic\n")
        f.flush()
        os.fsync(f.fileno())
    os.replace(f.name, "file")
    with open("file", "r+") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        f.seek(0, os.SEEK_END)
        f.write("more\n")
    with open("blocks", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[70000:70006] = b"mapped"
        m.flush()
        m[170000:170006] = b"stored"
    with zipfile.ZipFile("archive.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for name in sorted(os.listdir("moved")):
            z.writestr(zipfile.ZipInfo(name), name * 100)
    print(zipfile.ZipFile("archive.zip").testzip(), sorted(zipfile.ZipFile("archive.zip").namelist()))
    with open("log", "a", buffering=1) as f:
        for i in range(300):
            print("line", i, file=f)
    os.truncate("log", 1000)
    os.utime("log", ns=(10**18, 10**18 + 7))
    os.chmod("twin", 0o640)
    rows("database")
    os.sync()
    print(open("log").read()[-20:], os.stat("log").st_mtime_ns)
    print(sorted(os.listdir(".")))


if __name__ == "__main__":
    if sys.argv[1] == "read":
        for directory in sys.argv[2:]:
            read(directory)
    elif sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        import importlib.resources

        imports()
