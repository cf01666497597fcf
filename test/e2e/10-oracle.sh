#!/bin/bash
# The oracle: a program must see the same in the target's namespaces and under the supervisor.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_start

for file in incoming errors; do
	scenarios=$here/e2e/scenarios/$file
	while IFS=$'\t' read -r name where; do
		[[ $name == *${ONLY:-}* ]] || continue
		same "$scenarios" "$name" "glibc --steal" "musl --steal"
		[ "$file$where" = incoming ] || continue
		for libc in glibc musl; do
			same_as_server "$scenarios" "$name" $libc
		done
	done < <("$here/converse" --list "$scenarios")
done

nothing_left "after all of them"
finish
