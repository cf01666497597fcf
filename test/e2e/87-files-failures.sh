#!/bin/bash
# What goes wrong with files: it is said, by an errno and where that is not enough by one clear line; and no half file is
# taken for a whole one.
. "$(dirname "$0")/../lib.sh"
target_root
work_anew

# guest OPTIONS PROGRAM...: its output is in out, its words and ours in err, its status in $status.
guest() {
	local options=$1
	shift
	# shellcheck disable=SC2046,SC2086
	timeout "$PATIENCE" $(beneath_root $options) "$@" >out 2>err </dev/null
	status=$?
}
said() { grep '^mirrord-trace: ' err; }
lines() { said | wc -l; }

# ---- limits ----------------------------------------------------------------------------------------------------------

guest "--fs-file-max 1M" cat /data/big
is "--fs-file-max: an open fails" "$status $(wc -c <out) $(grep -c 'File too large' err)" "1 0 1"
like "--fs-file-max: one line says what to do" "$(lines) $(said)" "1 *data/big*--fs-file-max*"
guest "--fs-file-max 1M" cksum /data/lines
is "--fs-file-max: a smaller one is read" "$(<out)" "$(in_root cksum /data/lines)"
guest "--fs-file-max 1M" tail -c 4 /data/sparse
is "--fs-file-max: holes are no content" "$(<out)" last
guest "--fs-file-max 1M" stat -c %s /data/big
is "--fs-file-max: a file that is only looked at" "$(<out)" 67108864
guest "--fs-tree-max 300K" sh -c 'cat /data/lines >/dev/null && echo one; exec 7</data/lines; cat /data/echo /app-source/.git/packed-refs /data/big | wc -c'
like "--fs-tree-max: an open fails" "$(head -n 1 out) $(cat err)" "one *data/big*"
like "--fs-tree-max: one line says what to do" "$(said)" "*--fs-tree-max*"

(ulimit -f 1024 && guest "" cat /data/big; echo $status >code)
is "ulimit -f: what is larger cannot be opened" "$(<code) $(wc -c <out) $(grep -c 'File too large' err)" "1 0 1"
(ulimit -f 1024 && guest "" cksum /data/lines; echo $status >code)
is "ulimit -f: what is smaller can" "$(<code) $(<out)" "0 $(in_root cksum /data/lines)"
work_anew
(ulimit -f 1024 && guest "--fs-mode write" $python -c 'import os; os.truncate("/srv/work/file", 4 << 20)'; echo $status >code)
is "ulimit -f: the agent has the limit too" "$(<code) $(grep -c 'File too large' err)" "1 1"

# A copy that is kept up to date takes a descriptor of ours. No more of them than a quarter of what we may have.
# shellcheck disable=SC2016  # the guest's shell expands it
(ulimit -n 256 && guest "" bash -c 'for file in /data/many/entry-00[0-3]*; do read -r line <"$file" || exit; done; echo end'; echo $status >code)
is "ulimit -n: many files, one after the other" "$(<code) $(cat out err)" "0 end"
mkdir $root/srv/work/dir-{1..100}
cat >watches.py <<'END'
import ctypes, os, struct, sys
dirs, files = map(int, sys.argv[1:])
libc = ctypes.CDLL(None)
inotify = libc.inotify_init()
for n in range(1, dirs + 1):
    wd = libc.inotify_add_watch(inotify, b"/srv/work/dir-%d" % n, 0x100) # IN_CREATE
    assert wd == n
for n in range(files):
    open(f"/data/many/entry-{n + 1:05}").close()
print("watched", flush=True)
print("heard of", struct.unpack_from("i", os.read(inotify, 4096))[0])
END
# watches DIRECTORIES FILES: they are watched, and then those are opened; it hears of the last.
watches() {
	rm -f out
	guest "" $python $T/watches.py "$1" "$2" &
	await says out watched && touch $root/srv/work/dir-"$1"/new
	wait $!
}
(ulimit -n 256 && watches 10 300)
is "ulimit -n: what is watched goes before what was opened" "$(cat out err)" "watched
heard of 10"
(ulimit -n 256 && watches 100 0)
is "ulimit -n: the last of too many directories" "$(<out)" "watched
heard of 100"
like "ulimit -n: one line names one that is watched no more" "$(lines) $(said)" "1 *srv/work/dir-1'*"

# ---- a full file system ------------------------------------------------------------------------------------------------

guest "--fs-mode write" dd if=/data/big of=/full/file bs=64k count=16 conv=fsync status=none
is "ENOSPC: fsync says it" "$status $(grep -c '^dd: fsync.*No space left' err)" "1 1"
is "ENOSPC: one line names the file, and again at the end" "$(said | grep -c full/file) $(lines)" "2 2"
in_root rm -f /full/file
guest "--fs-mode write" sh -c 'head -c 1000000 /data/big >/full/file; echo its own end; exit 7'
is "ENOSPC, without fsync: the guest's own status" "$status $(<out)" "7 its own end"
like "ENOSPC, without fsync: it is said" "$(said)" "*full/file*No space left*"
in_root rm -f /full/file
guest "--fs-mode write" sh -c 'head -c 100000 /data/big >/full/file'
is "room again: nothing is said" "$status $(cat err) $(in_root stat -c %s /full/file)" "0  100000"
in_root rm -f /full/file

# ---- rights --------------------------------------------------------------------------------------------------------------

guest "--fs-mode write" sh -c 'echo x >/readonly/new'
like "EROFS" "$status $(cat err)" "[12] *Read-only file system*"
guest "" sh -c 'echo x >/data/small'
like "written to in mode read: this machine has no such directory" "$status $(cat err)" "[12] *"
is "written to in mode read: the target's is as it was" "$(<$root/data/small)" "hello from the target"

# What may be written to and not read: where it is only added to, or begun anew.
echo "not for you" >$root/srv/work/blind
chmod 0222 $root/srv/work/blind
target_as sleep setpriv --reuid 65534 --regid 65534 --clear-groups sleep infinity
guest "--fs-mode write" sh -c 'cd /srv/work && dd of=blind conv=notrunc status=none <file; echo more >>blind'
is "a file that may not be read: it is not written into" "$(grep -c 'Permission denied' err) $(<$root/srv/work/blind)" "1 not for you
more"
guest "--fs-mode write" sh -c 'cd /srv/work && echo another >blind'
is "a file that may not be read: it can be another" "$status $(<$root/srv/work/blind)" "0 another"
target_back

# ---- the link is cut in the middle ------------------------------------------------------------------------------------------

# cut BYTES OPTIONS PROGRAM...: after so many bytes.
cut_link() {
	slow_link 0 "$1"
	via="$mirrord_trace --agent unix:$T/slow.sock"
	guest "${@:2}"
	via=
	end_slow_link
}
cut_link 3000000 "--on-link-loss fail" cat /data/big
is "the link is cut while a file comes: it cannot be opened" "$status $(wc -c <out)" "1 0"
like "the link is cut while a file comes: it is said" "$(said) $(grep ^cat: err)" "mirrord-trace: *lost*Input/output error"
cut_link 3000000 "" cat /data/big
is "the link is cut while a file comes, the guest is ended" "$status $(wc -c <out)" "125 0"
cut_link 3000000 "--fs-tree-max 1M" cat /data/big
is "--fs-tree-max: the rest is not asked for" "$status $(lines)" "1 1"
cut_link 300000 "--on-link-loss fail" sh -c 'ls /data/many | wc -l'
is "the link is cut while entries come: none of them" "$(<out)" 0
cut_link 1000000 "--on-link-loss fail" sh -c 'cat /data/small; cat /data/big; cat /data/small; cat /data/lines; echo end'
like "the link is lost: what was read may be read, or fails" "$(tail -n 1 out) $(head -n 1 out)" "end hello*"

work_anew
cut_link 3000000 "--fs-mode write --on-link-loss fail" sh -c 'head -c 30000000 /dev/urandom >/srv/work/new; echo $?'
like "the link is cut while a file goes: it is said, and which" "$(said)" "*srv/work/new*"
guest "--fs-mode write" sh -c 'cat /dev/zero | head -c 3000000 >/srv/work/new'
is "and then it goes" "$status $(stat -c %s $root/srv/work/new)" "0 3000000"

# ---- files that are open for writing when the link is lost -------------------------------------------------------------

# writer OPTIONS [BYTES]: fs in the background, over a link that can be cut, or is after so many bytes. order CALL...: it does that; said_last: what came of it.
writer() {
	work_anew
	slow_link 0 ${2:+"$2"}
	mkfifo orders
	: | tee out >err
	# shellcheck disable=SC2046,SC2086
	$(via="$mirrord_trace --agent unix:$T/slow.sock" beneath_root --fs-mode write $1) $T/bin/glibc/fs <orders >out 2>err &
	tracer=$!
	exec 7>orders
	rm orders
	answers=0
}
answered() { [ "$(wc -l <out)" -ge "$answers" ]; }
order() {
	echo "$*" >&7
	answers=$((answers + 1))
	await answered
}
said_last() { tail -n 1 out; }
cut() {
	kill -KILL $delay
	status_of $delay
	await says err "is lost"
}
mend() {
	rm -f slow.sock
	"$guests/glibc/delay" $T/slow.sock $T/agent.sock >delay.out 2>&1 &
	delay=$!
	await says err "is back"
}
writer_ends() { # NAME
	order exit
	ends "$1: the guest ends" $tracer 0
	exec 7>&-
	end_slow_link
}
named() { grep -c "'/srv/work/$1' of the target" err; }
there() { # FILE CONTENT
	[ "$(<"$root/srv/work/$1")" = "$2" ]
}

writer "--on-link-loss reconnect"
order openat f cwd /srv/work/file "rdwr|trunc"
order openat n cwd /srv/work/new "wronly|creat" 0644
order openat l cwd /srv/work/log "wronly|append"
order openat t cwd /srv/work/temporary "rdwr|creat|excl" 0600
order unlink /srv/work/temporary
order write f before
order write l 'before\x0a'
order fsync f
order fsync l
cut
order write t scratch
order fsync t
is "a new link: a file without a name stays here" "$(said_last)" 0
order write f '\x20meanwhile'
order write n new
order write l 'meanwhile\x0a'
order fsync f
is "a new link: fsync says that there is none" "$(said_last)" "-1 EIO"
mend
order write f '\x20after'
ok "a new link: a file goes on" await there file "before meanwhile after"
ok "a new link: one with nothing sent before goes on" await there new new
ok "a new link: one that is added to goes on" await there log "first line
before
meanwhile"
order fsync f
is "a new link: fsync" "$(said_last)" 0
order close n
order fsync l
is "a new link: fsync of what is added to" "$(said_last)" 0
writer_ends "a new link"
is "a new link: no file is named" "$(grep -c 'of the target' err)" 0

writer "--on-link-loss reconnect"
order openat f cwd /srv/work/file rdwr
order openat o cwd /srv/work/other rdwr
order openat g cwd /srv/work/log rdwr
order write f before
order fsync f
cut
in_root sh -c 'echo of the target >/srv/work/file; mv /srv/work/other /srv/work/aside; rm /srv/work/log'
order write f mine
mend
ok "a file changed meanwhile: it is said" await says err "'/srv/work/file' of the target"
ok "a file moved meanwhile: it is said" await says err "'/srv/work/other' of the target"
ok "a file removed meanwhile: it is said" await says err "'/srv/work/log' of the target"
order write f more
order fsync f
is "a file changed meanwhile: fsync says EIO" "$(said_last)" "-1 EIO"
order openat h cwd /srv/work/file rdwr
order read h 100
is "a file changed meanwhile: an open has the target's" "$(said_last)" '14 "of the target\x0a"'
order write h 'and\x20mine'
order fsync h
is "a file changed meanwhile: the new descriptor writes" "$(said_last) $(tail -n 1 $root/srv/work/file)" "0 and mine"
order close f
writer_ends "a file changed meanwhile"
is "a file changed meanwhile: it is as the target and the second have made it" "$(<$root/srv/work/file)" "of the target
and mine"

writer "--on-link-loss reconnect" 3000000
order openat f cwd /srv/work/new "wronly|creat" 0644
order openat l cwd /srv/work/log "wronly|append"
order fill f 0123456789abcde 400000
order fill l 0123456789abcde 400000
await says err "is lost"
mend
order close f
order close l
whole() { [ "$(stat -c %s "$root/srv/work/$1")" = "$2" ]; }
ok "cut in the middle: a new file becomes whole" await whole new 6000000
ok "cut in the middle: so does one that is added to" await whole log 6000011
writer_ends "cut in the middle"
is "cut in the middle: it has what was written" "$(cksum <$root/srv/work/new) $(tail -c 6000000 $root/srv/work/log | cksum)" \
	"$(yes 0123456789abcde | tr -d '\n' | head -c 6000000 | tee sum | cksum) $(cksum <sum)"
is "cut in the middle: no file is named" "$(grep -c 'of the target' err)" 0

writer "--on-link-loss fail"
order openat f cwd /srv/work/file rdwr
order openat o cwd /srv/work/other rdwr
order openat l cwd /srv/work/log "wronly|append"
order write f before
order fsync f
order write l more
cut
is "fail: what was confirmed is not named" "$(named file) $(named other)" "0 0"
ok "fail: what was not is" await says err "'/srv/work/log' of the target"
order fsync f
is "fail: fsync says EIO" "$(said_last)" "-1 EIO"
order write o after
ok "fail: what is written later is named" await says err "'/srv/work/other' of the target"
writer_ends "fail"

# ---- ends ---------------------------------------------------------------------------------------------------------------------

# A killed guest: what it has written is in the target.
work_anew
mkfifo orders
# shellcheck disable=SC2046
$(beneath_root --fs-mode write) $T/bin/glibc/fs <orders >out 2>err &
tracer=$!
exec 7>orders
echo 'openat f cwd /srv/work/new wronly|creat 0644' >&7
echo 'fill f 0123456789abcdef 1000' >&7
await says out 16000
for pid in $(ps -o pid= --ppid $tracer); do
	[ "$(cat "/proc/$pid/comm")" != fs ] || kill -KILL "$pid"
done
ends "a killed guest: its status is ours" $tracer 137
exec 7>&-
is "a killed guest: what it has written is there" "$(stat -c %s $root/srv/work/new)" 16000
nothing_kept "a killed guest"

# fs_that_holds OPTIONS PATH: a guest in the background, which has opened it.
fs_that_holds() {
	# shellcheck disable=SC2046,SC2086
	$(beneath_root $1) $T/bin/glibc/fs <orders >out 2>err &
	tracer=$!
	exec 7>orders
	echo "openat f cwd $2 rdonly" >&7
	await says out '^3$'
}

# A killed supervisor leaves its copies to the next one.
fs_that_holds "" /data/lines
is "a killed supervisor: copies are not for others to read" \
	"$(setpriv --reuid 65534 --regid 65534 --clear-groups find $T/xdg -name lines 2>/dev/null)" ""
ok "a killed supervisor: there were copies" test -n "$(find $T/xdg -name lines)"
kill -KILL $tracer
status_of $tracer
exec 7>&-
guest "" cat /data/small
is "a killed supervisor: the next one works" "$status $(<out)" "0 hello from the target"
nothing_kept "a killed supervisor: the next one removes what was left"

# Where copies are kept.
mkdir kept
fs_that_holds "--fs-dir $T/kept" /data/small
is "--fs-dir: copies are there" "$(find kept -name small | wc -l)" 1
echo exit >&7
ends "--fs-dir: the guest ends" $tracer 0
exec 7>&-
is "--fs-dir: and gone" "$(find kept -mindepth 2)" ""
guest "--fs-dir $T/nowhere" true
like "--fs-dir: it is not there: one line" "$status $(lines) $(cat err)" "125 1 mirrord-trace: *$T/nowhere*"
mount -t tmpfs -o noexec tmpfs $T/xdg
guest "" sh -c '/data/script a; true'
is "XDG_RUNTIME_DIR is noexec: programs of the target run" "$status $(<out)" "0 /data/script a"
umount $T/xdg

nothing_kept "after all of them"
nothing_left "after all of them"
finish
