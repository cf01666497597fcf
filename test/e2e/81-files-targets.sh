#!/bin/bash
# The oracle of files in targets of other kinds: a user without rights, a root by chroot(2) with nothing but one
# static program, a read-only root, a container in a user namespace; and a developer without privileges.
#   ONLY=text: only the scenarios that have it in their name
. "$(dirname "$0")/../lib.sh"
target_root

read_here() { # SCENARIO...
	local scenario
	for scenario; do
		[[ $scenario != *${ONLY:-}* ]] || same_files "$here/e2e/scenarios/files" "$scenario" $native_libc
	done
}
write_here() {
	local scenario
	for scenario; do
		[[ $scenario != *${ONLY:-}* ]] ||
			same_changes "$here/e2e/scenarios/files-write" "$scenario" "$native_libc --fs-mode write"
	done
}

# ---- a user without rights -----------------------------------------------------------------------------------

as=(setpriv --reuid 1000 --regid 1000 --clear-groups)
target_as sleep "${as[@]}" sleep infinity
kind="uid 1000, "
read_here "a small file" "links" "rights" "rights of an open" "what stat says" "the working directory" "openat2" \
	"programs of the target" "volumes of Kubernetes" "attributes" "statx" "a directory's entries"
work_owner=0:0
write_here "write to a file" "a new file" "rename" "unlink" "chmod" "chown" "times" "mkdir and rmdir"
work_owner=1000:1000
write_here "write to a file" "a new file" "O_EXCL" "rename" "rename of directories" "unlink" "mkdir and rmdir" "link" \
	"symlink" "chmod" "chown" "times" "attributes" "mknod" "rights of the target" "the right to write" "O_TMPFILE gets a name" "the umask"
target_back

as=(setpriv --reuid 1234 --regid 1234 --groups "1000,5678")
target_as sleep "${as[@]}" sleep infinity
kind="a user with groups, "
read_here "rights" "rights of an open"
work_owner=0:5678 work_mode=g+w
write_here "write to a file" "a new file"
target_back
work_owner='' work_mode=''

# Root, without the capabilities that are the rights of root.
as=(setpriv --bounding-set "-dac_override,-dac_read_search,-fowner,-chown" --inh-caps=-all)
target_as sleep "${as[@]}" sleep infinity
kind="root without capabilities, "
read_here "rights" "rights of an open"
work_owner=1000:1000
write_here "write to a file" "a new file" "chmod" "chown" "unlink" "times" "the right to write"
target_back
work_owner=''

# ---- a root by chroot(2), with one static program ---------------------------------------------------------------

mkdir -p $root/scratch/data $root/scratch/srv $root/scratch/app $root/scratch/etc $root/scratch/proc
install -D "$guests/musl/fs" $root/scratch$T/bin/musl/fs
cp -a $root/data/{small,empty,secret,relative,absolute,up,outside,chain,dangling,loop-?,step*,dir,to-*,self,void} \
	$root/scratch/data
cp -a $root/app/config.ini $root/scratch/app
echo scratch >$root/scratch/etc/hostname
in_root mount -t proc proc /scratch/proc
mkfifo forever
native_libc=musl
target_as fs chroot /scratch $T/bin/musl/fs <>forever
kind="chroot, "
read_here "a small file" "slashes and dots" "links" "links that lead nowhere" "relative to a directory" "openat2" "what /proc says" "what is not there" "a directory's entries" \
	"stat of what is open is stat of its name"
target_back
native_libc=glibc

# ---- a root that is read-only ---------------------------------------------------------------------------------

target_as sleep unshare --mount sh -c 'mount -o remount,bind,ro / && exec sleep infinity'
kind="read-only root, "
read_here "a small file" "volumes of Kubernetes"
write_here "write to a file" "a new file" "O_EXCL" "O_CREAT and what is there" "rename" "unlink" "mkdir and rmdir" \
	"symlink" "chmod" "times" "attributes" "rights of the target" "the right to write" "O_TMPFILE"
target_back

# ---- a user namespace --------------------------------------------------------------------------------------------

target_as sleep unshare --user sleep infinity
anchor=$target # it has no user of the namespace; who enters it with a map has
echo "0 100000 65536" >"/proc/$anchor/uid_map"
echo "0 100000 65536" >"/proc/$anchor/gid_map"
enter=(--user)
target_as sleep sleep infinity
kind="user namespace, "
read_here "a small file" "rights" "rights of an open" "what stat says" "links" "statx"
work_owner=100000:100000
write_here "write to a file" "a new file" "chmod" "chown" "rename" "mkdir and rmdir" "mknod"
target_back
kill "$anchor"
work_owner=''

# ---- a developer without privileges ------------------------------------------------------------------------------

install -m 755 -D "$mirrord_trace" $T/bin/mirrord-trace
install -d -o 65534 -g 65534 -m 700 $T/xdg/nobody
"$mirrord_agent" --target "pid:$target" --listen tcp:127.0.0.1:7777 >agent.out 2>&1 &
agent=$!
await says agent.out "agent ready"
via="setpriv --reuid 65534 --regid 65534 --clear-groups env XDG_RUNTIME_DIR=$T/xdg/nobody
	$T/bin/mirrord-trace --agent tcp:127.0.0.1:7777"
kind="unprivileged, " only=without_owners # copies are the developer's own
read_here "links" "links that lead nowhere" "relative to a directory" "the working directory" "rights" "maps" \
	"a directory's entries" "programs of the target" "volumes of Kubernetes" "what /proc says" "openat2" \
	"rights of an open" "10,000 entries" "slashes and dots"
write_here "rename" "unlink" "link" "symlink" "mkdir and rmdir" "O_EXCL" "a lot of small writes" "O_APPEND" "mknod"
is "unprivileged: no copy stays" "$(find $T/xdg/nobody -mindepth 2 | head)" ""
kill -KILL $agent
status_of $agent

nothing_left "after all of them"
finish
