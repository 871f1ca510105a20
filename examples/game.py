#!/usr/bin/env python3
"""A whole game in the protocol's own bytes: query, connect, play, reset, play on.

Start the director first: udp-director serve --config examples/local.yaml
The two game servers of examples/objects.yaml run in here.
"""
import json
import socket
import threading

QUERY, DATA = ("127.0.0.1", 9000), ("127.0.0.1", 7777)
MAGIC = bytes.fromhex("FFFFFFFF5245534554")


def game_server(name: str, port: int) -> None:
    """Answers each datagram with its own name in front."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    while True:
        data, player = server.recvfrom(65535)
        server.sendto(f"{name} got: ".encode() + data, player)


def query(selector: dict) -> bytes:
    """Asks for a server; gives the token."""
    with socket.create_connection(QUERY, timeout=5) as connection:
        document = {"resourceType": "gameserver", "labelSelector": selector}
        connection.sendall(json.dumps(document).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    print("query ", selector, "->", answer)
    return answer["token"].encode()


def play(player: socket.socket, text: str) -> None:
    """Sends one datagram and waits for the server's answer."""
    player.send(text.encode())
    print("play  ", player.recv(65535).decode())


for name, port in (("arena-1", 17001), ("arena-2", 17002)):
    threading.Thread(target=game_server, args=(name, port), daemon=True).start()

player = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
player.settimeout(5)
player.connect(DATA)

player.send(query({"map": "canyon"}))  # connect: the token is the first datagram
play(player, "hello")
player.send(MAGIC + query({"map": "harbor"}))  # reset: nothing reconnects
play(player, "hello again, from the same socket")
