"""The commands that look things up: doctor, devices, spaces, recipes, count, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nascli.commands.options import completing, json_option, shape_option
from nascli.commands.output import print_table, show_json, value_as_text
from nascli.units import format_big_integer, format_bytes, format_count

if TYPE_CHECKING:
    from nascli.pipeline.inspect.count import NetworkCounts
    from nascli.pipeline.inspect.fvcore_count import FvcoreComparison
    from nascli.pipeline.inspect.recipes import RecipeDescription


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what runs here, and what to install for more.

    \b
    Example:
      nascli doctor
    """
    from nascli.commands.hints import advice_as_text
    from nascli.pipeline.inspect.doctor import run_checks

    checks = run_checks()
    if as_json:
        show_json(checks)
        return
    rows = [
        [c.name, "yes" if c.works else "no", c.detail, advice_as_text(c.advice, c.remedies)] for c in checks
    ]
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
            rows = [[device.key, device.title, "yes" if device.here else "no"] for device in known]
            print_table(["device", "title", "here"], rows)
        return
    facts = describe_device(name)
    if as_json:
        show_json(facts)
    else:
        print_table(["fact", "value"], [[key, str(value)] for key, value in facts.to_json().items()])


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
            print_table(["space", "about"], [[space.name, space.about] for space in known])
        return
    space = describe_space(name)
    size, macs, params = format_big_integer(space.size), _range(space.macs), _range(space.params)
    if as_json:
        show_json({**space.to_json(), "size_text": size, "macs_text": macs, "params_text": params})
        return
    print_table(
        ["block", "input", "output", "candidates"],
        [[block.name, block.input, block.output, ", ".join(block.candidates)] for block in space.blocks],
        title=f"{space.spec}: {size} architectures, {macs} MACs, {params} parameters",
    )


@click.command()
@click.argument("name", required=False, shell_complete=completing("all recipes"))
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List recipes of training, or show one in full beside what its paper says.

    A value is stated by the paper, referred to another work by it, or left open by it; what is taken then is said.

    \b
    Examples:
      nascli recipes
      nascli recipes nse
    """
    from nascli.pipeline.inspect.recipes import describe_recipe, list_recipes

    if name is None:
        known = list_recipes()
        if as_json:
            show_json(known)
            return
        rows = [
            [row.name, row.kind, row.about, str(row.epochs), str(row.batch), row.optimizer, f"{row.rate:g}",
             row.schedule, str(len(row.open_fields))]
            for row in known
        ]  # fmt: skip
        columns = ["recipe", "for", "about", "epochs", "batch", "optimizer", "rate", "schedule", "open"]
        print_table(columns, rows)
        return
    found = describe_recipe(name)
    if as_json:
        show_json(found)
        return
    for description in found:
        _show_recipe(description)


def _show_recipe(recipe: RecipeDescription) -> None:
    """Print all fields of a recipe with what is known about them."""
    rows = [
        [field.name, value_as_text(field.value), field.mark, field.where, field.words]
        for field in recipe.fields
    ]
    origin = f": {recipe.paper}" if recipe.paper else ""
    title = f"{recipe.name} for {recipe.kind}, {recipe.about}{origin}"
    print_table(["field", "value", "mark", "where", "in short"], rows, title=title)


def _range(ends: tuple[int, int]) -> str:
    return f"{format_count(ends[0])} to {format_count(ends[1])}"


def _byte_range(ends: tuple[int, int]) -> str:
    return f"{format_bytes(ends[0])} to {format_bytes(ends[1])}"


@click.command()
@click.argument("what")
@click.option("--layers", is_flag=True, help="Show the counts of each block.")
@click.option(
    "--check",
    is_flag=True,
    help="Count with fvcore too, and explain the difference; put the pieces of an ONNX file together again.",
)
@shape_option
@json_option
def count(what: str, layers: bool, check: bool, shapes: dict[str, tuple[int, ...]], as_json: bool) -> None:
    """Count MACs, parameters and bytes of a network, or their range over a space.

    WHAT is a reference network's name, an architecture's file, an ONNX file, or a space.

    \b
    Example:
      nascli count mobilenetv2 --check
      nascli count model.onnx --check
      nascli count runs/first/architecture.json
    """
    from nascli.pipeline.inspect.count import NetworkCounts, OnnxCounts, count_target

    counts = count_target(what, check=check, shapes=shapes)
    if as_json:
        show_json(counts)
    elif isinstance(counts, NetworkCounts):
        _show_network(counts, layers)
    elif isinstance(counts, OnnxCounts):
        rows = [["MACs", format_count(counts.macs)], ["params", format_count(counts.params)]]
        print_table(["count", "value"], rows, title=counts.title)
        if counts.not_counted:
            names = ", ".join(counts.not_counted)
            click.echo(f"not counted, since it has no MACs by convention or is unknown: {names}")
        if counts.pieces is not None:
            pieces = counts.pieces
            click.echo(
                f"{pieces.pieces} pieces, {pieces.opaque} of them of ONNX, compute what the file computes: they "
                f"differ by at most {pieces.difference:.1g} of the largest value, at {pieces.value}"
            )
    else:
        rows = [
            [_TITLES[name], _byte_range(ends) if name == "weight_bytes" else _range(ends)]
            for name, ends in counts.ranges.items()
        ]
        print_table(["count", "value"], rows, title=f"range over {counts.title}")


_TITLES = {"macs": "MACs", "params": "params", "weight_bytes": "weights as deployed"}


def _show_network(network: NetworkCounts, layers: bool) -> None:
    """Print the counts of a network, of its blocks if they are wanted, and fvcore's beside them."""
    counts = network.counts
    rows = [
        ["MACs", f"{counts.macs:,}"],
        ["params", f"{counts.params:,}"],
        ["of which weights", f"{counts.weights:,}"],
        ["weights as deployed", format_bytes(counts.weight_bytes)],
        ["bytes moved (batch 1)", format_bytes(counts.moved_bytes)],
        ["peak activations (batch 1)", format_bytes(counts.peak_bytes)],
    ]
    if counts.bitops:
        rows.append(["BitOps", f"{counts.bitops / 2**30:.2f} x 2^30"])
    print_table(["count", "value"], rows, title=network.title)
    if layers:
        blocks = [
            [b.block, b.operator, b.output, f"{b.counts.macs:,}", f"{b.counts.params:,}"]
            for b in network.blocks
        ]
        print_table(["block", "operator", "output", "MACs", "params"], blocks)
    if network.fvcore is not None:
        for line in _comparison_lines(network.fvcore):
            click.echo(line)


def _comparison_lines(comparison: FvcoreComparison) -> list[str]:
    """fvcore's count against ours in words, explained to the last operation."""
    own, products, other = comparison.own_macs, comparison.products, comparison.other
    verdict = "equal to ours" if products == own else f"{products - own:+,} against ours"
    lines = [
        f"fvcore counts {comparison.total:,}, we count {own:,} MACs. Its convolutions and linear layers: "
        f"{products:,} ({verdict}).",
        f"The rest is batch normalisation, 2 per element: {comparison.batch_norm:,} "
        f"(from the description: {comparison.own_batch_norm:,})"
        + (f", and others: {other:,}." if other else "."),
    ]
    if comparison.not_counted:
        lines.append(f"fvcore leaves out: {', '.join(comparison.not_counted)}.")
    if comparison.has_pooling:
        lines.append("Pooling counts 0 here, as in the literature's tables.")
    return lines


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
