"""The command line: `mpkernel COMMAND …`, one file a command. Nothing imports this package."""
