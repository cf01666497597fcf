#!/bin/bash
# What comes first: a change is in the target before anything that the guest says afterwards; and what is written in the
# target comes to a guest that follows it.
. "$(dirname "$0")/../lib.sh"
target_root

provide "$here/guest/teller.py" teller.py
provide "$guests/files-go" files-go
provide "$here/guest/files.js" files.js
work_anew

# ---- told by a socket ------------------------------------------------------------------------------------------

nsenter --target "$target" --net --mount --pid --uts --root --wd \
	$python $T/bin/teller.py --sidecar 7100 >sidecar.out 2>&1 &
await says sidecar.out ready
child_of $! && sidecar=$child
told="a write: 200 times, 0 wrong
a write_open: 200 times, 0 wrong
a append: 200 times, 0 wrong
a rename: 200 times, 0 wrong
a unlink: 200 times, 0 wrong
two processes: 200 times, 0 wrong"
is "the target itself: the sidecar sees what was done before it was told" \
	"$(in_root $python $T/bin/teller.py 7100 /srv/work 200 2>&1)" "$told"
work_anew
# shellcheck disable=SC2046  # they are words
is "a guest: the sidecar sees what was done before it was told" \
	"$($(beneath_root --fs-mode write) $python $T/bin/teller.py 7100 /srv/work 200 2>&1)" "$told"

# Two guests beside each other.
work_anew
# shellcheck disable=SC2046,SC2086
for guest in 1 2; do
	mkdir $root/srv/work/of-$guest
	$(beneath_root --fs-mode write) $python $T/bin/teller.py 7100 /srv/work/of-$guest 50 >told.$guest 2>&1 &
	tellers[guest]=$!
done
for guest in 1 2; do
	ends "two guests: guest $guest ends" "${tellers[guest]}" 0
	is "two guests: guest $guest" "$(<told.$guest)" "${told//200/50}"
done
kill "$sidecar"
await gone "$sidecar"

# ---- what the target writes -----------------------------------------------------------------------------------

follow() { # PROGRAM...: in the background, its output goes to out
	: | tee out >err
	# shellcheck disable=SC2046
	$(beneath_root) "$@" >out 2>err &
	tracer=$!
}
tell() { in_root sh -c "$1"; }

work_anew
follow tail -n +1 -f /srv/work/log
ok "tail -f: what is there already" await says out "first line"
for i in 1 2 3; do
	tell "echo line $i >>/srv/work/log"
	ok "tail -f: line $i" await says out "line $i"
done
tell "seq 10000 >>/srv/work/log"
ok "tail -f: 10,000 lines at once" await says out "^10000\$"
is "tail -f: each of them, once" "$(cksum <out)" "$(cksum <$root/srv/work/log)"
kill $tracer
status_of $tracer

work_anew
follow tail -n +1 -F /srv/work/file
await says out "0123456789"
tell "echo appended >>/srv/work/file"
ok "tail -F: what is appended" await says out appended
tell "echo another >/srv/work/new && mv /srv/work/new /srv/work/file"
ok "tail -F: another file of that name" await says out another
kill $tracer
status_of $tracer

# volume_swap CONTENT: as the kubelet does it.
volume_swap() {
	tell "cd /etc/app && mkdir ..$1 && printf $1 >..$1/name && ln -s ..$1 ..data_tmp && mv -T ..data_tmp ..data"
}
for program in "$T/bin/files-go watch" "node $T/bin/files.js watch"; do
	name=${program##*/}
	# shellcheck disable=SC2086
	follow $program /etc/app /etc/app/name
	ok "a ConfigMap, $name: what it is" await says out name
	for content in green red last; do
		volume_swap $content
		ok "a ConfigMap, $name: it is swapped, $content" await says out "$content"
	done
	ends "a ConfigMap, $name: the guest ends" $tracer 0
	is "a ConfigMap, $name: nothing is said" "$(cat err)" ""
	tell "cd /etc/app && ln -sfn ..2026* ..data && rm -r ..green ..red ..last"
done

# ---- two at once, over a slow link -----------------------------------------------------------------------------

# at_once OPTIONS WORDS...: of bash; its output is in $out.
at_once() {
	slow_link 100
	via="$mirrord_trace --agent unix:$T/slow.sock"
	# shellcheck disable=SC2046,SC2086
	out=$(timeout "$PATIENCE" $(beneath_root $1) bash -c "$2" 2>&1)
	via=
	end_slow_link
}

head -c 4M $root/data/big >$root/data/file
ln -s file $root/data/filelink
whole=$(cksum <$root/data/file)
at_once "" 'cksum </data/file; cksum </data/filelink & cksum </data/file & wait'
is "a copy that is being filled anew is not unchanged" "$out" "$whole
$whole
$whole"

mkfifo swapped
rm agent.out
{ await says agent.out "open /data/file .*: sending" && in_root sh -c 'cp /data/file /data/new && mv /data/new /data/file'; echo >swapped; } &
swap=$!
at_once "--fs-local ^$T/" "cksum </data/file & read -r go <$T/swapped; stat -c %s /data/file; wait"
wait $swap
is "another file in its place while it is opened" "$(sort <<<"$out")" "$(sort <<<"4194304
$whole")"

work_anew
at_once "--fs-mode write" 'exec 3>>/srv/work/log; echo more >&3; cat /srv/work/log; exec 4<>/srv/work/log; echo again >&3; cat <&4'
is "what is only added to is read by another" "$out" "first line
more
first line
more
again"
is "what is only added to" "$(<$root/srv/work/log)" "first line
more
again"

work_anew
cat >both.py <<'END'
import os, threading, time
path = "/srv/work/blocks"
def write():
    f = os.open(path, os.O_RDWR)
    os.pwrite(f, b"mine", 0)
    other.join()
    print(os.pread(f, 4, 0).decode())
def read():
    while "open " + path not in open("/run/test/agent.out").read(): # and the answer is on its way
        time.sleep(0.01)
    print(os.read(os.open(path, os.O_RDONLY), 4).decode())
other = threading.Thread(target=read)
other.start()
write()
END
at_once "--fs-mode write --fs-local ^$T/agent.out" "$python $T/both.py"
is "what comes is not put over what the guest has written" "$out $(head -c 4 $root/srv/work/blocks)" "mine
mine mine"

# ---- a file that is followed, over a slow link -------------------------------------------------------------------

# holds: a guest has /srv/work/blocks open; lines to descriptor 7 are its cue.
holds() { # OPTIONS, and the program on stdin
	{
		echo 'import os, sys'
		echo 'path = "/srv/work/blocks"'
		echo 'f = os.open(path, os.O_RDONLY)'
		echo 'print("opened", flush=True)'
		echo 'sys.stdin.readline()'
		cat
	} >holds.py
	: | tee out >err
	rm -f cue && mkfifo cue
	# shellcheck disable=SC2046,SC2086
	$(via="$mirrord_trace --agent unix:$T/slow.sock" beneath_root $1) $python $T/holds.py <cue >out 2>err &
	tracer=$!
	exec 7>cue
	await says out opened
}

work_anew
slow_link 100
holds "" <<'END'
while os.stat(path).st_size == 1 << 18:
    pass
print("seen", flush=True)
while os.fstat(f).st_size < (1 << 18) + 10:
    pass
print(os.pread(f, 20, 1 << 18).decode())
END
printf first >>$root/srv/work/blocks # before it is watched
echo >&7
await says out seen
printf after >>$root/srv/work/blocks
ends "what is added before a file is watched: the guest ends" $tracer 0
is "what is added before a file is watched is no hole" "$(tail -n 1 out)" "firstafter"
exec 7>&-
end_slow_link

asked_twice() { [ "$(grep -c "open /srv/work/blocks " agent.out)" = 2 ]; }
work_anew
slow_link 100
holds "" <<'END'
import time
while os.fstat(f).st_size == 1 << 18:
    time.sleep(0.01)
print(os.pread(f, 20, 1 << 18).decode())
END
printf first >>$root/srv/work/blocks
echo >&7
ends "what is added before a file is watched, and no more: the guest ends" $tracer 0
is "what is added before a file is watched, and no more" "$(tail -n 1 out)" first
exec 7>&-
end_slow_link

has_grown() { [ -n "$(find "$T/xdg" -name blocks -size +262144c)" ]; }
work_anew
slow_link 300
holds "--on-link-loss reconnect" <<'END'
print(os.pread(f, 20, 1 << 18).decode())
END
await says agent.out ": /srv/work/blocks: watched"
printf first >>$root/srv/work/blocks
await asked_twice # the news came, and the answer is on its way
kill -KILL $delay
status_of $delay
rm -f slow.sock
"$guests/glibc/delay" $T/slow.sock $T/agent.sock >delay.out 2>&1 &
delay=$!
ok "the link is lost while a change is asked about: it is back" await says err "is back"
await has_grown
echo >&7
ends "the link is lost while a change is asked about: the guest ends" $tracer 0
is "the link is lost while a change is asked about: it is seen" "$(tail -n 1 out)" first
exec 7>&-
end_slow_link

nothing_kept "after all of them"
nothing_left "after all of them"
finish
