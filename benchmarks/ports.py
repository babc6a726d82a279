"""Ports of this machine that no connection takes by itself."""

import random
import socket

# Below the ports that Linux, macOS and Windows give to outgoing connections: a port from that
# range can be taken between the moment it is found and the moment the server starts.
PORTS = range(10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return different free ports."""
    found: list[socket.socket] = []
    draws = random.SystemRandom()
    try:
        while len(found) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", draws.choice(PORTS)))
            except OSError:
                one.close()
            else:
                found.append(one)
        return [one.getsockname()[1] for one in found]
    finally:
        for one in found:
            one.close()
