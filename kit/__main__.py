"""`python -m kit` is `casekit`: so one process starts others of the same installation."""

from kit.cli import main

main()
