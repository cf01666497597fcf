#!/bin/bash
# The oracle: a program must see the same in the target's namespaces and under the supervisor.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_start

beside() { echo "nsenter --target $target --net --mount --pid --uts $1"; }
beneath() { echo "$mirrord_trace --engine $ENGINE --incoming $1 -t pid:$target -- $2"; }

play() { # [--twin SIDE] FILE SCENARIO SIDE...
	"$here/converse" --base $port "$@" "t=$(beside "$guests/glibc/sock")" \
		"c=nsenter --target $client --net $guests/glibc/sock" 2>&1
}

steal() { # FILE SCENARIO LIBC
	local sock=$guests/$3/sock wanted got
	ports && wanted=$(play "$1" "$2" "g=$(beside "$sock")")
	ports && got=$(play "$1" "$2" "g=$(beneath steal "$sock")")
	is "$2 ($3, steal)" "$got" "$wanted"
}

# A mirrored guest must see what the target's own server sees at the same time.
mirror() { # FILE SCENARIO LIBC
	local sock=$guests/$3/sock transcript
	ports && transcript=$(play --twin p "$1" "$2" "p=$(beside "$sock")" "g=$(beneath mirror "$sock")")
	case $transcript in
	*BUT\ THE\ TARGET* | converse:* | *$'\n'converse:*) fail "$2 ($3, mirror)" <<<"$transcript" ;;
	*) pass "$2 ($3, mirror)" ;;
	esac
}

for file in incoming errors; do
	scenarios=$here/e2e/scenarios/$file
	while IFS=$'\t' read -r name where; do
		[[ $name == *${ONLY:-}* ]] || continue
		for libc in glibc musl; do
			steal "$scenarios" "$name" $libc
			[ "$file$where" = incoming ] && mirror "$scenarios" "$name" $libc
		done
	done < <("$here/converse" --list "$scenarios")
done

nothing_left "after all of them"
finish
