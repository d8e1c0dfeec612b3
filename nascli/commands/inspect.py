"""What is here and what is known: doctor, devices, spaces, count."""

from __future__ import annotations

import click

from nascli.commands.options import json_option
from nascli.commands.output import print_table, show_json


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what runs here, and what to install for more.

    \b
    Example:
      nascli doctor
    """
    from nascli.pipeline.inspect.doctor import run_checks

    checks = run_checks()
    if as_json:
        show_json(
            [{"name": c.name, "works": c.works, "detail": c.detail, "advice": c.advice} for c in checks]
        )
        return
    rows = [[c.name, "yes" if c.works else "no", c.detail, c.advice] for c in checks]
    print_table(["part", "works", "what", "to do"], rows)


@click.command()
@click.argument("name", required=False)
@json_option
def devices(name: str | None, as_json: bool) -> None:
    """List devices: what is here, and the cards that have a profile.

    \b
    Example:
      nascli devices titanxp
    """
    from nascli.pipeline.inspect.listing import describe_device, list_devices

    if name is None:
        known = list_devices()
        if as_json:
            show_json(known)
        else:
            rows = [[d["key"], d["title"], "yes" if d["here"] else "no"] for d in known]
            print_table(["device", "title", "here"], rows)
        return
    facts = describe_device(name)
    if as_json:
        show_json(facts)
    else:
        print_table(["fact", "value"], [[key, str(value)] for key, value in facts.items()])


@click.command()
@click.argument("name", required=False)
@json_option
def spaces(name: str | None, as_json: bool) -> None:
    """List search spaces, or show one in full.

    \b
    Example:
      nascli spaces proxyless-mini:resolution=32
    """
    from nascli.pipeline.inspect.listing import describe_space, list_spaces

    if name is None:
        known = list_spaces()
        if as_json:
            show_json(known)
        else:
            print_table(["space", "about"], [[s["name"], s["about"]] for s in known])
        return
    document = describe_space(name)
    if as_json:
        show_json(document)
        return
    print_table(
        ["block", "input", "output", "candidates"],
        [[b["name"], b["input"], b["output"], ", ".join(b["candidates"])] for b in document["blocks"]],
        title=f"{document['spec']}: {document['size_text']} architectures, "
        f"{document['macs_text']} MACs, {document['params_text']} parameters",
    )


@click.command()
@click.argument("what")
@click.option("--layers", is_flag=True, help="Show each block.")
@click.option("--check", is_flag=True, help="Count with fvcore too, and explain the difference.")
@json_option
def count(what: str, layers: bool, check: bool, as_json: bool) -> None:
    """Count MACs, parameters and bytes of a network, or their range over a space.

    WHAT is a reference network's name, an architecture's file, an ONNX file, or a space.

    \b
    Example:
      nascli count mobilenetv2 --check
      nascli count runs/first/architecture.json
    """
    from nascli.pipeline.inspect.count import count_target

    document = count_target(what, check=check)
    if as_json:
        show_json(document["document"])
        return
    print_table(["count", "value"], [[k, v] for k, v in document["shown"].items()], title=document["title"])
    if layers and document["layers"]:
        print_table(["block", "operator", "output", "MACs", "params"], document["layers"])
    for line in document["remarks"]:
        click.echo(line)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print what makes a shell complete nascli's commands and options.

    \b
    Examples:
      nascli completion bash >> ~/.bashrc
      nascli completion fish > ~/.config/fish/completions/nascli.fish
    """
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None
    root = click.get_current_context().find_root()
    script = maker(root.command, {}, "nascli", "_NASCLI_COMPLETE").source()
    if as_json:
        show_json({"shell": shell, "script": script})
    else:
        click.echo(script)
