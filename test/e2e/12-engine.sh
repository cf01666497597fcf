#!/bin/bash
# What a program sees of itself, its children and its signals: natively and under the supervisor.
. "$(dirname "$0")/../lib.sh"
target_start

supervisor=("$mirrord_trace" --engine "$ENGINE" -t targetless --)

# outcome COMMAND...: all that it prints, and its status as a shell sees it.
outcome() {
	{ "$@" >printed 2>&1; } 2>/dev/null
	echo "status $?" >>printed
	cat printed
}

same() { # NAME COMMAND...
	local name=$1
	shift
	is "$name" "$(outcome "${supervisor[@]}" "$@")" "$(outcome "$@")"
}

for libc in glibc musl; do
	for what in threads forks exec-from-thread leader-exits children-status jobs inherit foreign \
		term kill segv abort; do
		same "$what ($libc)" "$guests/$libc/life" $what
	done
	for status in 0 3 255; do
		same "exit status $status ($libc)" "$guests/$libc/life" inherit $status
	done
	is "io_uring and MPTCP are answered at once ($libc)" \
		"$(outcome "${supervisor[@]}" "$guests/$libc/life" fixed)" \
		"io_uring_setup: ENOSYS
mptcp: EPROTONOSUPPORT
status 0"
	is "an orphan is covered, and waited for ($libc)" \
		"$(outcome "${supervisor[@]}" "$guests/$libc/life" orphan)" "the parent ends
the orphan: 1
status 4"
done

# from NAME SHELL-COMMANDS: started from a shell in some state, where "$@" is what to run.
from() {
	is "inherited: $1" \
		"$(outcome bash -c "$2" sh "${supervisor[@]}" "$guests/glibc/life" inherit)" \
		"$(outcome bash -c "$2" sh "$guests/glibc/life" inherit)"
}

# shellcheck disable=SC2016  # that shell expands them
{
	from "an empty environment" 'env -i "$@"'
	from "closed stdin" '"$@" <&-'
	from "closed stdin and stderr" '"$@" <&- 2>&-'
	from "closed stdout" '"$@" >&-'
	from "open descriptors" 'exec 5</dev/null 9<&5 77<&5; "$@"'
	from "ignored signals" 'env --ignore-signal=PIPE,HUP,TERM,INT "$@"'
	from "ignored SIGCHLD" 'env --ignore-signal=CHLD "$@"'
	from "blocked signals" 'env --block-signal=USR1,TERM,CHLD,ALRM "$@"'
	from "limits" 'ulimit -n 777; ulimit -c 4; "$@"'
	from "directory, mask, priority" 'cd /usr; umask 077; nice -n 5 "$@"'
}
is "a stopped guest looks stopped to who started us" \
	"$(outcome "$guests/glibc/life" watch "${supervisor[@]}" "$guests/glibc/life" stop)" \
	"$(outcome "$guests/glibc/life" watch "$guests/glibc/life" stop)"
# 32-bit calls are let through, and that is said once for each program.
as --32 -o 32.o - <<'END'
	.globl _start
_start:	mov $4, %eax		# write
	mov $1, %ebx
	mov $text, %ecx
	mov $5, %edx
	int $0x80
	mov $1, %eax		# exit
	mov $7, %ebx
	int $0x80
text:	.ascii "hi32\n"
END
ld -m elf_i386 -o program32 32.o
like "a 32-bit program runs as without us, and that is said" "$(outcome "${supervisor[@]}" ./program32)" \
	"mirrord-trace: process * is a 32-bit program: *hi32
status 7"

same "a shell and its children" sh -c "$guests/glibc/life inherit; $guests/musl/life jobs; exit 9"

# ---- on a port of the target ------------------------------------------------------------------------

clients() { # N: each from an address that the guest must tell
	local i
	for ((i = 0; i < $1; i++)); do
		client socat -t 5 - "TCP:$target_ip:$port,bind=$client_ip" < <(printf x) || return 1
	done
}

say_ready() { await says out ready; }

for how in threads processes reuseport-threads reuseport-processes; do
	for libc in glibc musl; do
		ports
		trace --steal -- "$guests/$libc/workers" $how 4 $port 40
		say_ready
		is "4 $how share a port: 40 clients ($libc)" "$(clients 40 | cut -d' ' -f1 | sort | uniq -c)" \
			"     40 $client_ip"
		ends "4 $how share a port: they end ($libc)" $tracer 0
	done
done

ports
trace --steal -- "$guests/glibc/workers" threads 8 $port 100
say_ready
for _ in 1 2 3 4; do clients 25 & done >clients.out
ends "8 threads in accept, 4 clients at once: they end" $tracer 0
await test "$(wc -l <clients.out)" = 100
is "8 threads in accept, 4 clients at once: all are served" "$(grep -c "$client_ip" clients.out)" 100

for how in restart interrupt; do
	for libc in glibc musl; do
		ports
		trace --steal -- "$guests/$libc/storm" $how $port 20
		say_ready
		clients 20
		status_of $tracer
		is "signals at 2 kHz ($how, $libc)" "$(cat out)" "ready
served 20, 0 bad calls, many signals"
	done
done

ports
trace --steal -- "$guests/glibc/storm" cancel $port
say_ready
clients 1
status_of $tracer
is "threads die in the middle of an accept" "$(cat out)" "ready
accepted: yes"

nothing_left "after all of them"
finish
