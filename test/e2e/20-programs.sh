#!/bin/bash
# Programs as people have them, on port 80, which the target's nginx holds: stolen, and mirrored.
. "$(dirname "$0")/../lib.sh"
target_start

mkdir -p files && echo "http.server, the guest" >files/page
cat >guest.conf <<END
user root;
pid $T/guest.pid;
error_log stderr;
worker_processes 4;
events {}
http {
	log_format from '\$request from \$remote_addr';
	access_log /dev/stdout from;
	server {
		listen 80;
		listen [::]:80 ipv6only=on;
		return 200 "nginx, the guest; you are \$remote_addr\n";
	}
}
END

cat >answer <<'END'
#!/bin/sh
read -r request
echo "$request from $SOCAT_PEERADDR" >&2
printf 'HTTP/1.0 200 OK\r\nContent-Length: 17\r\n\r\nsocat, the guest\n'
END
chmod +x answer

stolen() { get "$url" | grep -q "the guest"; }
mirrored() { get "$url" >/dev/null && logged; }
logged() { cat out err | grep -e "$client_ip.*$path" -e "$path.*$client_ip" -q; }

# program NAME COMMAND...: serves files/page, or says who asked; its log has the client's address.
program() {
	local name=$1
	shift
	path=/page url=http://$target_ip/page
	trace --steal -- "$@"
	await stolen || show_failure "$name, steal: the client gets the guest's answer"
	is "$name, steal: 40 requests, 40 answers" \
		"$(client curl --max-time 20 -Z --parallel-max 8 "$url?[1-40]" 2>/dev/null |
			grep -c 'the guest')" 40
	ok "$name, steal: it knows the client's address" logged
	end_guest "$name, steal"

	path=/page url=http://$target_ip/page
	trace -- "$@"
	if await mirrored; then
		pass "$name, mirror: it gets a copy with the client's address"
	else
		show_failure "$name, mirror: it gets a copy with the client's address"
	fi
	is "$name, mirror: the client gets the target's answer" "$(get "$url")" "target nginx"
	end_guest "$name, mirror"
}

show_failure() {
	fail "$1" < <(
		tail -n 5 out err
		ps -A -o pid,ppid,stat,wchan:20,pending,blocked,args
	)
}

# SIGTERM to each process of the guest, until there is none: what they make of it is their business.
end_guest() { # WHEN
	await guest_ended || show_failure "$1: it ends on SIGTERM"
	status_of $tracer
	nothing_left "$1, after its end"
}

guest_ended() {
	local pid
	for pid in $(ps -o pid= --ppid "$tracer"); do
		[ "$(cat "/proc/$pid/comm")" = mirrord-agent ] || kill -TERM "$pid"
	done
	gone "$tracer"
}

program "static Go" "$guests/demo-server" :80
program "node" node "$here/guest/server.js" 80
program "python asyncio" $python "$here/guest/server.py" 80
program "python http.server" $python -u -m http.server --directory files 80
program "static musl C" "$guests/musl/httpd" 80
program "nginx with 4 workers" nginx -c $T/guest.conf -g 'daemon off;'
program "nginx as a daemon" nginx -c $T/guest.conf
program "socat" socat TCP-LISTEN:80,fork,reuseaddr SYSTEM:$T/answer
program "a pipeline with an empty environment" \
	sh -c "true | exec env -i '$guests/musl/httpd' 80 | cat"

finish
