#!/bin/bash
# The target's environment and its host name, as programs of every kind see them.
. "$(dirname "$0")/../lib.sh"
target_start

# A process of the target with an environment of its own.
nsenter --target "$target" --net --mount --pid --uts env -i PATH=/target HOME=/target MIRRORD_TRACE_X=1 \
	DB_HOST=db DB_PASSWORD='s3 cr=t' ODD=$'a\nb\xff' SHARED=target /bin/sleep infinity &
await child_of $!
server=$child
await grep -qz '^DB_HOST=' "/proc/$server/environ" || fail "the target's server starts" </dev/null
nsenter --target "$target" --uts sh -c 'hostname shop-1; domainname cluster'

# beside_server [OPTION...] -- PROGRAM...
beside_server() { "$mirrord_trace" --engine "$ENGINE" -t "pid:$server" --incoming off "$@"; }
processes >$T/known # the server, too

# ours NAME...: those lines of env.
ours() { grep -E "^($(IFS='|' && echo "$*"))=" | sort; }

export SHARED=here OWN=here
is "the target's over our own" \
	"$(beside_server -- env | ours DB_HOST DB_PASSWORD SHARED OWN PATH HOME MIRRORD_TRACE_X)" \
	"DB_HOST=db
DB_PASSWORD=s3 cr=t
HOME=$HOME
OWN=here
PATH=$PATH
SHARED=target"
is "any bytes" "$(beside_server -- $python -c 'import os; print(os.environb[b"ODD"])')" \
	"b'a\\nb\\xff'"
is "--no-env" "$(beside_server --no-env -- env | ours DB_HOST SHARED OWN)" "OWN=here
SHARED=here"
is "--env-include" "$(beside_server --env-include 'DB_*' -- env | ours DB_HOST SHARED)" "DB_HOST=db
SHARED=here"
is "--env-exclude" "$(beside_server --env-exclude 'DB_*,ODD' -- env | ours DB_HOST DB_PASSWORD SHARED)" \
	"SHARED=target"
printf 'export SHARED="file" # a comment\nFROM_FILE=1\n' >vars
is "--env-file, --env-map, --env" \
	"$(beside_server --env-file vars --env-map ^DB_HOST$=other --env X=1 --env FROM_FILE=2 -- env |
		ours SHARED FROM_FILE DB_HOST X)" "DB_HOST=other
FROM_FILE=2
SHARED=file
X=1"
is "--env-unset '*'" \
	"$(beside_server --env-unset '*' --env-include DB_HOST --env X=1 -- env)" "DB_HOST=db
X=1"
is "children have it, too" "$(beside_server -- sh -c 'env' | ours DB_HOST)" DB_HOST=db
is "no value is shown with -v" "$(beside_server -v -- true 2>&1 | grep -c s3)" 0
echo "A B" >bad
like "a bad line of --env-file is named" "$(beside_server --env-file bad -- true 2>&1)" \
	"mirrord-trace: bad:1: a line is NAME=VALUE*"
is "a namespace has none" \
	"$("$mirrord_trace" -t "netns:/proc/$target/ns/net" --incoming off -- env | ours DB_HOST OWN)" OWN=here
is "nor has no target at all" \
	"$("$mirrord_trace" -t targetless --env X=1 -- env | ours X SHARED)" "SHARED=here
X=1"

names='import os; u = os.uname(); print(u.nodename, u.sysname, u.release == "'$(uname -r)'")'
is "uname" "$(beside_server -- uname -n)" shop-1
is "hostname" "$(beside_server -- hostname)" shop-1
is "domainname" "$(beside_server -- domainname)" cluster
is "python" "$(beside_server -- $python -c "$names")" "shop-1 Linux True"
is "node" "$(beside_server -- node -p 'require("os").hostname()')" shop-1
is "Go" "$(beside_server -- "$guests/hostname-go")" shop-1
is "musl" "$(beside_server -- "$guests/musl/hostname")" "shop-1 cluster EFAULT"
is "glibc" "$(beside_server -- "$guests/glibc/hostname")" "shop-1 cluster EFAULT"
is "setarch" "$(beside_server -- setarch i686 --uname-2.6 uname -nrm)" \
	"shop-1 $(setarch i686 --uname-2.6 uname -rm)"
is "a namespace of the program's own" \
	"$(beside_server -- unshare --uts sh -c 'hostname mine; hostname')" mine
# In a namespace of its own the supervisor risks no name but that.
is "the host name is not changed" \
	"$(unshare --uts "$mirrord_trace" --engine "$ENGINE" -t "pid:$server" --incoming off -- \
		sh -c 'hostname other 2>/dev/null; echo $?; hostname')" "1
shop-1"
is "--no-hostname" "$(beside_server --no-hostname -- hostname)" "$(hostname)"

nothing_left "after all of them"
finish
