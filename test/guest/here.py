"""here.py DIRECTORY PLACE: from DIRECTORY changes this machine's files beneath PLACE, as root and as somebody else, and says
what came of each call."""

import ctypes
import errno
import os
import stat
import sys

NOBODY = 65534
libc = ctypes.CDLL(None, use_errno=True)


def watch(path):
    inotify = libc.inotify_init()
    if libc.inotify_add_watch(inotify, path.encode(), 0x100) < 0:  # IN_CREATE
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    open(path + "/seen", "w").close()
    os.unlink(path + "/seen")
    return os.read(inotify, 4096)[16:].rstrip(b"\0")


def tell(call, *args, **more):
    try:
        result = call(*args, **more)
    except OSError as e:
        result = errno.errorcode[e.errno]
    print(call.__name__, *args, result)


def show(top):
    for name in sorted(os.listdir(top)):
        st = os.lstat(os.path.join(top, name))
        words = [name, stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_nlink]
        if stat.S_ISREG(st.st_mode):
            words += [st.st_size, st.st_atime_ns, st.st_mtime_ns]
        print("   ", *words)


def changes(top, own, dot):
    at = {"src_dir_fd": dot, "dst_dir_fd": dot} if not os.path.isabs(top) else {}
    tell(os.mkdir, f"{own}/dir", 0o777)
    tell(os.mkdir, f"{own}/slash/", 0o777)
    tell(os.mknod, f"{own}/fifo", stat.S_IFIFO | 0o666)
    tell(os.close, os.open(f"{own}/made", os.O_CREAT | os.O_WRONLY, 0o666))
    tell(os.symlink, "made", f"{own}/link")
    tell(os.symlink, f"{own}/same", f"{own}/same")
    tell(os.rename, f"{own}/made", f"{own}/file")
    tell(os.rename, f"{own}/file", f"{own}/dir/file", **at)
    tell(os.link, f"{own}/dir/file", f"{own}/second", **at)
    tell(os.link, f"{own}/dir/file", f"{own}/third")
    tell(os.rename, f"{own}/dir/file", f"{own}/link", src_dir_fd=dot)
    tell(os.replace, f"{own}/third", "/proc/other")
    tell(os.unlink, f"{own}/third/")
    tell(os.unlink, f"{own}/third")
    tell(os.rmdir, f"{own}/dir/.")
    tell(os.rmdir, f"{own}/dir")
    for name in ("root's", f"{os.path.basename(own)}/second"):
        tell(os.chmod, f"{top}/{name}", 0o604)
        tell(os.truncate, f"{top}/{name}", 9)
        tell(os.chown, f"{top}/{name}", -1, NOBODY)
        tell(os.utime, f"{top}/{name}", (5, 6))
        tell(os.utime, f"{top}/{name}")
        tell(os.utime, f"{top}/{name}", ns=(7, 8), follow_symlinks=False)
        tell(os.setxattr, f"{top}/{name}", "user.name", b"value")
        tell(os.getxattr, f"{top}/{name}", "user.name")
        tell(os.removexattr, f"{top}/{name}", "user.name")
        tell(os.listxattr, f"{top}/{name}")
        tell(os.access, f"{top}/{name}", os.W_OK)
    for name in ("closed/x", "root's.second", "new"):
        tell(os.mkdir, f"{top}/{name}")
        tell(os.link, f"{top}/root's", f"{top}/{name}")
        tell(os.rename, f"{own}/second", f"{top}/{name}")
    tell(watch, own)
    tell(watch, f"{top}/closed")
    show(own)


def main(directory, place):
    os.chdir(directory)
    os.umask(0o027)
    dot = os.open(".", os.O_RDONLY)
    for name, mode, owner in (("as-root", 0o755, 0), ("as-nobody", 0o755, NOBODY), ("closed", 0o700, 0)):
        os.mkdir(f"{place}/{name}")
        os.chmod(f"{place}/{name}", mode)
        os.chown(f"{place}/{name}", owner, owner)
    open(f"{place}/root's", "w").close()
    os.chmod(place, 0o1755)
    changes(place, f"{place}/as-root", dot)
    show(place)
    sys.stdout.flush()
    if os.fork() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        changes(place, f"{place}/as-nobody", dot)
        sys.stdout.flush()
        os._exit(0)
    print(os.wait()[1])
    show(place)


main(*sys.argv[1:])
