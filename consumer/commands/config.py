"""``config check`` and ``config show``: what is configured, before anything is started."""

import typer
from rich.text import Text

from consumer.commands.failures import failures_shown
from consumer.commands.options import AsJson, ConfigFile, configuration_file
from consumer.commands.terminal import out, show_facts, show_json

app = typer.Typer(no_args_is_help=True, help="Check the configuration, or show what is in effect.")


@app.command()
def check(config: ConfigFile = None) -> None:
    """Check the configuration; every problem with file, path, reason and remedy, exit code 2."""
    from consumer.commands.configuration import read_settings  # noqa: PLC0415 -- as in commands.serve

    file = configuration_file(config)
    with failures_shown():
        settings = read_settings(file)
    out.print(Text(f"{file or 'The environment'} is in order.", style="green"))
    kafka = settings.kafka.bootstrap_servers or "its own, started by `callbreaker run`"
    show_facts(
        "",
        [
            ("accounts", ", ".join(f"{a.name} ({a.provider})" for a in settings.accounts.values()) or "none"),
            ("rules", ", ".join(f"{rule.name} ({rule.mode})" for rule in settings.rules) or "none"),
            ("operators", ", ".join(f"{o.name} ({o.role})" for o in settings.operators) or "none: a token is made"),
            ("Kafka", kafka),
            ("HTTP", f"{settings.http.host}:{settings.http.port}"),
        ],
    )


@app.command()
def show(config: ConfigFile = None, *, as_json: AsJson = False) -> None:
    """Show everything that is in effect, defaults included; secrets are masked."""
    import yaml  # noqa: PLC0415 -- as in commands.serve

    from consumer.commands.configuration import read_settings  # noqa: PLC0415 -- as above
    from consumer.settings import masked  # noqa: PLC0415 -- as above

    with failures_shown():
        effective = masked(read_settings(configuration_file(config)))
    if as_json:
        show_json(effective)
    else:
        typer.echo(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True).rstrip())
