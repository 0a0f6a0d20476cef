"""`python -m sotto` is the `sotto` command."""

from sotto.cli import main

main()
