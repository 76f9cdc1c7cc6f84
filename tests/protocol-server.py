#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# protocol-server.py ROOT NAME
#
# Serves caps/NAME of the session whose directory is ROOT, with all limits, by the standard library and what
# capfs-protocol(7) and PROTOCOL say alone. Methods:
#
#	0	the payload, as it came, and behind it what is in the files that came
#	2	a file with the payload in it, and no payload
#	3	EDOM
#	4	"N": N bytes of 'x'
#	5	"N": N descriptors, and how many came
#	6	the label of the caller, and how many calls of its connection were given up
import array, errno, fcntl, mmap, os, select, socket, struct, sys, time

CALL, RETURN, FDS, CANCEL, PART, CREDIT = 1, 2, 3, 4, 5, 6
CREDIT_SERIAL = 2**64 - 1
PACKET_FDS, CALL_FDS = 253, 1012
INLINE, LARGEST, BUFFER, BUFFER_BYTES = 65536, 16777216, 2097152, 2101248
NO_LIMIT = 2**64 - 1
WRITE, SHRINK_GROW = fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def receive(s, size):
    """One packet and its descriptors; b"" is the end."""
    packet, control, flags, _ = s.recvmsg(size, socket.CMSG_SPACE(PACKET_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds = []
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += array.array("i", data[:len(data) // 4 * 4])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or (packet and (len(packet) < 2 or packet[0] != 1)):
        close(fds)
        raise ValueError("malformed")
    return packet, fds


def send(s, packet, fds=()):
    s.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def close(fds):
    for fd in fds:
        os.close(fd)


def end(s):
    """The daemon has a duplicate: a mere close() would not be seen."""
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()


class Refused(Exception):
    def __init__(self, error, reason, origin=0):
        self.error = error
        self.payload = reason.encode() + (bytes([0, origin]) if origin else b"")


class Control:
    def __init__(self, root):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(root + "/control")
        self.serial = 0

    def ask(self, op, path, text=""):
        self.serial += 1
        head = struct.pack("<BBHIQQ", 1, op, len(path.encode()), len(text.encode()), self.serial, 0)
        send(self.socket, head + path.encode() + text.encode())
        while True:
            packet, fds = receive(self.socket, 28 + 32768)
            _, _, _, error, serial, _, n = struct.unpack_from("<BBHIQQI", packet)
            if serial in (0, self.serial):
                if error:
                    sys.exit("%s: %s: %s" % (path, os.strerror(error), packet[28:28 + n].decode()))
                return packet[28:28 + n].decode(), fds
            close(fds)


class Pages:
    """What each capability may, and what it has used: u64 each, read and written at once."""

    def __init__(self, granted, used):
        self.granted = memoryview(mmap.mmap(granted, 2**20 * 128, mmap.MAP_SHARED, mmap.PROT_READ)).cast("Q")
        self.used = memoryview(mmap.mmap(used, 2**20 * 16)).cast("Q")
        if list(self.granted[:4]) != [0, 0x7367617066706163, 1, 2**20]:
            raise ValueError("pages of another version")

    def chain(self, index, capability):
        """The entries from a capability to its origin, with the id of each; None: one of them has ended."""
        below, entries = 0, []
        while capability:
            at = index * 16
            if not 0 < index < 2**20 or self.granted[at] != capability or 0 < below <= self.granted[at + 4]:
                return None
            entries.append((index, capability))
            below, capability, index = capability, self.granted[at + 1], self.granted[at + 2]
        return entries

    def look(self, index, method, now):
        """What is to be written to `used` for one call."""
        at = index * 16
        for _ in range(1000):
            before = self.granted[at + 7]
            rights, calls, rate = self.granted[at + 3], self.granted[at + 5], self.granted[at + 6]
            ranges = list(self.granted[at + 8:at + 12])
            if not before & 1 and self.granted[at + 7] == before:
                break
        used, full_at = self.used[index * 2], self.used[index * 2 + 1]
        if not rights & 1:
            raise Refused(errno.EPERM, "it lacks right 'call'", 1)
        if not any(r & 0xffffffff <= method <= r >> 32 for r in ranges):
            raise Refused(errno.EPERM, "it may not call that method", 1)
        if calls != NO_LIMIT:
            if used >= calls:
                raise Refused(errno.EDQUOT, "its calls are used up", 1)
            used += 1
        if rate != NO_LIMIT:
            interval = (1000000 + rate - 1) // rate if rate else 0
            start = full_at if now <= full_at <= now + 2000000 else now
            if rate == 0 or start - now > (rate - 1) * interval:
                raise Refused(errno.EDQUOT, "its rate is reached", 1)
            full_at = start + interval
        return index, used, full_at

    def count(self, index, capability, method):
        """One call. False: the capability has ended. Nobody else writes: there is one thread, and no other process."""
        entries = self.chain(index, capability)
        if entries is None:
            return False
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        try:
            writes = [self.look(i, method, now) for i, _ in entries]
        except Refused:
            # What was read of one that has ended meanwhile says nothing.
            if any(self.granted[i * 16] != c for i, c in entries):
                return False
            raise
        if any(self.granted[i * 16] != c for i, c in entries):
            return False
        for i, used, full_at in writes:
            self.used[i * 2], self.used[i * 2 + 1] = used, full_at
        return True


class Connection:
    def __init__(self, server, s, label, capability, index):
        self.server, self.socket, self.label = server, s, label
        self.capability, self.index = capability, index
        self.ahead, self.ahead_serial, self.cancelled = [], 0, 0

    def read(self):
        packet, fds = receive(self.socket, 18 + INLINE)
        if len(packet) < 18:
            raise ValueError("the end")
        _, kind, code, serial, n = struct.unpack_from("<BBIQI", packet)
        if serial != self.ahead_serial:
            close(self.ahead)
            self.ahead, self.ahead_serial = [], serial
        self.ahead += fds
        if kind == CANCEL:
            if serial == CREDIT_SERIAL:
                send(self.socket, struct.pack("<BBIQI", 1, CREDIT, 64, CREDIT_SERIAL, CALL_FDS))
            else:
                self.cancelled += 1
        elif kind == CALL:
            fds, self.ahead = self.ahead, []
            try:
                self.call(code, serial, n, packet[18:], fds)
            finally:
                close(fds)
        elif kind not in (FDS, PART):
            raise ValueError("malformed")

    def call(self, method, serial, n, payload, fds):
        try:
            if self.index and not self.server.pages.count(self.index, self.capability, method):
                raise ValueError("the capability has ended")
            data, files = payload, fds
            if n > INLINE:
                if not fds or payload or n > LARGEST:
                    raise ValueError("malformed")
                data, files = large(fds[0], n), fds[1:]
            elif len(payload) != n:
                raise ValueError("malformed")
            error, reply, replied = 0, *self.answer(method, data, files)
        except Refused as e:
            error, reply, replied = e.error, e.payload, []
        try:
            self.reply(serial, error, reply, replied)
        finally:
            close(replied)

    def reply(self, serial, error, payload, fds):
        own = []
        if len(payload) > INLINE:
            own = [memory(payload + b"\0", WRITE | SHRINK_GROW)]
        head = struct.pack("<BBIQI", 1, RETURN, error, serial, len(payload))
        fds = own + fds
        try:
            while len(fds) > PACKET_FDS:
                send(self.socket, struct.pack("<BBIQI", 1, FDS, 0, serial, 0), fds[:PACKET_FDS])
                fds = fds[PACKET_FDS:]
            send(self.socket, head + (b"" if own else payload), fds)
        finally:
            close(own)

    def answer(self, method, data, files):
        if method == 0:
            return data + b"".join(os.pread(fd, os.fstat(fd).st_size, 0) for fd in files), []
        if method == 2:
            return b"", [memory(data, 0)]
        if method == 4:
            return b"x" * int(data), []
        if method == 5:
            return b"%d" % len(files), [os.open("/dev/null", os.O_RDONLY) for _ in range(int(data))]
        if method == 6:
            return b"%s %d" % (self.label, self.cancelled), []
        raise Refused(errno.EDOM, "not this one")


def memory(data, seals):
    fd = os.memfd_create("payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def large(fd, n):
    """A payload behind a packet: a memfd for it alone, or a buffer, which must be copied."""
    seals, size = fcntl.fcntl(fd, fcntl.F_GET_SEALS), os.fstat(fd).st_size
    if seals & SHRINK_GROW != SHRINK_GROW or size != (n + 1 if seals & WRITE else BUFFER_BYTES):
        raise ValueError("malformed")
    if not seals & WRITE and n > BUFFER:
        raise ValueError("malformed")
    data = os.pread(fd, n, 0)
    if len(data) != n:
        raise ValueError("malformed")
    return data


class Server:
    def __init__(self, root, name):
        self.control = Control(root)
        self.channel = socket.socket(fileno=self.control.ask(6, "entrypoints/" + name, "fds=yes pidfd=no")[1][0])
        self.control.ask(2, "entrypoints/%s/objects" % name, "key=1 as=%s protocol=calls" % name)
        self.pages, self.serial, self.connections = None, 0, {}

    def hand_over(self):
        packet, fds = receive(self.channel, 4096)
        if not packet:
            sys.exit("the entrypoint has ended")
        if packet[1] == 3:
            if not self.pages:
                self.pages = Pages(*fds)
            close(fds)
            return
        if packet[1] != 1:
            raise ValueError("malformed")
        _, _, n, rights, serial, key, badge, capability, uid, gid, pid, index = \
            struct.unpack_from("<BBHIQQQQIIII", packet)
        send(self.channel, struct.pack("<BBQ", 1, 2, serial))
        if serial <= self.serial:
            close(fds)
            return
        self.serial = serial
        close(fds[1:])
        s = socket.socket(fileno=fds[0])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))
        self.connections[s.fileno()] = Connection(self, s, packet[56:56 + n], capability, index)
        self.poll.register(s.fileno(), select.POLLIN)

    def run(self):
        self.poll = select.poll()
        self.poll.register(self.channel.fileno(), select.POLLIN)
        while True:
            for fd, _ in self.poll.poll():
                if fd == self.channel.fileno():
                    self.hand_over()
                    continue
                c = self.connections[fd]
                try:
                    c.read()
                except (ValueError, OSError, struct.error):
                    self.poll.unregister(fd)
                    close(c.ahead)
                    del self.connections[fd]
                    end(c.socket)


Server(sys.argv[1], sys.argv[2]).run()
