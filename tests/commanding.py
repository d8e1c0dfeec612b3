"""What tests of the commands share: how one is run, and spaces small enough to search."""

from click.testing import CliRunner

from nascli.cli import main

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
MULTI = "nse-19-mini:resolution=8,width=0.25,branches=2"
SINGLE = "pcnas-small-mini:resolution=8,width=0.25"
QUICK = ["--population", "4", "--generations", "2", "--supernet-epochs", "1", "--retrain-epochs", "1"]


def run(*args, expect=0):
    result = CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=True)
    assert result.exit_code == expect, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result
