#!/bin/bash
# The oracle of files that change: by the guest (--fs-mode write), and under it. What a guest leaves in the
# target is what the same program leaves there that runs in it.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_root

play() { # FILE VARIANT...
	local file=$here/e2e/scenarios/$1 name where
	while IFS=$'\t' read -r name where; do
		[[ $name == *${ONLY:-}* ]] || continue
		[ "$where" != legacy ] || [ "$(uname -m)" = x86_64 ] || continue
		same_changes "$file" "$name" "${@:2}"
	done < <("$here/converse" --list "$file")
}
play files-changed glibc musl "glibc --fs-mode write"
play files-write "glibc --fs-mode write" "musl --fs-mode write"

nothing_kept "after all of them"
nothing_left "after all of them"
finish
