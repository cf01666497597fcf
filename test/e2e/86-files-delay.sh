#!/bin/bash
# Files over a slow link: what costs a round trip, and what does not.
. "$(dirname "$0")/../lib.sh"
target_root

# turns NAME MOST OPTIONS PROGRAM...: it succeeds, and waits for the agent at most so often. $out is what it says.
turns() {
	local name=$1 most=$2 options=$3 n status
	shift 3
	slow_link 25
	via="$mirrord_trace --agent unix:$T/slow.sock"
	# shellcheck disable=SC2046,SC2086
	out=$(timeout "$PATIENCE" $(beneath_root $options) "$@" 2>&1)
	status=$? via=
	end_slow_link
	n=$(sed -n 's/turns: //p' delay.out) bytes=$(sed -n 's/bytes: //p' delay.out)
	if [ $status = 0 ] && [ "${n:-$((most + 1))}" -le "$most" ]; then
		pass "$name: at most $most round trips"
	else
		fail "$name: at most $most round trips" <<<"there are ${n:-?}; status $status, it says:
$out"
	fi
}

# What each run has to ask before the guest's first file.
turns "nothing" 8 "" true

orders=$(for i in {100..199}; do printf 'openat f cwd /data/many/entry-00%s rdonly\nfstat f\nread f 100\nclose f\n' "$i"; done)
turns "open, fstat, read, close of 100 files" 110 "" $T/bin/glibc/fs <<<"$orders"
is "open, fstat, read, close of 100 files: what is in them" \
	"$(grep -c ' file 0644 0 0 size 4 ' <<<"$out") $(grep -c '^4 "1[0-9][0-9]' <<<"$out")" "100 100"

turns "stat of each entry of a listed directory" 20 "" ls -l /data/many
is "stat of each entry of a listed directory: they are there" "$(grep -c entry- <<<"$out")" 10000
turns "a small tree" 60 "" find /app/tree -type f -size +1c
turns "a small tree, from within" 60 "" env --chdir=/app/tree ls -lR .
# shellcheck disable=SC2016
turns "reading 200 kB line by line" 20 "" bash -c 'while read -r line; do :; done </data/lines; echo "$line"'
turns "byte by byte" 12 "" dd if=/data/small of=/dev/null bs=1

# What is known is not sent anew, however it is come by.
cp "$(readlink -f "$(command -v sleep)")" $root/data/program
truncate -s 8M $root/data/program
dd if=$root/data/big of=$root/data/program bs=1M seek=7 count=1 conv=notrunc status=none
for way in "runs:/data/program 0" "reads:/bin/dd if=/data/program of=/dev/null bs=1M status=none" \
	"reads by a link:/bin/dd if=/data/to-dir/../program of=/dev/null bs=1M status=none"; do
	turns "${way%%:*} ten times what takes 1 MiB" 60 "" sh -c "for i in 0 1 2 3 4 5 6 7 8 9; do ${way#*:} || exit; done"
	ok "${way%%:*} ten times what takes 1 MiB: it is sent once" test "$bytes" -lt 2097152
done

work_anew
turns "20,000 small writes" 12 "--fs-mode write" $T/bin/glibc/fs <<'END'
openat f cwd /srv/work/new wronly|creat 0644
fill f 0123456789abcde\x0a 20000
close f
END
is "20,000 small writes: they are there" "$(stat -c %s $root/srv/work/new)" 320000
# shellcheck disable=SC2016
turns "an appended log" 20 "--fs-mode write" bash -c 'for i in {1..500}; do echo "line $i"; done >>/srv/work/log'
is "an appended log: it is there" "$(cksum <$root/srv/work/log)" "$(cat <(echo first line) <(printf 'line %d\n' {1..500}) | cksum)"

turns "64 MiB written" 200 "--fs-mode write" dd if=/data/big of=/srv/work/new bs=16k conv=fsync status=none
ok "64 MiB written: they are there" cmp $root/data/big $root/srv/work/new

# Answers about a file come when another program of the guest has written to it already.
provide "$here/guest/sharers.py" sharers.py
for how in append append-anew slots; do
	work_anew
	slow_link 5
	via="$mirrord_trace --agent unix:$T/slow.sock"
	# shellcheck disable=SC2046
	is "six programs, one file: $how" \
		"$(timeout "$PATIENCE" $(beneath_root --fs-mode write) $python $T/bin/sharers.py $how /srv/work/new 2>&1)" end
	via=
	end_slow_link
	is "six programs, one file: $how: the target has it all" "$(sort $root/srv/work/new | cksum)" \
		"$(for writer in {0..5}; do for i in {0..49}; do printf '%3d %4d\n' "$writer" "$i"; done; done | sort | cksum)"
done

nothing_kept "after all of them"
nothing_left "after all of them"
finish
