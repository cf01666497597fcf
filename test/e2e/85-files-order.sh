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

nothing_kept "after all of them"
nothing_left "after all of them"
finish
