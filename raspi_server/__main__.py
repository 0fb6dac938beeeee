"""`python -m raspi_server` is the command `raspi-server`."""

import sys


def main() -> int:
    """Run the command in sys.argv and return the exit status.

    After a failure of the server `safe-state` is urgent, so it runs without the other commands'
    imports, where the server has left what it needs.
    """
    if sys.argv[1:2] == ["safe-state"]:
        from .gpio import safe_state

        if (status := safe_state.run()) is not None:
            return status
    from .cli.main import main as run_command

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
