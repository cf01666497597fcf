#!/bin/bash
# A real containerd container as the target, its image made here, without a registry.
. "$(dirname "$0")/../lib.sh"

for tool in containerd ctr runc; do
	command -v $tool >/dev/null || {
		skip "a containerd container" "there is no $tool"
		finish
	}
done
target_start # for the client; its target is replaced by the container

mkdir -p root state image/blobs/sha256
cat >config.toml <<END
version = 2
root = "$T/root"
state = "$T/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$T/containerd.sock"
END
containerd --config config.toml >containerd.log 2>&1 &
containerd=$!
ctr() { command ctr --address $T/containerd.sock "$@"; }
await ctr version || fail "containerd starts" <containerd.log

# An OCI image of one file: blob FILE prints the descriptor of FILE, which becomes a blob.
blob() { # MEDIA-TYPE FILE
	local digest
	digest=$(sha256sum "$2" | cut -d' ' -f1)
	echo "{\"mediaType\": \"$1\", \"digest\": \"sha256:$digest\", \"size\": $(stat -c %s "$2")}"
	mv "$2" "image/blobs/sha256/$digest"
}
oci=application/vnd.oci.image
mkdir data && echo "a file of the image" >data/file && ln -s ../../../data/file data/link
cp "$guests/musl/httpd" httpd && tar -cf layer httpd data
diff_id=$(sha256sum layer | cut -d' ' -f1)
layer=$(blob $oci.layer.v1.tar layer)
cat >config <<END
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "config": {"Cmd": ["/httpd", "80"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$diff_id"]}}
END
config=$(blob $oci.config.v1+json config)
echo "{\"schemaVersion\": 2, \"config\": $config, \"layers\": [$layer]}" >manifest
manifest=$(blob $oci.manifest.v1+json manifest)
echo "{\"schemaVersion\": 2, \"manifests\": [${manifest%\}}, \"annotations\":
 {\"io.containerd.image.name\": \"test.invalid/httpd:1\"}}]}" >image/index.json
echo '{"imageLayoutVersion": "1.0.0"}' >image/oci-layout
tar -C image -cf image.tar .

id=4f1d$(tr -dc a-f0-9 </dev/urandom | head -c 60)
ok "the image is imported" ctr image import image.tar
ok "the container starts" ctr run --detach --snapshotter native test.invalid/httpd:1 "$id"
container=$(ctr task ls | awk -v id="$id" '$1 == id { print $2 }')

# The client's link goes to the container instead.
nsenter --target "$target" --net ip link set target0 netns "$container"
nsenter --target "$container" --net ip -batch - <<END
link set lo up
addr add $target_ip/24 dev target0
link set target0 up
END

answer() { get "http://$target_ip/"; }
like "the container answers" "$(answer)" "httpd, the guest*"

stolen() { answer | grep -q "your own program"; }
for name in "$id" "${id:0:12}"; do
	"$mirrord_trace" --engine "$ENGINE" --steal -t "container:$name" -- "$guests/demo-server" :80 >out 2>err &
	tracer=$!
	await stolen
	like "container:${name:0:6}… (${#name} digits): stolen" "$(answer; cat err)" "your own program*you are $client_ip:*"
	kill -KILL $tracer
	status_of $tracer
	like "container:${name:0:6}…: killed, the container answers" "$(answer)" "httpd, the guest*"
done

files() { env -u MIRRORD_TRACE_FS_MODE "$mirrord_trace" --engine "$ENGINE" -t "container:$id" --incoming off "$@" 2>&1; }
is "files of the image" "$(files -- cat /data/file /data/link; files -- ls /data)" "a file of the image
a file of the image
file
link"
is "a file that is written there" "$(files --fs-mode write -- sh -c 'echo new >/data/new && cat /data/new')" new
is "and is there" "$(cat "/proc/$container/root/data/new")" new
is "--fs-mode local" "$(files --fs-mode local -- ls /data/file | tail -n 1)" \
	"ls: cannot access '/data/file': No such file or directory"

ctr task kill --signal KILL "$id"
await ctr task delete "$id" || fail "the container ends" </dev/null
ctr container delete "$id"
kill $containerd
status_of $containerd
finish
