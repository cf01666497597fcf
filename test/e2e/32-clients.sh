#!/bin/bash
# Real clients, of servers in the target and beyond it: they print what they print in the target.
#   ONLY=text: only the programs that have it in their name
PATIENCE=${PATIENCE:-60}
. "$(dirname "$0")/../lib.sh"
target_start

# ---- the servers ----------------------------------------------------------------------------------------

# Beyond the target: an nginx in the client's place, which says whom it sees.
mkdir -p beyond
cat >beyond/nginx.conf <<END
user root;
daemon off;
pid nginx.pid;
error_log error.log;
events {}
http {
	access_log off;
	server {
		listen $client_ip:80;
		listen [$client_ip6]:80;
		return 200 "nginx beyond the target; you are \$remote_addr\n";
	}
}
END
client nginx -p $T/beyond/ -c nginx.conf &

# On the target's loopback, as a sidecar is: redis and PostgreSQL.
in_target redis-server --bind 127.0.0.1 --save '' --daemonize no --dir $T >redis.out 2>&1 &
postgres=/usr/lib/postgresql/15/bin
as_postgres=(setpriv --reuid postgres --regid postgres --clear-groups)
mkdir -m 700 pg && chown postgres:postgres pg
"${as_postgres[@]}" $postgres/initdb -D $T/pg -A trust -N >initdb.out 2>&1 || fail "initdb" <initdb.out
in_target "${as_postgres[@]}" $postgres/postgres \
	-D $T/pg -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off >pg.out 2>&1 &
await in_target redis-cli ping
await in_target psql -h 127.0.0.1 -U postgres -c 'select 1' || fail "PostgreSQL serves in the target" <pg.out
await in_target curl -s http://$client_ip/ || fail "nginx serves beyond the target" <beyond/error.log
processes >$T/known

# ---- the clients ----------------------------------------------------------------------------------------

urls=("http://$client_ip/" "http://[$client_ip6]/" "http://$target_ip/" http://127.0.0.1/ "http://[::1]/"
	"http://$client_ip:81/" "http://[$client_ip6]:81/" http://127.0.0.1:81/)
# That there is no route is known at once in the target, and a round trip later here. node and asyncio say
# the one in other words than the other.
nowhere=http://203.0.113.1/

# of COMMAND...: what it says and how it ends; not when, and not how long it took.
of() {
	timeout --foreground "$PATIENCE" "$@" </dev/null 2>&1 | sed 's/ after [0-9]* ms//; s/.* socat\[[0-9]*\]/socat/'
	echo "status ${PIPESTATUS[0]}"
}
beneath_us=("$mirrord_trace" --engine "$ENGINE" -t "pid:$target" --incoming off --)
in_the_target=(nsenter --target "$target" --net --mount --pid --uts)

# same_program NAME COMMAND...
same_program() {
	local wanted got
	[[ $1 == *${ONLY:-}* ]] || return
	wanted=$(of "${in_the_target[@]}" "${@:2}")
	got=$(of "${beneath_us[@]}" "${@:2}")
	is "$1" "$got" "$wanted"
}

for url in "${urls[@]}" $nowhere; do
	same_program "curl $url" curl -sS "$url"
done
same_program "curl, 40 at once" sh -c "curl -Z --parallel-max 40 'http://$client_ip/?[1-40]' 2>/dev/null"
same_program "static Go" "$guests/fetch" "${urls[@]}" $nowhere
same_program "node: fetch and net.connect" node "$here/guest/client.js" "${urls[@]}"
same_program "python: urllib and asyncio" $python "$here/guest/client.py" "${urls[@]}"
same_program "Java: HttpClient" java -XX:TieredStopAtLevel=1 "$here/guest/Client.java" "${urls[@]}" $nowhere

same_program "psql" psql -h 127.0.0.1 -U postgres -c "select inet_client_addr(), inet_server_addr(), 6 * 7 as n"
same_program "psql: a big answer" psql -h 127.0.0.1 -U postgres -Atc \
	"select count(*), md5(string_agg(x, '')) from (select repeat(n::text, 100) x from generate_series(1, 5000) n) t"
# shellcheck disable=SC2016  # the guest's shell expands it
same_program "psql: many rows, piped" sh -c \
	'psql -h 127.0.0.1 -U postgres -Atc "select n, md5(n::text) from generate_series(1, 50000) n" | md5sum'
same_program "psql: a port where nobody listens" psql -h 127.0.0.1 -p 5433 -U postgres -c "select 1"

same_program "redis-cli" redis-cli set who guest
is "redis-cli: the target's redis has it" "$(in_target redis-cli get who)" guest
same_program "redis-cli: a port where nobody listens" redis-cli -p 6380 ping
# shellcheck disable=SC2016
same_program "redis-cli, pipelined" bash -c \
	'for i in {1..20000}; do echo "set key$i $i"; done | redis-cli --pipe | tail -n 1; redis-cli dbsize'
# shellcheck disable=SC2016
same_program "bash: /dev/tcp" bash -c \
	'exec 3<>/dev/tcp/127.0.0.1/6379 && printf "PING\r\nQUIT\r\n" >&3 && cat <&3
	exec 4<>/dev/tcp/'$client_ip'/81'
same_program "socat" socat -t 5 - "TCP:$client_ip:81"

# ---- many, and much (test/guest/load.c) ------------------------------------------------------------------

load=$guests/glibc/load
gib=$((1 << 30))
ports
client "$load" serve $port 4003 >served.out &
server=$!
await says served.out ready
run() { of "${beneath_us[@]}" "$load" run $client_ip $port "$@"; }
right() { printf '%d connections right, 0 wrong\nstatus 0' "$1"; }
is "1 GiB from the guest" "$(run sink 1 1 $gib)" "$(right 1)"
is "1 GiB to the guest" "$(run source 1 1 $gib)" "$(right 1)"
is "64 MiB there and back at once" "$(run both 1 1 $((1 << 26)))" "$(right 1)"
is "1,000 connections at once" "$(run both 1000 1000 100000)" "$(right 1000)"
is "3,000 connections, eight at a time" "$(run both 3000 8 1000)" "$(right 3000)"
status_of $server
is "the server has seen the same" "$(sed 1d served.out)" "size $gib received $gib: complete
served 4003 connections, 0 wrong"

nothing_left "after all of them"
finish
