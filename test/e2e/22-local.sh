#!/bin/bash
# The developer's side of a guest: local clients beside remote ones, ports that are taken, redis.
. "$(dirname "$0")/../lib.sh"
target_start

local_get() { curl --silent --max-time 5 "http://$1/"; }
stolen() { get | grep -q "the guest"; }
end() {
	kill -KILL $tracer
	status_of $tracer
}

trace --steal -- "$guests/musl/httpd" 80
await stolen
is "a free port is the same here" "$(local_get 127.0.0.1)" "httpd, the guest; you are ::ffff:127.0.0.1"
is "local clients over IPv6" "$(local_get '[::1]')" "httpd, the guest; you are ::1"
is "remote clients beside them" "$(get)" "httpd, the guest; you are ::ffff:$client_ip"
is "nothing is said" "$(cat err)" ""
end
nothing_left "local and remote clients"

# Somebody here has the port already.
"$guests/glibc/httpd" 80 >other.out &
other=$!
await says other.out ready
trace --steal -- "$guests/musl/httpd" 80
ok "a port that is taken here: remote clients are served" await stolen
is "a port that is taken here: one line" "$(grep -c ^mirrord-trace: err) of $(wc -l <err)" "1 of 1"
like "a port that is taken here: it says which" "$(cat err)" "mirrord-trace:*80*"
elsewhere=$(sed -n 's/.*[^0-9]\([0-9]\{4,5\}\)[^0-9]*.*/\1/p' err)
is "a port that is taken here: where it says the guest is" "$(local_get "127.0.0.1:$elsewhere")" \
	"httpd, the guest; you are ::ffff:127.0.0.1"
end
kill $other
status_of $other
nothing_left "a port that is taken here"

# -v: a line for each call that was handled.
trace -v --steal -- "$guests/musl/httpd" 80
await stolen
like "-v: bind" "$(grep ' bind(' err)" "mirrord-trace: \[*\] bind(*:80*) = 0*us)"
like "-v: listen, and what was decided" "$(grep ' listen(' err)" "*listen(*) = 0: steals the target's port 80 (* us)"
like "-v: the connection, with its client" "$(grep -m 1 ' connection from ' err)" "*$client_ip:* to $target_ip:80"
end
nothing_left "-v"

# The other names of a target.
touch blue && mount --bind "/proc/$target/ns/net" blue
"$mirrord_trace" --engine "$ENGINE" -t netns:$T/blue --steal -- "$guests/musl/httpd" 80 >out 2>err &
tracer=$!
ok "netns:PATH" await stolen
end
umount blue
nothing_left "netns:PATH"

# As somebody without privileges, through an agent that has them.
mkdir -m 755 bin && cp "$mirrord_trace" "$guests/musl/httpd" bin
"$mirrord_agent" --target "pid:$target" --listen tcp:127.0.0.1:7777 >agent.out 2>&1 &
agent=$!
await says agent.out "agent ready"
setpriv --reuid 65534 --regid 65534 --clear-groups bin/mirrord-trace --engine "$ENGINE" \
	--agent tcp:127.0.0.1:7777 --steal -- bin/httpd 80 >out 2>err &
tracer=$!
ok "a privileged port without privileges" await stolen
end
kill -KILL $agent
status_of $agent
nothing_left "without privileges"

# redis, whose effects can be seen: a stolen write is only here, a mirrored one in both places.
redis=(redis-server --bind 0.0.0.0 --protected-mode no --save '' --daemonize no --dir "$T")
ask() { "$1" redis-cli -h "$2" "${@:3}" 2>&1; }
here() { "$@"; }
ping_is_answered() { [ "$(ask "$@" ping)" = PONG ]; }

trace --steal -- "${redis[@]}"
await ping_is_answered client $target_ip
is "redis, steal: a write" "$(ask client $target_ip set who client)" OK
is "redis, steal: is read by a local client" "$(ask here 127.0.0.1 get who)" client
end

# man/mirrord-trace.1: a listener at loopback gets the target's traffic like any other.
trace --steal -- "${redis[@]}" --bind 127.0.0.1
ok "redis at loopback, steal: is reached at the target's address" await ping_is_answered client $target_ip
is "redis at loopback, steal: a write" "$(ask client $target_ip set who client)" OK
is "redis at loopback, steal: is read by a local client" "$(ask here 127.0.0.1 get who)" client
end
nothing_left "a listener at loopback"

in_target "${redis[@]}" >redis.out 2>&1 &
redis_there=$!
await ping_is_answered client $target_ip
trace -- "${redis[@]}"
mirrored() { ask client "$target_ip" set who both && [ "$(ask here 127.0.0.1 get who)" = both ]; }
ok "redis, mirror: a write is copied" await mirrored
is "redis, mirror: and done in the target" "$(ask in_target 127.0.0.1 get who)" both
end
in_target redis-cli shutdown
status_of $redis_there
nothing_left "redis"

# Loopback is the guest's own where it listens, and the target's again as soon as it does not.
is "a listener that is closed: loopback is the target's" "$(under -- $python -c "
import socket
def greet():
    s = socket.create_connection(('127.0.0.1', 80))
    s.sendall(b'GET / HTTP/1.0\r\n\r\n')
    return s.makefile().read().splitlines()[-1]
l = socket.create_server(('127.0.0.1', 80))
own = socket.create_connection(('127.0.0.1', 80))
l.accept()[0].sendall(b'the guest itself')
print(own.recv(100).decode())
l.close()
print(greet())" 2>&1)" "the guest itself
target nginx"
finish
