# shellcheck shell=bash
# The words that the end-to-end tests are written in. Each test file sources this first.
#
# A test runs on a small machine of its own: new network, pid, mount and uts namespaces, with a tmpfs
# as /run. On it are the developer's side (the test itself: $tracer runs here), a *target* with
# network, mount, pid and uts namespaces and an nginx, and a *client* that reaches the target by a
# veth pair. All of it dies with the test's shell, however that dies: there is nothing to clean up.
#
#   ENGINE=auto|ptrace   BUILD=build/current   MUST=all   PATIENCE=20 (seconds)

# shellcheck disable=SC2034  # much of what is defined here is used by the tests only
set -u

if [ -z "${TEST_MACHINE:-}" ]; then
	[ "$(id -u)" = 0 ] || {
		echo "$0: this makes namespaces: run it as root" >&2
		exit 1
	}
	exec unshare --net --pid --mount --uts --fork --kill-child --mount-proc \
		env TEST_MACHINE=1 bash "$0" "$@"
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
BUILD=$(cd "$top/${BUILD:-build/current}" && pwd -P) || exit 1
ENGINE=${ENGINE:-auto}
PATIENCE=${PATIENCE:-20}
family=$(basename "$0" .sh)
python=/usr/bin/python3

trap 'exit 130' INT TERM
set +m # no words about jobs
for name in $(compgen -e); do
	case $name in
	PATH | BUILD | ENGINE | MUST | PATIENCE | ONLY | ASAN_OPTIONS | UBSAN_OPTIONS) ;;
	*) unset "$name" ;;
	esac
done
mount -t tmpfs tmpfs /run
T=/run/test
mkdir -m 755 $T
cd $T || exit 1
hostname developer
ip link set lo up
export HOME=$T XDG_RUNTIME_DIR=$T LC_ALL=C
export MIRRORD_TRACE_FS_MODE=local # but where files are what is tested (target_root)

mirrord_trace=$BUILD/mirrord-trace
mirrord_agent=$BUILD/mirrord-agent
guests=$BUILD/test/guest

# ---- results, as TAP ----------------------------------------------------------------------------------

tests=0
failures=0

# pass, fail NAME [what to show with the failure on stdin]
pass() {
	tests=$((tests + 1))
	echo "ok $tests - $1"
}

fail() {
	tests=$((tests + 1)) failures=$((failures + 1))
	echo "not ok $tests - $1"
	sed 's/^/#   /' | head -n 40
}

# skip NAME REASON; with MUST=all only what allowed-skips lists may be skipped.
skip() {
	if [ "${MUST:-}" = all ] && ! grep -q "^$family: $1 --" "$here/allowed-skips"; then
		fail "$1" <<<"skipped, but MUST=all: $2"
	else
		tests=$((tests + 1))
		echo "ok $tests - $1 # SKIP $2"
	fi
}

# ok NAME COMMAND...: it succeeds. Its output is shown when it does not.
ok() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		pass "$name"
	else
		fail "$name" <<<"$out
status $? of: $*"
	fi
}

# is NAME GOT WANTED      like NAME GOT PATTERN (of case)
is() {
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" < <(diff <(echo "$3") <(echo "$2") | sed 's/^</wanted:/; s/^>/got:   /')
	fi
}

like() {
	# shellcheck disable=SC2254  # a pattern is what is meant
	case $2 in
	$3) pass "$1" ;;
	*) fail "$1" <<<"got:    $2
wanted: $3" ;;
	esac
}

finish() {
	echo "1..$tests"
	exit $((failures > 0))
}

# ---- waiting --------------------------------------------------------------------------------------

# await COMMAND...: until it succeeds; false when PATIENCE is over.
await() {
	local deadline=$((SECONDS + PATIENCE))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.02
	done
}

gone() { ! kill -0 "$1" 2>/dev/null; }
says() { grep -q -e "$2" "$1"; }

# status_of PID: of a process of ours, which has PATIENCE to end.
status_of() {
	if await gone "$1"; then
		wait "$1" 2>/dev/null
	else
		kill -KILL "$1"
		return 124
	fi
}

# ends NAME PID STATUS
ends() {
	status_of "$2"
	is "$1" "status $?" "status $3"
}

# ---- places ---------------------------------------------------------------------------------------

target_ip=10.77.0.2 target_ip6=fd77::2
client_ip=10.77.0.1 client_ip6=fd77::1

in_target() { nsenter --target "$target" --net --mount --pid --uts "$@"; }
in_root() { nsenter --target "$target" --net --mount --pid --uts --root --wd "$@"; }
client() { nsenter --target "$client" --net "$@"; }

within=() # words before the target's first program

# target_start: sets $target and $client, pids in those places.
target_start() {
	mkdir -p $T/nginx
	cat >$T/nginx/nginx.conf <<-'END'
		user root;
		daemon off;
		worker_processes 2;
		pid nginx.pid;
		error_log error.log;
		events {}
		http {
			access_log off;
			server {
				listen 80;
				listen [::]:80;
				return 200 "target nginx\n";
			}
		}
	END
	unshare --net --mount --pid --uts --fork --kill-child --mount-proc sh -c '
		hostname target
		ip link set lo up
		exec "$@" nginx -p /run/test/nginx/ -c nginx.conf' sh "${within[@]}" &
	await child_of $! || fail "the target starts" </dev/null
	target=$child nginx=$child
	unshare --net sleep infinity &
	client=$!
	await differ "/proc/$client/ns/net" /proc/self/ns/net
	ip link add target0 type veth peer name client0
	place "$target" target0 $target_ip $target_ip6
	place "$client" client0 $client_ip $client_ip6
	await answers "target nginx" || fail "the target's nginx answers" <$T/nginx/error.log
	processes >$T/known
}

child_of() { read -r -d ' ' child <"/proc/$1/task/$1/children"; }
differ() { [ "$(readlink "$1")" != "$(readlink "$2")" ]; }

place() { # PID LINK IPV4 IPV6
	await differ "/proc/$1/ns/net" /proc/self/ns/net
	ip link set "$2" netns "$1"
	nsenter --target "$1" --net ip -batch - <<-END
		link set lo up
		addr add $3/24 dev $2
		addr add $4/64 dev $2 nodad
		link set $2 up
	END
}

# get [URL]: what the client gets from the target.
get() { client curl --silent --show-error --max-time 10 "${1:-http://$target_ip/}"; }
answers() { [ "$(get "${2:-http://$target_ip/}")" = "$1" ]; }

# target_etc: the target gets an /etc of its own, a copy, which is $etc here; and this side gets files
# of name resolution that a test may write to: $own/NAME.
etc=$T/etc own=$T/own
target_etc() {
	local name
	cp -a /etc $etc && in_target mount --bind $etc /etc
	mkdir $own
	for name in resolv.conf hosts host.conf nsswitch.conf; do
		touch $own/$name
		mount --bind $own/$name /etc/$name
	done
}

# target_root: target_start, and the target has a root of its own, $root here, with the files of test/fixture.
# This machine has none of those. The guests are at the same place in both: $T/bin/LIBC/NAME.
root=$T/root
here_only=(/data /app /app-source /readonly /full /etc/app /var/lib/app /srv/work /run/secrets)
target_root() {
	local path
	"$here/fixture" make $root
	cp -a /etc/. $root/etc
	echo target >$root/etc/hostname
	echo "127.0.0.1 localhost target" >$root/etc/hosts
	mkdir -p $root$T/nginx $T/xdg
	export XDG_RUNTIME_DIR=$T/xdg
	unset MIRRORD_TRACE_FS_MODE
	for path in glibc/fs musl/fs; do
		provide "$guests/$path" $path
	done
	within=("$here/enter-root" "$root")
	target_start
	for path in "${here_only[@]}"; do
		[ ! -e "$path" ] || fail "this machine has no $path" </dev/null
	done
}

# provide FILE NAME: it is $T/bin/NAME here and in the target.
provide() {
	install -D "$1" $T/bin/"$2"
	install -D "$1" $root$T/bin/"$2"
}

# target_as NAME COMMAND...: another process of the target's, which becomes NAME, takes its place.
# target_back: it is nginx again.
target_as() {
	nsenter --target "$target" "${enter[@]}" --net --mount --pid --uts --root --wd "${@:2}" <&0 &
	await became "$1" $! || fail "a target by ${*:2}" </dev/null
	target=$child
	processes >$T/known
}
became() { child_of "$2" && [ "$(cat "/proc/$child/comm")" = "$1" ]; }
target_back() {
	kill -KILL "$target"
	await gone "$target"
	target=$nginx as=() enter=() kind=
	processes >$T/known
}

# ---- mirrord-trace --------------------------------------------------------------------------------

# trace OPTIONS -- PROGRAM...: in the background, $tracer is its pid; its output goes to out and err.
trace() {
	: | tee $T/out >$T/err # what await reads must not be the last one's
	"$mirrord_trace" --engine "$ENGINE" -t "pid:$target" "$@" >$T/out 2>$T/err &
	tracer=$!
}

# under [OPTION...] -- PROGRAM...: in the foreground, its output is the command's.
under() { "$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --incoming off "$@"; }

# subscribed: the guest listens and the agent has said yes: the notice on stderr, or the answer itself.
local_port() { ss -Hltn "sport = :$1" | grep -q .; }

# ports: numbers that no other run of this test uses; $port is the first of sixteen.
port=20000
ports() { port=$((port + 16)); }

# slow_link [MS [BYTES]]: an agent, which says in agent.out what it does, and a relay on the way to it
# (test/guest/delay.c), whose words are in delay.out; $agent and $delay are their pids, unix:$T/slow.sock is where
# to reach them.
slow_link() {
	rm -f agent.sock slow.sock agent.out delay.out # what await reads must not be the last one's
	"$mirrord_agent" -v --target "pid:$target" --listen unix:$T/agent.sock >agent.out 2>&1 &
	agent=$!
	await says agent.out "agent ready"
	"$guests/glibc/delay" $T/slow.sock $T/agent.sock "$@" >delay.out 2>&1 &
	delay=$!
	await says delay.out ready
}
end_slow_link() {
	kill -KILL "$agent"
	wait "$agent" 2>/dev/null
	status_of "$delay"
}

# ---- the oracle -----------------------------------------------------------------------------------

# Where a scenario's guest runs (test/converse): in the target itself, or here under the supervisor.
beside() { echo "nsenter --target $target --net --mount --pid --uts $1"; }
beneath() { # PROGRAM OPTION...
	echo "$mirrord_trace --engine $ENGINE -t pid:$target ${*:2} -- $1"
}

converse() { # [--twin SIDE] FILE SCENARIO SIDE=COMMAND...
	"$here/converse" --base $port "$@" "t=$(beside "$guests/glibc/sock")" \
		"c=nsenter --target $client --net $guests/glibc/sock" 2>&1
}

# same FILE SCENARIO VARIANT...: the guest sees what it sees in the target. A variant is "LIBC OPTION...".
# All of them run at once: what a scenario waits for is mostly the kernel's second before a SYN is sent again.
same() {
	local variant libc options players=()
	for libc in glibc musl; do
		ports
		converse "$1" "$2" "g=$(beside "$guests/$libc/sock")" >"$T/wanted $libc" &
		players+=($!)
	done
	for variant in "${@:3}"; do
		read -r libc options <<<"$variant"
		ports
		# shellcheck disable=SC2086  # they are words
		converse "$1" "$2" "g=$(beneath "$guests/$libc/sock" $options)" >"$T/got $variant" &
		players+=($!)
	done
	wait "${players[@]}"
	for variant in "${@:3}"; do
		is "$2 ($variant)" "$(<"$T/got $variant")" "$(<"$T/wanted ${variant%% *}")"
	done
}

# Files: where the guest of a scenario is that program (test/guest/fs.c), and what it is started by in the
# target, which is how the target's own process was, beside its namespaces and its root. kind: of target,
# for the tests' names; via: how the guest comes under the supervisor; only: what is compared of what they say.
as=() enter=() kind='' native_libc=glibc via='' only=cat
root_beside() { echo "nsenter --target $target ${enter[*]} --net --mount --pid --uts --root --wd ${as[*]}"; }
fs_beside() { echo "$(root_beside) $T/bin/$1/fs"; }
beneath_root() { echo "env --chdir=/ ${via:-$mirrord_trace -t pid:$target} --engine $ENGINE --incoming off $* --"; }
fs_beneath() { echo "$(beneath_root "${@:2}") $T/bin/$1/fs"; }
fs_play() { "$here/converse" "$1" "$2" "t=$(fs_beside $native_libc)" "g=$3" 2>&1 | $only; }
without_owners() { sed -E 's/ ([0-7]{4}) [0-9]+ [0-9]+( size| mtime| device)/ \1\2/'; }

# its_own NAME TRANSCRIPT: of the target's own program, which came to its end.
its_own() {
	case $2 in
	*converse:* | *"fs: cannot"*) fail "$1: the target's own program" <<<"$2" ;;
	esac
}

# same_files FILE SCENARIO VARIANT...: the guest sees what it sees in the target. Nothing is changed: all at once.
same_files() {
	local variant libc options players=()
	fs_play "$1" "$2" "$(fs_beside $native_libc)" >$T/wanted &
	players+=($!)
	for variant in "${@:3}"; do
		read -r libc options <<<"$variant"
		# shellcheck disable=SC2086  # they are words
		fs_play "$1" "$2" "$(fs_beneath "$libc" $options)" >"$T/got $variant" &
		players+=($!)
	done
	wait "${players[@]}"
	its_own "$2" "$(<$T/wanted)"
	for variant in "${@:3}"; do
		is "$2 ($kind$variant)" "$(<"$T/got $variant")" "$(<$T/wanted)"
	done
}

# work_anew: the target's /srv/work is as it was in the beginning.
work_anew() {
	rm -rf $root/srv/work
	"$here/fixture" work $root/srv/work
	chown -R "${work_owner:-0:0}" $root/srv/work
	[ -z "${work_mode:-}" ] || chmod -R "$work_mode" $root/srv/work
}

# changes COMMAND...: what it says, and the target's files after it.
changes() {
	work_anew
	"$@"
	echo "what is in the target:"
	"$here/fixture" show $root/srv/work
}

# same_changes FILE SCENARIO VARIANT...: and leaves the same behind.
same_changes() {
	local variant libc options wanted
	wanted=$(changes fs_play "$1" "$2" "$(fs_beside $native_libc)")
	its_own "$2" "$wanted"
	for variant in "${@:3}"; do
		read -r libc options <<<"$variant"
		# shellcheck disable=SC2086  # they are words
		is "$2 ($kind$variant)" "$(changes fs_play "$1" "$2" "$(fs_beneath "$libc" $options)")" "$wanted"
	done
}

# same_program NAME OPTIONS PROGRAM...: its output and status, and the target's files after it.
same_program() {
	local got wanted
	# shellcheck disable=SC2046,SC2086  # they are words
	wanted=$(changes outcome $(root_beside) "${@:3}") got=$(changes outcome $(beneath_root $2) "${@:3}")
	is "$1" "$got" "$wanted"
}
outcome() {
	timeout "$PATIENCE" "$@" 2>&1
	echo "status $?"
}

# nothing_kept WHEN: no copy of the target's files is on this machine.
nothing_kept() { is "$1: no copy stays" "$(find $T/xdg -mindepth 2 -printf '%P\n' | head)" ""; }

# same_as_server FILE SCENARIO LIBC: a mirrored guest sees what the target's own server sees at the same time.
same_as_server() {
	local sock=$guests/$3/sock transcript
	ports && transcript=$(converse --twin p "$1" "$2" "p=$(beside "$sock")" \
		"g=$(beneath "$sock" --incoming mirror)")
	case $transcript in
	*BUT\ THE\ TARGET* | converse:* | *$'\n'converse:*) fail "$2 ($3, mirror)" <<<"$transcript" ;;
	*) pass "$2 ($3, mirror)" ;;
	esac
}

# ---- nothing stays --------------------------------------------------------------------------------

# Programs on this machine, without this shell, its subshells (of one that is ending only the name is
# left) and this pipe.
processes() {
	ps -eo pid=,args= | awk -v test="$0" '
		!index($0, test) && $2 != "ps" && $2 !~ /awk|^\[bash\]/ { print $1, $2, $3, $4 }'
}

# Those that were not there when the target had been started.
strangers() { processes | awk 'NR == FNR { old[$1]; next } !($1 in old)' $T/known -; }

links_in_target() {
	bpftool link show | grep "netns_ino $(stat -Lc %i "/proc/$target/ns/net")"
}

# nothing_left WHEN: the target is as it was, and no process of ours lives.
nothing_left() {
	local what=$1
	await no_strangers
	is "$what: no process stays" "$(strangers)" ""
	is "$what: no BPF link and no nft rule stays" "$(links_in_target; in_target nft list ruleset)" ""
	is "$what: the target answers" "$(get)" "target nginx"
}

no_strangers() { [ -z "$(strangers)" ]; }
