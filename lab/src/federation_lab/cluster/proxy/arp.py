"""Tells the neighbours where an address has come to (RFC 5227, an ARP announcement)."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct

ETHER_ARP = 0x0806
ETHER_IP = 0x0800
BROADCAST = b"\xff" * 6


def announcement(mac: bytes, address: str) -> bytes:
    """Give the frame: a request in which the sender asks for its own address."""
    packed = ipaddress.IPv4Address(address).packed
    header = struct.pack("!HHBBH", 1, ETHER_IP, 6, 4, 1)
    return (
        BROADCAST
        + mac
        + struct.pack("!H", ETHER_ARP)
        + header
        + mac
        + packed
        + b"\x00" * 6
        + packed
    )


def announce(interface: str, address: str) -> None:
    """Send it; where that isn't allowed the neighbours find out by asking."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
    ):
        sender.bind((interface, ETHER_ARP))
        mac: bytes = sender.getsockname()[4]
        sender.send(announcement(mac, address))
