"""`python -m nodegate` is the `nodegate` command."""

from nodegate.cli import main

if __name__ == "__main__":
    main()
