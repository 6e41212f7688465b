# SPDX-License-Identifier: Apache-2.0
"""The program: its commands, and how it ends."""

import sys
from collections.abc import Sequence

import click

from kvmexporter import __version__
from kvmexporter.cli.config import config
from kvmexporter.cli.dashboards import dashboards
from kvmexporter.cli.doctor import doctor
from kvmexporter.cli.dump import dump
from kvmexporter.cli.serve import serve
from kvmexporter.cli.top import top
from kvmexporter.errors import KvmExporterError

COMMANDS = (serve, dump, top, doctor, dashboards, config)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Prometheus exporter and timekeeping monitor for KVM hosts and guests."""


for _command in COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every error is one line and an exit code."""
    try:
        code = cli.main(arguments, prog_name="kvmexporter", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as err:
        sys.stderr.write(err.format_message() + "\n")
        sys.exit(err.exit_code)
    except click.ClickException as err:
        _fail(err.format_message().rstrip("."), err.exit_code)
    except KvmExporterError as err:
        _fail(str(err), err.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"kvmexporter: {' '.join(message.split())}\n")
    sys.exit(code)
