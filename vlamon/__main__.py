"""`python -m vlamon` is `vlamon`."""

from vlamon.cli import main

if __name__ == "__main__":
    main()
