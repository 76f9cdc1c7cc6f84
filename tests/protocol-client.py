#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# protocol-client.py ROOT SLOT
#
# Calls the service of tests/protocol-server.py, or one like it, by the standard library and what capfs-protocol(7)
# and PROTOCOL say alone. A line of the standard input is a call:
#
#	text METHOD TEXT	prints the answer
#	bytes METHOD N		sends N bytes, prints how many came back, and whether they are the same
#	get METHOD N		sends "N", prints how many bytes came back
#	file METHOD TEXT	sends a file with TEXT in it, prints the answer
#	files METHOD N M	sends N descriptors and the text M, prints the answer and how many came back
#	open METHOD TEXT	prints what is in the file that came back
#	credit			asks for the credit and prints the calls
#	cancel METHOD		makes a call and gives it up
#
# A refusal is printed as "ENAME REASON", and with one that is not the service's own "limit" or "library" before it.
import array, errno, fcntl, os, socket, struct, sys

CALL, RETURN, FDS, CANCEL, PART, CREDIT = 1, 2, 3, 4, 5, 6
CREDIT_SERIAL = 2**64 - 1
PACKET_FDS, INLINE = 253, 65536
BUFFER, BUFFER_BYTES = 2097152, 2101248
WRITE, SHRINK_GROW = fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
SO_PASSRIGHTS = 83


def receive(s, size):
    packet, control, flags, _ = s.recvmsg(size, socket.CMSG_SPACE(PACKET_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds = []
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += array.array("i", data[:len(data) // 4 * 4])
    if len(packet) < 18 or packet[0] != 1 or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        sys.exit("the connection has ended, or this is another protocol")
    return packet, fds


def send(s, packet, fds=()):
    s.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def close(fds):
    for fd in fds:
        os.close(fd)


def timeouts(s):
    """Not settimeout(), which would set O_NONBLOCK on what others have as well."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        s.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 30, 0))


def connect(root, slot):
    path = b"caps/" + slot.encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        timeouts(control)
        control.connect(root + "/control")
        send(control, struct.pack("<BBHIQQ", 1, 7, len(path), 0, 1, 0) + path)
        packet, fds = receive(control, 28 + 32768)
    _, _, _, error, _, _, n = struct.unpack_from("<BBHIQQI", packet)
    if error:
        sys.exit("%s %s" % (os.strerror(error), packet[28:28 + n].decode()))
    service = socket.socket(fileno=fds[0])
    timeouts(service)
    try:
        service.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)
    except OSError:
        pass  # before Linux 6.16 it is always on
    return service


def memory(data, seals):
    fd = os.memfd_create("payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Service:
    def __init__(self, root, slot):
        self.socket, self.serial = connect(root, slot), 0
        self.buffer = None  # of this connection's alone; free, since calls are made one after the other

    def payload(self, data):
        """What a packet has of the payload, and the descriptors that have the rest."""
        if len(data) <= INLINE:
            return data, []
        if len(data) > BUFFER:
            return b"", [memory(data + b"\0", WRITE | SHRINK_GROW)]
        if self.buffer is None:
            self.buffer = memory(b"", 0)
            os.ftruncate(self.buffer, BUFFER_BYTES)
            fcntl.fcntl(self.buffer, fcntl.F_ADD_SEALS, SHRINK_GROW)
        os.pwrite(self.buffer, data, 0)
        return b"", [os.dup(self.buffer)]

    def start(self, method, data, fds=()):
        self.serial += 1
        inline, own = self.payload(data)
        all_fds = own + list(fds)
        while len(all_fds) > PACKET_FDS:
            send(self.socket, struct.pack("<BBIQI", 1, FDS, 0, self.serial, 0), all_fds[:PACKET_FDS])
            all_fds = all_fds[PACKET_FDS:]
        send(self.socket, struct.pack("<BBIQI", 1, CALL, method, self.serial, len(data)) + inline, all_fds)
        close(own)

    def finish(self):
        """The errno, the payload and the descriptors of the RETURN."""
        ahead, ahead_serial = [], 0
        while True:
            packet, fds = receive(self.socket, 18 + INLINE)
            _, kind, error, serial, n = struct.unpack_from("<BBIQI", packet)
            if serial != ahead_serial:
                close(ahead)
                ahead, ahead_serial = [], serial
            ahead += fds
            if kind == RETURN and serial == self.serial:
                break
            if kind == RETURN:  # of a call that was given up
                close(ahead)
                ahead = []
        if n <= INLINE:
            return error, packet[18:18 + n], ahead
        data = self.large(ahead[0], n, serial)
        os.close(ahead[0])
        return error, data, ahead[1:]

    def large(self, fd, n, serial):
        seals, size = fcntl.fcntl(fd, fcntl.F_GET_SEALS), os.fstat(fd).st_size
        sealed = seals & WRITE
        if seals & SHRINK_GROW != SHRINK_GROW or size != (n + 1 if sealed else BUFFER_BYTES):
            sys.exit("a payload that is not as it must be")
        data = os.pread(fd, n, 0)
        if not sealed:  # it was copied: the server may use it again
            os.pwrite(fd, struct.pack("<Q", serial), BUFFER)
        return data

    def call(self, method, data, fds=()):
        self.start(method, data, fds)
        return self.finish()

    def cancel(self, method):
        self.start(method, b"")
        send(self.socket, struct.pack("<BBIQI", 1, CANCEL, 0, self.serial, 0))

    def credit(self):
        send(self.socket, struct.pack("<BBIQI", 1, CANCEL, 0, CREDIT_SERIAL, 0))
        while True:
            packet, fds = receive(self.socket, 18 + INLINE)
            _, kind, calls, _, _ = struct.unpack_from("<BBIQI", packet)
            close(fds)
            if kind == CREDIT:
                return calls


def refusal(error, payload):
    reason, _, origin = payload.partition(b"\0")
    who = {b"\1": "limit ", b"\2": "library "}.get(origin, "")
    return "%s%s %s" % (who, errno.errorcode.get(error, error), reason.decode())


def run(service, line):
    what, *words = line.split()
    if what == "credit":
        return str(service.credit())
    method, words = int(words[0]), words[1:]
    if what == "cancel":
        return service.cancel(method)
    text, sent = " ".join(words).encode(), []
    if what == "bytes":
        text = bytes(i * 7 % 251 for i in range(1000)) * (int(words[0]) // 1000 + 1)
        text = text[:int(words[0])]
    elif what == "file":
        text, sent = b"", [memory(text, 0)]
        os.lseek(sent[0], 0, os.SEEK_SET)
    elif what == "files":
        text, sent = words[1].encode(), [os.open("/dev/null", os.O_RDONLY) for _ in range(int(words[0]))]
    error, data, fds = service.call(method, text, sent)
    try:
        if error:
            return refusal(error, data)
        if what == "bytes":
            return "%d %s" % (len(data), "same" if data == text else "other")
        if what == "get":
            return str(len(data))
        if what == "files":
            return "%s %d" % (data.decode(), len(fds))
        if what == "open":
            return os.pread(fds[0], 4096, 0).decode()
        return data.decode()
    finally:
        close(sent + fds)


service = Service(sys.argv[1], sys.argv[2])
for line in sys.stdin:
    answer = run(service, line)
    if answer is not None:
        print(answer, flush=True)
service.socket.shutdown(socket.SHUT_RDWR)
