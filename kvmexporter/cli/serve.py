# SPDX-License-Identifier: Apache-2.0
"""`kvmexporter serve`."""

import logging
import os
import pwd
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvmexporter.cli import values
from kvmexporter.cli.options import option, shared_options
from kvmexporter.cli.session import session
from kvmexporter.errors import KvmExporterError
from kvmexporter.housekeeping import Housekeeping
from kvmexporter.sources import allocator, privilege
from kvmexporter.sources.opener import Opener

if TYPE_CHECKING:
    from kvmexporter.views.listening import Address

_log = logging.getLogger(__name__)

_DEFAULT_ADDRESS = "127.0.0.1:9942"
_HOUSEKEEPING_SECONDS = 15.0


@click.command()
@option("--web.listen-address", multiple=True, type=values.Parsed(values.address),
         default=[_DEFAULT_ADDRESS], show_default=True,
         help="Where to listen, HOST:PORT; may be repeated.")  # fmt: skip
@option("--web.systemd-socket", is_flag=True, default=False, show_default=True,
        help="Listen on the sockets that systemd hands over instead.")  # fmt: skip
@option("--web.config.file", type=click.Path(), default=None,
        help="TLS, users and headers, in the format of Prometheus' exporters; read again "
             "when it changes.")  # fmt: skip
@option("--web.telemetry-path", type=values.Parsed(values.telemetry_path),
         default="/metrics", show_default=True,
         help="Where the metrics are; / has them in place of the page.")  # fmt: skip
@option("--user", type=values.Parsed(values.account), default=None,
        help="Give up root for this user once the probes are attached.")  # fmt: skip
@shared_options
def serve(
    web_listen_address: Sequence["Address"],
    web_systemd_socket: bool,
    web_config_file: str | None,
    web_telemetry_path: str,
    user: pwd.struct_passwd | None,
    **shared: Any,
) -> None:
    """Serve metrics over HTTP."""
    from kvmexporter.views import http, listening, policy

    allocator.keep_little()
    web_config = Path(web_config_file) if web_config_file else None
    first_policy = policy.load(web_config)
    sockets = listening.from_systemd() if web_systemd_socket else listening.bind(web_listen_address)
    with (
        _closed_at_the_end(sockets),
        _privileges(user) as (opener, loaded, ready),
        session(shared, opener, loaded, everything=False) as (
            sources,
            sampler,
        ),
    ):
        ready()
        housekeeping = Housekeeping(sampler, sources.inventory.refresh, _HOUSEKEEPING_SECONDS)
        housekeeping.start()
        allocator.give_back()  # starting took half a megabyte more than serving does
        try:
            http.serve(
                sockets,
                sampler,
                web_telemetry_path,
                lambda: _log.info(
                    "listening",
                    extra={"address": listening.names(sockets), "path": web_telemetry_path},
                ),
                (web_config, first_policy) if web_config else None,
            )
        finally:
            housekeeping.close()
    _log.info("ended")


@contextmanager
def _closed_at_the_end(sockets: Sequence[socket.socket]) -> Iterator[None]:
    """However it ends: what comes before the server may fail, too."""
    try:
        yield
    finally:
        for one in sockets:
            one.close()


@contextmanager
def _privileges(
    account: pwd.struct_passwd | None,
) -> Iterator[tuple[Opener | None, Callable[[], None], Callable[[], None]]]:
    """How this process gives up what it may: the opener that stays behind, and two steps.

    The first step comes when BPF is loaded and there is but one thread, the second when
    everything is open. Root becomes another user in the second, in all threads at once.
    Whoever has capabilities without being root has them in each thread for itself, and
    gives them up in the first.
    """
    uid, gid = (account.pw_uid, account.pw_gid) if account else (os.getuid(), os.getgid())
    if not account and (uid == 0 or not privilege.permitted()):
        yield None, _nothing, _nothing
        return

    def give_up() -> None:
        try:
            privilege.become(uid, gid)
        except PermissionError as err:
            raise KvmExporterError(f"cannot become user {uid}: that takes root") from err

    with Opener(uid, gid) as opener:
        yield opener, _nothing if account else give_up, give_up


def _nothing() -> None:
    """Nothing is to be given up at this step."""
