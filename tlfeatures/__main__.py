"""`python -m tlfeatures` is the command `tlfeatures`."""

from tlfeatures.cli import main

main(prog_name="tlfeatures")
