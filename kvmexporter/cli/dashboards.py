# SPDX-License-Identifier: Apache-2.0
"""`kvmexporter dashboards`."""

from pathlib import Path

import click

from kvmexporter.views import bundle


@click.command()
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory to write to; made if it is not there.",
)
@click.option(
    "--runbooks",
    default=bundle.RUNBOOKS,
    show_default=True,
    help="Where the runbooks are served: what the alerts' runbook_url begins with. The default "
    "is the directory that is written with them.",
)
def dashboards(output: Path, runbooks: str) -> None:
    """Write the dashboards, alerts, runbooks and provisioning."""
    for path in bundle.write(output, runbooks):
        click.echo(path)
