#!/bin/bash
# Files as programs handle them: they say the same as in the target, and leave the same there.
#   ONLY=text: only the tests that have it in their name
. "$(dirname "$0")/../lib.sh"
target_root

provide "$guests/files-go" files-go
provide "$guests/Tour.class" Tour.class
for file in files.py files.js; do
	provide "$here/guest/$file" $file
done
mkdir $T/tmp $root$T/tmp
# shellcheck disable=SC2016
printf '#!/bin/sh\n"$@" | sort\n' >sorted && chmod +x sorted && provide sorted sorted

reads() { [[ $1 != *${ONLY:-}* ]] || same_program "$1" "" "${@:2}"; }
app_reads() { [[ $1 != *${ONLY:-}* ]] || same_program "$1" "--fs-read-only ^/app/" "${@:2}"; }
writes() { [[ "$1, --fs-mode write" != *${ONLY:-}* ]] || same_program "$1, --fs-mode write" "--fs-mode write" "${@:2}"; }
# Sources and the like are this machine's unless they are asked for.
app_writes() {
	[[ "$1, --fs-mode write" != *${ONLY:-}* ]] ||
		same_program "$1, --fs-mode write" "--fs-mode write --fs-read-only ^/app/ --fs-read-write ^/srv/work/" "${@:2}"
}

# ---- reading -------------------------------------------------------------------------------------------------

trees=(/data/dir /etc/app /app/tree /srv/work/dir /run/secrets/kubernetes.io)
reads "Go" $T/bin/files-go read "${trees[@]}"
reads "python" $python $T/bin/files.py read "${trees[@]}"
reads "node" node $T/bin/files.js read "${trees[@]}"
reads "Java" java -cp $T/bin Tour read "${trees[@]}"
reads "Java, mapped" java -cp $T/bin Tour map /data/big /data/lines
app_reads "python imports" $python $T/bin/files.py import
app_reads "node requires" node /app/main.js
app_reads "node imports" node --input-type=module -e 'import {readFileSync} from "fs"; import hello from "/app/node_modules/hello/lib/hello.js"; console.log(hello(), readFileSync("/app/config.ini", "utf8"))'
app_reads "all of an application's files" $T/bin/files-go read /app

reads "ls of what lies in the root" sh -c 'ls -a /data /srv/work | head -n 5; cat /data/../data/small; ls -d /data/dir/../../etc/passwd; cd / && ls -d data/../etc/passwd'
same_program "a directory by what is in it" "--fs-read-only ^/etc/app/" sh -c 'cd /etc/app/ && pwd && ls /etc/app'

reads "mkdir of what is there" sh -c 'mkdir -p /data/dir/sub /srv/work && echo there; mkdir /data/dir 2>&1; ln -s x /data/small 2>&1; cd /data && mkdir -p dir/sub && echo there'

# shellcheck disable=SC2016  # the guest's shell expands it
{
	reads "bash" bash -c 'cd /app && . ./greeting.env && echo "$greeting" && pwd -P && cat <config.ini
		for f in tree/*/*/*; do [ -s "$f" ] && [ -r "$f" ] && [ ! -x "$f" ] && echo "$f"; done
		read -r first </data/lines && echo "$first"; mapfile -t all </data/lines; echo "${#all[@]}"
		shopt -s globstar dotglob; echo /etc/app/** ./tree/**/file1*; cd - && cd /data/to-dir && pwd && pwd -P
		[ /data/small -ef /data/relative ] && [ /data/small -nt /nothing ] && [ ! /data/small -nt /data/lines ]; echo $?
		cat </data/nothing; echo $?'
	reads "dash" sh -c 'cd /data/dir/sub; cat ../file - <deeper; ls; cd ..; for f in *; do echo "$f"; done; test -L back && echo link'
	reads "command substitution and here-documents" bash -c 'x=$(</data/small); cat - /data/small <<<"$x"; wc -c /data/small </data/lines'
	reads "xargs and pipes" sh -c 'find /app/tree -type f -print0 | sort -z | xargs -0 -n 3 cat | sha256sum'
	reads "awk, sed, sort, head, join" sh -c 'awk "END {print NR, FILENAME}" /data/lines; sed -n 5,7p /data/lines; sort -R /data/lines | wc -l; tail -n 2 /data/lines; tail -c 20 /data/big | od -c; diff /data/small /data/relative && cmp /data/small /data/hard1'
	reads "cp -a to this machine" sh -c 'cp -a /app/tree /data/dir /data/names '$T'/tmp && cd '$T'/tmp && find . -exec stat -c "%n %A %u %g %Y" {} + | grep -v "^\. " | sort; find . -type f -exec sha256sum {} + | sort; rm -rf '$T'/tmp/*'
}
app_reads "find" $T/bin/sorted find /app /data/dir /etc/app /srv/work ! -type d -printf '%p %y %m %U %G %s %T@ %l\n'
app_reads "find -type d" $T/bin/sorted find /app /data/dir -type d -printf '%p %m %U %G %T@\n'
reads "find -newer, -size, -empty, -samefile" $T/bin/sorted find /data -maxdepth 1 \( -size +60M -o -empty -o -newer /data/dir -o -samefile /data/small \)
reads "find -L" $T/bin/sorted find -L /app/current /app/tree -name 'file1*'
reads "ls -lR" sh -c 'ls -lRn --time-style=+%s.%N /app/tree /data/names | grep -v "^total\|^d"'
reads "ls of what has all types" sh -c 'ls -AF --quoting-style=escape /data /data/names; ls -d /data/nothing'
reads "ls of 10,000" sh -c 'ls -U /data/many | wc -l; ls -l /data/many | grep -v ^total | cksum'
reads "stat" stat -c '%n %F %a %u %g %s %y' /data/small /data/relative /data/null /data/fifo /data/sparse /data/set-id
reads "stat -f" stat -f -c '%n %T %S %l' /data /data/small /full
app_reads "tar" sh -c 'tar -C / -cf - --sort=name app data/dir data/names etc/app data/small data/fifo | sha256sum'
reads "tar of two names of one file" sh -c 'tar -C /data -cf - hard1 hard2 | sha256sum'
reads "sha256sum" sha256sum /data/big /data/lines /data/empty /data/version /app/config.ini
app_reads "grep -r" sh -c 'grep -rc line /app /data/dir /data/lines | sort; grep -rl "file 7 " /app/tree | sort; grep -F last /data/sparse'
reads "du" du -b /data/small /data/lines
reads "namei, realpath, readlink" sh -c 'namei -m /data/chain; realpath /data/chain /data/dir/back /data/self/self/step7; readlink -e /data/loop-a; readlink /data/up'
reads "file times by date -r, test -nt" sh -c 'date -u -r /data/small +%s.%N; date -u -r /data/relative +%s.%N'
reads "a remote program" /data/echo "of the target"
reads "a remote script" /data/script "of the target"
reads "env runs a remote program" env /data/script x
# shellcheck disable=SC2016
reads "a shell finds a remote program in PATH" sh -c 'PATH=/data:$PATH; command -v script; script a b; cd /data; ./no-script'
reads "ldd, readelf" sh -c 'readelf -h /data/echo | grep Type'
reads "git log" git -c safe.directory=/app-source -C /app-source log --stat --format='%H %s'
reads "git status" git --no-optional-locks -c safe.directory=/app-source -C /app-source status --short --branch
reads "git diff, show, grep" sh -c 'cd /app-source && git() { command git -c safe.directory=/app-source "$@"; }; git diff; git show v2:README; git grep -n changed; git fsck; git cat-file --batch-all-objects --batch-check | cksum'
reads "git clone" sh -c 'git -c safe.directory=/app-source -c safe.directory=/app-source/.git clone -q /app-source '$T'/tmp/clone && git -C '$T'/tmp/clone log --format=%H; rm -rf '$T'/tmp/clone'
reads "sqlite3, read-only" sqlite3 -readonly /srv/work/database.db 'select count(*), sum(id), max(name) from t'
reads "sqlite3, immutable" sqlite3 'file:/srv/work/database.db?immutable=1' 'select name from t where id % 100 = 7; pragma integrity_check'

cat >$T/execs.py <<'END'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
here, empty_path, nofollow = -100, 0x1000, 0x100
vector = (ctypes.c_char_p * 3)(b"echo", b"executed", None)
def execveat(dirfd, path, flags):
    child = os.fork()
    if not child:
        libc.execveat(dirfd, path, vector, None, flags)
        os._exit(ctypes.get_errno())
    print(path, flags, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os.chdir("/data")
echo = os.open("echo", os.O_PATH)
for dirfd in here, echo:
    for flags in 0, empty_path, empty_path | nofollow:
        execveat(dirfd, b"", flags)
for flags in 0, nofollow:
    for path in b"echo", b"relative", b"script", b"/data/echo":
        execveat(here, path, flags)
try:
    os.execv("", ["x"])
except OSError as e:
    print(e)
END
provide execs.py execs.py
reads "execveat" $python $T/bin/execs.py

# ---- writing -------------------------------------------------------------------------------------------------

writes "Go" $T/bin/files-go write /srv/work
app_writes "python" $python $T/bin/files.py write /srv/work
app_writes "node" node $T/bin/files.js write /srv/work
cat >$T/full.py <<'END'
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError as e:
    print(e)
for flags in os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREAT:
    for path in "/srv/work/log", "/srv/work/never":
        try:
            os.open(path, flags)
        except OSError as e:
            print(e)
END
provide full.py full.py
writes "no number is left for a descriptor" $python $T/bin/full.py
writes "Java" java -cp $T/bin Tour write /srv/work

cat >$T/cut.py <<'END'
import os
for path in (f"/srv/work/cut{i}" for i in range(10)):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"a" * 100)
    os.truncate(path, 0)
    os.write(fd, b"b" * 150)
END
provide cut.py cut.py
writes "truncate(2) of a file that is added to" $python $T/bin/cut.py

# shellcheck disable=SC2016
{
	writes "redirections" bash -c 'cd /srv/work; echo one >new; echo two >>new; echo three >>log; : >file; cat <new >copy
		exec 7<>other; read -r -u 7 line; echo "at $line" >&7; exec 7>&-; cat other; set -C; echo x >new; echo $?; echo y >|empty; cat empty
		for i in 1 2 3 4 5; do echo $i; done | tee many | wc -l; cat many nothing >both 2>&1; mkdir -p a/b/c && cd a/b && pwd >where && cat where'
	writes "sed -i, sort -o, truncate, dd, touch, install" sh -c 'cd /srv/work; sed -i s/0123/abcd/ file; sort -ro log log; truncate -s 5000 empty
		dd if=/data/lines of=blocks bs=1000 count=10 seek=20 conv=notrunc status=none; touch -d @1000000.5 log; touch -r log file; touch void/new
		install -m 750 -d made; install -m 4711 other made/installed; rm -f void/new; cat log blocks | cksum'
	writes "cp, mv, ln, rm" sh -c 'cd /srv/work; cp -a /data/dir copied; cp -p /data/small .; cp --sparse=always /data/echo e; mv file moved; mv copied/sub sub2
		mv link void; ln other third; ln -s /data/small far; ln -sfn dir dirlink; rm -r full; rm -f nothing; rmdir sub2/subsub 2>&1; cp -r dir again; mv -T again dir/dir; ls -R'
	app_writes "tar x" sh -c 'cd /srv/work; tar -C / -cf - app data/dir data/small data/hard1 data/hard2 data/fifo | tar -xpf - && tar -C /srv/work -cf - --sort=name --mtime=@0 app data | sha256sum'
	writes "unpack, pack, compress" sh -c 'cd /srv/work; gzip -k blocks; gzip -dc blocks.gz | cmp - blocks; gzip -n <other >o.gz; gunzip o.gz; rm blocks.gz; split -b 10000 blocks part-; cat part-* | cmp - blocks; rm part-*'
	writes "chmod -R, chown -R" sh -c 'cd /srv/work; chmod -R u=rwX,go= dir; chmod 1777 void; chown -R 1000:1000 full; chown -h 5:6 link; chgrp 7 file; chmod -c u+s log'
	writes "git" sh -c 'export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z; cd /srv/work && git init -q -b main r && cd r &&
		git config user.name Guest && git config user.email guest@test.invalid && cp ../blocks ../other . && git add . && git commit -qm one && echo more >>other &&
		git commit -qam two && git checkout -qb side HEAD~ && echo s >side && git add side && git commit -qm three && git merge -q -m four main && git log --format=%H\ %s &&
		git status --short && git -c pack.threads=1 gc -q && git fsck; rm -rf .git/index .git/gc.pid'
	writes "sqlite3" sqlite3 /srv/work/database.db 'update t set name = upper(name) where id < 100; insert into t values (5000, "new"); delete from t where id = 7; select count(*) from t; pragma integrity_check; vacuum'
	writes "sqlite3, two programs" sh -c 'cd /srv/work; sqlite3 database.db "create table u (x)"; (sqlite3 -cmd ".timeout 10000" database.db "insert into u values (1)" & sqlite3 -cmd ".timeout 10000" database.db "insert into u values (1)"; wait); sqlite3 database.db "select sum(x) from u"; rm database.db'
	writes "sqlite3 with a write-ahead log" sqlite3 /srv/work/database.db 'pragma journal_mode=wal; update t set name = "w" where id = 3; select name from t where id = 3; pragma journal_mode=delete'
	writes "a new program that runs" sh -c 'cd /srv/work; printf "#!/bin/sh\necho I run: \$0 \$1\n" >run; chmod +x run; ./run 1; /srv/work/run 2; cp /data/echo prog; ./prog hello; rm prog'
	writes "many files" bash -c 'cd /srv/work; mkdir many; for i in {1..500}; do echo $i >many/$i; done; ls many | wc -l; cat many/* | cksum; rm many/*[02468]; ls many | cksum'
	writes "several programs at once" bash -c 'cd /srv/work; for i in {1..8}; do (for j in {1..50}; do echo "$i $j" >>of-$i; done; mv of-$i done-$i) & done; wait; cat done-* | cksum'
	writes "make" sh -c 'cd /srv/work; printf "all: out\nout: file other\n\tcat file other >out\n" >Makefile; make -s; touch -d 2001-01-01 out; make; make; rm Makefile'
}

# Who was root goes to the copies as what it has become.
chmod 711 $T && mkdir -m 711 $T/copies
same_program "another user in a directory of the target" "--fs-dir $T/copies" setpriv --reuid 65534 --regid 65534 --clear-groups \
	sh -c 'cd /data && pwd && ./script and more && cat small && ls -d dir && cd /srv/work/closed; echo $?'
is "another user in a directory of the target: no copy stays" "$(ls -A $T/copies)" ""
chmod 700 $T

# The agent reads it, so that the target's kernel notes the time: to be read is no change.
work_anew
touch -a -d 2001-01-01 $root/srv/work/file
# shellcheck disable=SC2046
is "a file that was read has not changed" "$($(beneath_root) $python -c '
import os
def change_time():
    os.stat("/srv/work/file")
    f = os.open("/srv/work/file", os.O_RDONLY)
    os.read(f, 10)
    return os.fstat(f).st_ctime_ns
first = change_time()
print([change_time() - first for i in range(3)])')" "[0, 0, 0]"

# What a program is run with is put into memory of its process, and while vfork(2) lasts that is its parent's.
cat >spawns.py <<'END'
import os, threading
script = "/data/script"
def size():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmSize"))
def spawn():
    os.waitpid(os.posix_spawn(script, [script], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]), 0)
together = [threading.Thread(target=spawn) for _ in range(4)]
[t.start() for t in together]
[t.join() for t in together]
before = size()
for _ in range(100):
    spawn()
print(size() - before, "KiB" if size() - before < 512 else "are too many")
END
# shellcheck disable=SC2046
like "memory of a process that spawns remote programs" "$($(beneath_root) $python $T/spawns.py 2>&1)" "*KiB"

# A local file on a way that begins in the target's: it is the guest's kernel that opens it, and waits.
fifo=/tmp/mirrord-trace.$RANDOM
mkfifo $fifo
# shellcheck disable=SC2046,SC2016
is "a local fifo by way of the target's directory" "$(timeout "$PATIENCE" $(beneath_root) bash -c "
	cd /data && { cat <..$fifo & cat small && echo through >..$fifo && wait; }" 2>&1)" "hello from the target
through"
# shellcheck disable=SC2046
is "a signal ends the wait for a local fifo" "$(timeout "$PATIENCE" $(beneath_root) $python -c "
import os, signal
def handler(*_): raise TimeoutError('in time')
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
os.open('$fifo', os.O_RDONLY)" 2>&1 | tail -n 1)" "TimeoutError: in time"
rm $fifo
# shellcheck disable=SC2046,SC2016
is "/proc/self by way of the target's directory" "$($(beneath_root) bash -c '
	cd /data && cat ../proc/self/comm && readlink ../proc/self/exe && stat -Lc %i ../proc/self/ns/mnt')" "cat
$(readlink -f "$(command -v readlink)")
$(stat -Lc %i /proc/self/ns/mnt)"

# So are local files changed on such a way, or by way of --fs-map: as whoever the guest has become.
here_changes() { # DIRECTORY PLACE COMMAND...
	mkdir $T/place
	timeout "$PATIENCE" "${@:3}" $python $T/bin/here.py "$1" "$2" 2>&1 | sed "s,$2,PLACE,g"
	rm -r $T/place
}
install "$here/guest/here.py" $T/bin/here.py
wanted=$(here_changes /usr ..$T/place)
# shellcheck disable=SC2046
is "local files by way of the target's directory" "$(here_changes /data ..$T/place $(beneath_root --fs-mode write))" "$wanted"
# shellcheck disable=SC2046
is "local files by --fs-map" "$(here_changes / /mapped $(beneath_root --fs-map "^/mapped=$T/place"))" "$wanted"

nothing_kept "after all of them"
nothing_left "after all of them"
finish
