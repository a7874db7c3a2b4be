"""HOST:PORT of the commands that listen, and the socket there."""

from __future__ import annotations

import ipaddress
import os
import socket

import click

from vlamon.errors import VlamonError

Listen = tuple[str, int]


class Address(click.ParamType[Listen]):
    """HOST:PORT, on loopback where nothing else protects what is served."""

    name = "HOST:PORT"

    def __init__(self, example: int, *, loopback_only: bool) -> None:
        self._example = example
        self._loopback_only = loopback_only

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Listen:
        """Host and port."""
        host, _, port = str(value).rpartition(":")
        host = (host or "127.0.0.1").strip("[]").replace("localhost", "127.0.0.1")
        try:
            local, number = is_loopback(host), int(port)
        except ValueError:
            self.fail(f"{value!r} is not HOST:PORT, such as 127.0.0.1:{self._example}", param, ctx)
        if not 0 <= number < 1 << 16:
            self.fail(f"{number} is not a port: ports end at 65535", param, ctx)
        if self._loopback_only and not local:
            self.fail(
                f"{host} is not on loopback; reach it from elsewhere with `ssh -L`", param, ctx
            )
        return host, number


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    return ipaddress.ip_address(host).is_loopback


def netloc(host: str, port: int) -> str:
    """HOST:PORT as a URL has it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unservable(listen: Listen, problem: OSError) -> VlamonError:
    """The sentence for an address that cannot be listened on."""
    why = os.strerror(problem.errno) if problem.errno else str(problem)
    return VlamonError(f"{netloc(*listen)} cannot be served: {why}; choose another with --listen.")


def listening(listen: Listen) -> socket.socket:
    """A socket that listens there."""
    family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    try:
        return socket.create_server(listen, family=family)
    except OSError as problem:
        raise unservable(listen, problem) from problem
