"""`python -m nascli` is `nascli`."""

from nascli.cli import main

main(prog_name="nascli")
