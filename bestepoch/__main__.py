"""`python -m bestepoch`: the same as the `bestepoch` command."""

from service.cli import main

if __name__ == "__main__":
    main()
