#!/bin/bash
# Names: each kind of resolver gets the answers that it gets in the target, and nobody on this side
# is asked.
. "$(dirname "$0")/../lib.sh"
target_start
target_etc

cat >$etc/resolv.conf <<-END
	nameserver $target_ip
	search shop.test svc.test
	options ndots:2
END
cat >$etc/hosts <<-END
	127.0.0.1 localhost
	10.77.0.99 inhosts.shop.test inhosts
END
echo "nameserver 127.0.0.1" >$own/resolv.conf
echo "hosts: resolve mdns4_minimal files dns" >$own/nsswitch.conf

# name_server PLACE CONFIGURATION...
name_server() {
	"$1" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --no-poll \
		--user=root --pid-file= --bind-interfaces --log-queries --log-facility=- "${@:2}" &
}
big=()
for i in {1..150}; do big+=("--host-record=big.shop.test,10.77.1.$i"); done
name_server in_target --listen-address=$target_ip --local=/test/ --host-record=db.shop.test,10.77.0.21,fd77::21 \
	--host-record=four.shop.test,10.77.0.22 --host-record=six.svc.test,fd77::22 \
	--cname=www.shop.test,db.shop.test "${big[@]}" >there.log 2>&1
answered() { in_target dig +short +tries=1 @"$target_ip" db.shop.test | grep -q 10.77.0.21; }
await answered || fail "the target's name server answers" <there.log
here() { "$@"; }
name_server here --listen-address=127.0.0.1 --address=/local.test/192.0.2.7 --address=/#/192.0.2.1 >>here.log 2>&1
answered() { dig +short +tries=1 @127.0.0.1 db.shop.test | grep -q 192.0.2.1; }
await answered || fail "this machine's name server answers" <here.log

# Whoever is asked here says so.
cat >trap.py <<'END'
import os, socket, sys, threading
def serve(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    while True:
        s.accept()[0].close()
        print("asked:", path, flush=True)
for path in sys.argv[1:]:
    threading.Thread(target=serve, args=(path,)).start()
print("ready", flush=True)
END
$python trap.py /run/nscd/socket /run/systemd/resolve/io.systemd.Resolve /run/avahi-daemon/socket >>trap.out 2>&1 &
await says trap.out ready
for place in nscd systemd avahi-daemon; do in_target mount -t tmpfs tmpfs /run/$place; done
getent hosts is.there.a.trap >/dev/null
is "the trap works" "$(sort -u trap.out | grep nscd)" "asked: /run/nscd/socket"
echo ready >trap.out
: >here.log

processes >$T/known # the servers, too

alike() { # NAME PROGRAM...
	is "$1" "$(under -- "${@:2}" 2>&1)" "$(in_target "${@:2}" 2>&1)"
}
names=(db db.shop.test db.shop.test. six four www inhosts nowhere nowhere.shop.test. localhost)
alike "glibc" "$guests/glibc/resolve" "${names[@]}" -4 db six -6 db four
alike "musl" "$guests/musl/resolve" "${names[@]}" -4 db six -6 db four
alike "Go" "$guests/resolve-go" "${names[@]}"
alike "node" node "$here/guest/resolve.js" "${names[@]}"
alike "python" $python -c 'import socket, sys
for name in sys.argv[1:]:
    try:
        print(name, sorted({a[4][0] for a in socket.getaddrinfo(name, 80)}))
    except OSError as e:
        print(name, e)' "${names[@]}"
alike "Java" java -cp "$guests" Resolve "${names[@]}"
alike "a long answer, glibc" "$guests/glibc/resolve" big
alike "a long answer, Go" "$guests/resolve-go" big
# Some resolvers take what fits into the datagram, and the server begins with another record each time.
alike "a long answer, musl: how many" sh -c "$guests/musl/resolve big | wc -w"
for options in "" "+tcp" "+ignore" "+noedns" "-x 10.77.0.21" "-t AAAA"; do
	alike "dig $options" sh -c "dig +noall +answer +comments +search $options db | sed 's/, id: [0-9]*//'"
done
is "nobody here was asked" "$(cat here.log)" ""
is "neither nscd nor resolved nor mDNS were asked" "$(cat trap.out)" ready

# Who resolves what.
is "--dns-local" "$(under --dns-local local.test -- "$guests/glibc/resolve" -4 local.test. db)" \
	"local.test.: 192.0.2.7
db: 10.77.0.21"
is "--dns-remote" "$(under --dns-remote 'db,*.svc.test' -- "$guests/musl/resolve" -4 db local.test.)" \
	"db: 10.77.0.21
local.test.: 192.0.2.7"
is "--outgoing-local: its names" "$(under --outgoing-local local.test:80 -- "$guests/resolve-go" local.test.)" \
	"local.test.: 192.0.2.7 <nil>"
is "--outgoing-remote: the name server is the target's" \
	"$(under --outgoing-remote db:80 -- "$guests/glibc/resolve" -4 db)" "db: 10.77.0.21"
is "--no-dns, musl" "$(under --no-dns -- "$guests/musl/resolve" -4 local.test. db)" "local.test.: 192.0.2.7
db: 192.0.2.1"
is "--no-dns, Go" "$(under --no-dns -- "$guests/resolve-go" local.test.)" "local.test.: 192.0.2.7 <nil>"
is "--no-dns, over TCP" "$(under --no-dns -- dig +short +tcp +tries=1 +time=2 local.test)" "192.0.2.7"

nothing_left "after all of them"
finish
