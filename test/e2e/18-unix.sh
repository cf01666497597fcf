#!/bin/bash
# The oracle for unix sockets of the target (--unix-remote).
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
mkdir $T/pod
target_start
in_target mount -t tmpfs tmpfs $T/pod

scenarios=$here/e2e/scenarios/unix
while IFS=$'\t' read -r name where; do
	[[ $name == *${ONLY:-}* ]] || continue
	[ "$where" != notification ] || [ "$ENGINE" != ptrace ] || continue
	for libc in glibc musl; do
		converse "$scenarios" "$name" "g=$(beside "$guests/$libc/sock")" >wanted
		in_target find $T/pod -type s -delete
		converse "$scenarios" "$name" "g=$(beneath "$guests/$libc/sock" --incoming off \
			--unix-remote "^(/run/test/pod|@pod)")" >got
		in_target find $T/pod -type s -delete
		is "$name ($libc)" "$(<got)" "$(<wanted)"
	done
done < <("$here/converse" --list "$scenarios")

nothing_left "after all of them"
finish
