#!/usr/bin/env bash
# Boots the test workstation: workstation.py runs it as the first process in there, on a disk that outlives it.
# Arguments: the disk's folder, the far Python's own prefix or "", its site-packages, then every folder to hide.
set -euo pipefail
disk=$1 prefix=$2 site=$3
shift 3
root=$disk/root
echo "namespaces"

mount -t overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" root "$root"

# Read from outside before what lies there is hidden.
if [ -n "$prefix" ]; then
  mount --bind "$prefix" "$root/opt/python"
  mount -o remount,bind,ro "$root/opt/python"
fi
mount -t overlay -o "ro,lowerdir=$disk/hidden:$site" site "$root"/opt/environment/lib/python3.*/site-packages
for folder in "$@"; do
  [ -d "$root$folder" ] && mount -t tmpfs -o mode=755 hidden "$root$folder"
done
chmod 1777 "$root/tmp" "$root/var/tmp"

mount -t proc proc "$root/proc"
mount --bind "$disk/boot_id" "$root/proc/sys/kernel/random/boot_id"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir "$root/run/sshd" "$root/run/lock"
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  IFS=: read -r name major minor <<< "$device"
  mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

mkdir -p "$root/home/me"
mount --bind "$disk/home" "$root/home/me"
if [ ! -e "$disk/installed" ]; then
  # An account of that name on this machine stays there; in here it is another.
  chroot "$root" userdel me 2> /dev/null || true
  chroot "$root" useradd --no-create-home --home-dir /home/me --shell /bin/bash --password '*' me
  cp -rT "$root/etc/skel" "$root/home/me"
  chroot "$root" chown -R me:me /home/me
  # A Python that was moved does not find its own library where it was built to look.
  if compgen -G "$root/opt/python/lib/libpython*" > /dev/null; then
    echo /opt/python/lib > "$root/etc/ld.so.conf.d/00-python.conf"
    chroot "$root" ldconfig
  fi
  touch "$disk/installed"
fi

hostname workstation
cd "$root"
pivot_root . mnt
umount --lazy /mnt
cd /
echo "up"
# Reaps whatever is orphaned in here, until whoever started it is gone.
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ bash -c 'while read -r _; do :; done'
