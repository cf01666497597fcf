#!/bin/bash
# The files of name resolution: a guest reads the target's, whoever opens them and however.
. "$(dirname "$0")/../lib.sh"
target_start
target_etc

cat >$etc/resolv.conf <<-END
	nameserver 10.96.0.10
	search shop.svc.cluster.local svc.cluster.local
	options ndots:5
END
cat >$etc/hosts <<-END
	127.0.0.1 localhost
	10.77.0.21 db.target db # the target's
	fd77::21 db6.target
END
echo "multi on" >$etc/host.conf
echo "nameserver 192.0.2.1" >$own/resolv.conf
echo "192.0.2.2 here.local db.target" >$own/hosts
printf 'passwd: files\nhosts: mymachines resolve files\n# the end\n' >$own/nsswitch.conf

for file in resolv.conf hosts host.conf; do
	is "cat $file" "$(under -- cat /etc/$file)" "$(in_target cat /etc/$file)"
done
is "cat nsswitch.conf" "$(under -- cat /etc/nsswitch.conf)" $'passwd: files\n# the end\nhosts: files dns'

: >$own/resolv.conf # asked at loopback: nobody answers, at once
: >$etc/resolv.conf
alike() { # NAME PROGRAM...
	is "$1" "$(under -- "${@:2}" 2>&1)" "$(in_target "${@:2}" 2>&1)"
}
# musl would wait for an answer to a name that no file has.
alike "in hosts, musl" "$guests/musl/resolve" db.target db6.target db
for name in db.target db6.target db here.local; do
	alike "$name, glibc" "$guests/glibc/resolve" $name
	alike "$name, getent" getent ahosts $name
	alike "$name, python" $python -c "import socket; print(socket.gethostbyname_ex('$name'))"
done

# All ways to open them; what is written is this machine's.
cat >opens.py <<'END'
import ctypes, errno, os, resource, signal, struct, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
hosts = b"/etc/hosts"

def openat2(flags, resolve):
    how = struct.pack("=QQQ", flags, 0, resolve)
    return libc.syscall(437, -100, hosts, how, len(how))

def first(fd):
    if fd < 0:
        return errno.errorcode[ctypes.get_errno()]
    text = os.read(fd, 9).decode()
    os.close(fd)
    return text

root = os.open("/", os.O_RDONLY)
print("open:", first(libc.syscall(2, hosts, 0)) if os.uname().machine == "x86_64" else "127.0.0.1")
print("openat:", first(libc.openat(-100, hosts, 0)))
print("openat of a directory:", first(libc.openat(root, hosts, os.O_CLOEXEC)))
print("openat2:", first(openat2(os.O_CLOEXEC, 0)))
print("openat2 with a restriction:", first(openat2(0, 8))) # RESOLVE_BENEATH
print("another path:", first(os.open("/etc/../etc/hosts", os.O_RDONLY)))
print("O_RDWR:", first(os.open(hosts, os.O_RDWR)))
print("O_NOFOLLOW:", first(os.open(hosts, os.O_RDONLY | os.O_NOFOLLOW)))
for flags in 0, os.O_CLOEXEC:
    fd = libc.open(hosts, flags)
    print("FD_CLOEXEC:", os.get_inheritable(fd) == (not flags))
a, b = os.open(hosts, os.O_RDONLY), os.open(hosts, os.O_RDONLY)
os.read(a, 5)
print("offsets are apart:", os.read(b, 5) == b"127.0")
try:
    os.ftruncate(a, 0)
except OSError as e:
    print("ftruncate:", e.strerror)

# Threads that open while signals come.
wrong = []
def storm():
    for i in range(300):
        with open(hosts) as f:
            if not f.read().startswith("127.0.0.1"):
                wrong.append(i)
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
threads = [threading.Thread(target=storm) for _ in range(3)]
[t.start() for t in threads]
storm()
[t.join() for t in threads]
signal.setitimer(signal.ITIMER_REAL, 0)
print("under signals:", wrong)

resource.setrlimit(resource.RLIMIT_NOFILE, (b + 1, b + 1))
print("no descriptor left:", first(libc.open(hosts, 0)))
END
is "ways to open" "$(under -- $python opens.py 2>&1)" "open: 127.0.0.1
openat: 127.0.0.1
openat of a directory: 127.0.0.1
openat2: 127.0.0.1
openat2 with a restriction: EXDEV
another path: 127.0.0.1
O_RDWR: 192.0.2.2
O_NOFOLLOW: 127.0.0.1
FD_CLOEXEC: True
FD_CLOEXEC: True
offsets are apart: True
ftruncate: Invalid argument
under signals: []
no descriptor left: EMFILE"

# By whatever path, and with or without opening them.
cat >paths.py <<'END'
import os, stat

def first(fd):
    text = os.read(fd, 9).decode()
    os.close(fd)
    return text

def both(path, dir=None):
    """What an open gives, and whether stat(2), fstat(2) and lstat(2) are of one file."""
    fd = os.open(path, os.O_RDONLY, dir_fd=dir)
    seen = os.stat(path, dir_fd=dir), os.fstat(fd), os.stat(path, dir_fd=dir, follow_symlinks=False)
    same = len({(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in seen}) == 1
    print(path, first(fd), seen[0].st_size, same)

both("/etc/hosts")
both("/etc/../etc/hosts")
both("//etc/./hosts")
root, etc = os.open("/", os.O_RDONLY), os.open("/etc", os.O_PATH)
both("etc/hosts", root)
both("hosts", etc)
os.chdir("/etc")
both("hosts")
both("./hosts")
both("nsswitch.conf")
both("/etc/nsswitch.conf")
print(os.access("/etc/host.conf", os.R_OK), os.access("nsswitch.conf", os.R_OK))
for path in "/etc/hosts/", "/etc/nsswitch.conf/":
    try:
        os.open(path, os.O_RDONLY)
    except OSError as e:
        print(path, e.strerror)
END
size=$(stat -c %s $etc/hosts)
is "paths" "$(under -- $python paths.py 2>&1)" "/etc/hosts 127.0.0.1 $size True
/etc/../etc/hosts 127.0.0.1 $size True
//etc/./hosts 127.0.0.1 $size True
etc/hosts 127.0.0.1 $size True
hosts 127.0.0.1 $size True
hosts 127.0.0.1 $size True
./hosts 127.0.0.1 $size True
nsswitch.conf passwd: f 41 True
/etc/nsswitch.conf passwd: f 41 True
True True
/etc/hosts/ Not a directory
/etc/nsswitch.conf/ Not a directory"
for path in /etc/hosts /etc/../etc/hosts; do
	is "stat $path" "$(under -- stat -c %s-%a-%U-%Y $path)" "$(in_target stat -c %s-%a-%U-%Y $path)"
	is "cat $path" "$(under -- cat $path)" "$(in_target cat $path)"
done
is "cat ./hosts in /etc" "$(under -- sh -c 'cd /etc && cat ./hosts')" "$(cat $etc/hosts)"

# A link of the target's is followed there, and shown.
mkdir $etc/elsewhere && mv $etc/resolv.conf $etc/elsewhere && ln -s elsewhere/resolv.conf $etc/resolv.conf
is "a link" "$(under -- sh -c 'readlink /etc/resolv.conf; stat -L -c %s /etc/resolv.conf; stat -c %F /etc/resolv.conf
	cat /etc/resolv.conf | wc -l')" "elsewhere/resolv.conf
0
symbolic link
0"
rm -r $etc/elsewhere $etc/resolv.conf
is "no resolv.conf" "$(under -- sh -c 'cat /etc/resolv.conf || stat /etc/resolv.conf' 2>&1)" \
	"cat: /etc/resolv.conf: No such file or directory
stat: cannot statx '/etc/resolv.conf': No such file or directory"
: >$etc/resolv.conf

# Changes of the target's files are seen; a file that goes away is gone.
cat >follow.sh <<'END'
while read -r line; do
	cat "$line" 2>&1
	echo .
done
END
mkfifo asks
under -- sh follow.sh <asks >out 2>err &
tracer=$!
exec 3>asks
ask() {
	: >out
	echo "$1" >&3
	await says out '^\.$'
	cat out
}
shows() { ask "$1" | grep -qxF "$2"; }
ok "the first version" shows /etc/host.conf "multi on"
echo "multi off" >$etc/host.conf
ok "an edit in place" await shows /etc/host.conf "multi off"
echo "order hosts" >$etc/new && mv $etc/new $etc/host.conf
ok "another file in its place" await shows /etc/host.conf "order hosts"
rm $etc/host.conf
ok "no file" await shows /etc/host.conf "cat: /etc/host.conf: No such file or directory"
ln -s hosts $etc/host.conf
ok "a link" await shows /etc/host.conf "127.0.0.1 localhost"
exec 3>&-
ends "it ends" $tracer 0

# Without a link there is what was read before.
cat >linkless.sh <<'END'
while read -r line; do
	stat -L -c %s "$line" 2>&1
	cat "$line" 2>&1
	echo .
done
END
echo "192.0.2.3 linkless" >$etc/hosts
"$mirrord_agent" --target "pid:$target" --listen unix:$T/agent.sock >agent.out 2>&1 &
agent=$!
await says agent.out "agent ready"
"$mirrord_trace" --engine "$ENGINE" --agent unix:$T/agent.sock --incoming off --on-link-loss fail -- \
	sh linkless.sh <asks >out 2>err &
tracer=$!
exec 3>asks
is "with a link" "$(ask /etc/hosts)" $'19\n192.0.2.3 linkless\n.'
kill -KILL $agent
status_of $agent
await says err "link to the agent is lost"
is "without a link: what was read" "$(ask /etc/hosts)" $'19\n192.0.2.3 linkless\n.'
is "without a link: what was not" "$(ask /etc/host.conf)" "stat: cannot statx '/etc/host.conf': Input/output error
cat: /etc/host.conf: Input/output error
."
is "without a link: what is made here" "$(ask /etc/nsswitch.conf)" $'41\npasswd: files\n# the end\nhosts: files dns\n.'
exec 3>&-
ends "it ends without a link" $tracer 0

# What an option takes away.
is "--no-dns: this machine's" "$(under --no-dns -- cat /etc/hosts)" "192.0.2.2 here.local db.target"
is "--no-outgoing: this machine's" "$(under --no-outgoing -- cat /etc/hosts)" "192.0.2.2 here.local db.target"
is "targetless: this machine's" "$("$mirrord_trace" --engine "$ENGINE" -t targetless -- cat /etc/hosts)" \
	"192.0.2.2 here.local db.target"
MIRRORD_TRACE_DNS=no under -- cat /etc/hosts >out 2>&1
is "MIRRORD_TRACE_DNS=no" "$(cat out)" "192.0.2.2 here.local db.target"
under -v -- cat /etc/hosts /etc/passwd >out 2>err
like "-v: a line for a file of names" "$(grep ' openat(' err)" '*openat(-100, "/etc/hosts", *: remote: a file of name resolution (* us)'
is "-v: none for another" "$(grep -c /etc/passwd err)" 0
under --outgoing-local "db:x" -- true >out 2>err
is "a bad selector: status" "$?" 125
is "a bad selector: what is said" "$(cat err)" \
	"mirrord-trace: '--outgoing-local db:x': a port is a number from 1 to 65535, as in db:5432"

nothing_left "after all of them"
finish
