"""stuckfs.py PLACE: a file system whose server has gone to sleep. It is mounted, and whoever looks for a file in it
waits: its name is printed and never answered. When this process ends, those who wait get an error."""

import ctypes
import os
import struct
import sys

FUSE_LOOKUP, FUSE_INIT = 1, 26  # fuse(4), linux/fuse.h
IN_HEADER = struct.Struct("=IIQQIIII")  # len, opcode, unique, nodeid, uid, gid, pid, padding
OUT_HEADER = struct.Struct("=IiQ")  # len, error, unique
INIT_OUT = struct.Struct("=IIIIHHI")  # major, minor, max_readahead, flags, two limits, max_write

place = sys.argv[1].encode()
device = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other" % device
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"stuckfs", place, b"fuse.stuckfs", 0, options) < 0:
    sys.exit(f"stuckfs: {os.strerror(ctypes.get_errno())}")
while request := os.read(device, 1 << 17):
    opcode, unique = IN_HEADER.unpack_from(request)[1:3]
    if opcode == FUSE_INIT:
        answer = INIT_OUT.pack(7, 22, 0, 0, 0, 0, 4096)
        os.write(device, OUT_HEADER.pack(OUT_HEADER.size + len(answer), 0, unique) + answer)
        print("mounted", flush=True)
    elif opcode == FUSE_LOOKUP:
        print("asked for", request[IN_HEADER.size:].split(b"\0")[0].decode(), flush=True)
