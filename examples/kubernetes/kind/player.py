#!/usr/bin/env python3
"""A player who is moved between two GameServers: query, connect, play, reset, play on.

usage: player.py [HOST [QUERY_PORT [DATA_PORT]]]
"""
import json
import socket
import sys

HOST = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
QUERY = (HOST, int(sys.argv[2]) if len(sys.argv) > 2 else 9000)
DATA = (HOST, int(sys.argv[3]) if len(sys.argv) > 3 else 7777)
MAGIC = bytes.fromhex("FFFFFFFF5245534554")


def token_for(game_map: str) -> bytes:
    """Asks for a server with that map; gives the token."""
    with socket.create_connection(QUERY, timeout=5) as connection:
        document = {"resourceType": "gameserver", "labelSelector": {"map": game_map}}
        connection.sendall(json.dumps(document).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if "token" not in answer:
        sys.exit(f"{game_map}: {answer}")
    return answer["token"].encode()


def who(player: socket.socket) -> str:
    """Asks the game server for its name, again when a datagram is lost."""
    for _ in range(5):
        player.send(b"GAMESERVER")
        try:
            return player.recv(65535).decode().strip()
        except TimeoutError:
            continue
    sys.exit("no game server has answered")


player = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
player.settimeout(1)
player.connect(DATA)
player.send(token_for("canyon"))
print("canyon:", who(player))
player.send(MAGIC + token_for("harbor"))
print("harbor:", who(player), "(from the same socket)")
