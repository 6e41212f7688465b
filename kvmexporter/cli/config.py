# SPDX-License-Identifier: Apache-2.0
"""`kvmexporter config`."""

from pathlib import Path

import click

from kvmexporter.cli import configfile
from kvmexporter.cli.options import option
from kvmexporter.model.amounts import amount


@click.group()
def config() -> None:
    """Look after the configuration file."""


@config.command()
@option("--config.file", type=click.Path(), default=None,
        help=f"The file to check. [default: {configfile.DEFAULT_PATH}]")  # fmt: skip
@option("--web.config.file", type=click.Path(), default=None,
        help="A web configuration, too. [default: the one that is named there]")  # fmt: skip
@click.pass_context
def check(context: click.Context, config_file: str | None, web_config_file: str | None) -> None:
    """Read the configuration as serve would, and say whether it is good."""
    from kvmexporter.views import policy

    path = Path(config_file) if config_file else configfile.DEFAULT_PATH
    settings = {}
    if config_file or path.exists():
        known = configfile.options(context.find_root().command)
        settings = configfile.checked(path, configfile.read(path), known, context)
        click.echo(f"{path}: good, {amount(len(settings), 'setting')}")
    else:
        click.echo(f"{path}: not there, so the defaults go")
    web = web_config_file or settings.get("web_config_file")
    if web:
        found = policy.load(Path(web)).config
        click.echo(
            f"{web}: good, {'TLS' if found.tls else 'no TLS'}, passwords: {len(found.users)}"
        )
