#!/bin/bash
# The oracle of files: a guest sees of the target's files what it sees in the target.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_root

scenarios=$here/e2e/scenarios/files
while IFS=$'\t' read -r name where; do
	[[ $name == *${ONLY:-}* ]] || continue
	[ "$where" != legacy ] || [ "$(uname -m)" = x86_64 ] || continue
	same_files "$scenarios" "$name" glibc musl
done < <("$here/converse" --list "$scenarios")

nothing_kept "after all of them"
nothing_left "after all of them"
finish
