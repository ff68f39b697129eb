"""An HTTP sink for upload benchmarks: reads each body, keeps nothing, answers 200. Prints its port; ends with its stdin.

One thread a connection, HTTP/1.1 with Content-Length only, which is what the uploaders measured here send.
"""

import socket
import sys
import threading



def serve(connection):
    buffer = b""
    view = memoryview(bytearray(1 << 20))
    with connection:
        while True:
            while b"\r\n\r\n" not in buffer:
                piece = connection.recv(65536)
                if not piece:
                    return
                buffer += piece
            head, buffer = buffer.split(b"\r\n\r\n", 1)
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", b"0"))
            if b"100-continue" in fields.get(b"expect", b""):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            left = length - min(length, len(buffer))
            buffer = buffer[length:]
            while left:
                got = connection.recv_into(view, min(left, len(view)))
                if not got:
                    return
                left -= got
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    sys.stdin.read()


def accept(listener):
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
