"""papermill's command line, executed by the running fork server (book/forkserver.py).

    python -I -S papermill_warm.py SOCKET ARGUMENT...

Only the standard library, and little of that: this starts in hundredths of a second. Exits with
papermill's status; where it is killed, the server ends the execution.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    request = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    body = json.dumps(request).encode()
    socket.send_fds(server, [len(body).to_bytes(8, "big")], [1, 2])
    server.sendall(body)
    status = server.recv(1)
if not status:
    print("Error: the execution ended without a word: killed?", file=sys.stderr)
sys.exit(status[0] if status else 1)
