#!/bin/sh
# Makes the images that the tests use, in the directory $1. $2 is a Debian root
# filesystem.
set -eu
cd "$1"
debian=$2

# umoci: three layers with all that a layer can do to those below it. umoci
# writes no parent directories into its layers, so that the upper ones depend
# on the lower.
umoci init --layout img
umoci new --image img:latest
layer() { # NAME: a layer from the script on stdin, which runs in the rootfs
	umoci unpack --image img:latest "$1" >/dev/null
	(cd "$1/rootfs" && sh -eu -s)
	umoci repack --image img:latest "$1" >/dev/null
	rm -rf "$1"
}
layer base <<'END'
mkdir -p bin etc tmp var/lib/x usr/bin opt/d/e opt/gone/deep opt/opaque home/app run
chmod 1777 tmp; chmod 700 home/app; chown 1000:1000 home/app
cp /bin/busybox bin/
for a in sh ls cat id env echo sleep true false hostname stat ps mount touch rm df mkdir sort find head grep test; do ln -s busybox bin/$a; done
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n' >etc/passwd
printf 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n' >etc/group
echo one >opt/d/one; ln opt/d/one opt/d/one2; chown 1000:2000 opt/d/one
echo f >opt/d/e/f; echo g >opt/gone/deep/g; echo lower >opt/opaque/lower
cp bin/busybox bin/suid; chmod 4755 bin/suid
cp bin/busybox bin/capable; setcap cap_net_raw+ep bin/capable
mkfifo tmp/fifo; mknod opt/null c 1 3; mknod opt/loop b 7 0
setfattr -n user.note -v hello opt/d; setfattr -n user.empty opt/d/one
setfacl -m u:1000:r opt/d/e/f; setfacl -d -m g:2000:rx opt/d/e
echo acl >opt/acl; setfacl -m u:1000:r,g:2000:rw opt/acl
truncate -s 20M opt/sparse; printf x | dd of=opt/sparse bs=1 seek=10000000 conv=notrunc 2>/dev/null
printf 'latin1' >"opt/$(printf 'caf\351')"
mkdir -p "opt/$(printf 'l%.0s' $(seq 200))/$(printf 'm%.0s' $(seq 200))"
echo long >"opt/$(printf 'l%.0s' $(seq 200))/$(printf 'm%.0s' $(seq 200))/$(printf 'n%.0s' $(seq 200))"
ln -s /etc/passwd opt/absolute; ln -s ../../../../../../etc/passwd opt/climbing; ln -s nowhere opt/dangling
touch -d '2001-02-03 04:05:06.789012345' opt/d/one
echo 'a name' >'opt/with space:and,comma\and"quote'
END
layer change <<'END'
rm -rf opt/d/e opt/gone; rm opt/d/one2
echo two >opt/d/two; ln opt/d/one opt/d/linked
rm -rf opt/opaque; mkdir opt/opaque; echo upper >opt/opaque/upper
chmod 751 home/app
rm bin/suid; mkdir bin/suid; echo dir >bin/suid/file
touch -d '1999-12-31 23:59:59.5' opt
END
layer top <<'END'
rm -rf var/lib/x; mkdir opt/d/e; echo new >opt/d/e/n
rm opt/null; ln -s d opt/null
mkdir -p deep/er/est; echo x >deep/er/est/x
END
umoci config --image img:latest --config.cmd /bin/sh --config.env A=1 --config.env LANG=C --config.workingdir /srv/work \
	--config.exposedports 80/tcp --config.exposedports 53/udp --config.label k=v --config.stopsignal SIGINT --config.volume /opt/d
cp -a img img2 && umoci config --image img2:latest --config.user app --config.entrypoint /bin/echo --config.cmd hi

# skopeo: the same image in other dresses.
skopeo copy -q oci:img:latest oci-archive:img.oci.tar:latest
skopeo copy -q oci:img:latest docker-archive:img.docker.tar:example.org/img:v1
skopeo copy -q --dest-compress-format zstd oci:img:latest oci:zstd:latest
gzip -k img.docker.tar

# An index with images for several machines.
cp -a img multi
manifest=$(jq -r '.manifests[0].digest' img/index.json)
size=$(jq -r '.manifests[0].size' img/index.json)
arch=$(dpkg --print-architecture)
jq -n --arg d "$manifest" --argjson s "$size" --arg a "$arch" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [
	{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: ("sha256:" + ("0" * 64)), size: 1, platform: {os: "linux", architecture: "s390x"}},
	{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s, platform: {os: "linux", architecture: $a}}]}' >index
digest=$(sha256sum index | cut -d' ' -f1)
isize=$(stat -c %s index)
mv index "multi/blobs/sha256/$digest"
jq -n --arg d "sha256:$digest" --argjson s "$isize" '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.index.v1+json", digest: $d, size: $s, annotations: {"org.opencontainers.image.ref.name": "latest"}}]}' >multi/index.json

# buildah: a Debian of several layers.
chmod -R a+rX .
[ -n "$debian" ] || exit 0
export STORAGE_DRIVER=overlay
buildah="buildah --root $1/.buildah --runroot $1/.buildah-run"
c=$($buildah from scratch)
$buildah copy -q "$c" "$debian" / >/dev/null
$buildah config --cmd /bin/bash "$c"
$buildah commit -q "$c" oci:debian:base >/dev/null
c=$($buildah from oci:debian:base 2>/dev/null)
$buildah run --isolation chroot "$c" sh -c 'rm -rf /usr/share/doc/base-files && mkdir /usr/share/doc/base-files && echo x >/usr/share/doc/base-files/x; rm -f /etc/motd; ln /etc/passwd /etc/passwd.link; chmod 600 /etc/issue'
$buildah commit -q "$c" oci:debian:latest >/dev/null 2>&1
$buildah rm -a >/dev/null
rm -rf .buildah .buildah-run
