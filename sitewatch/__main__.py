"""`python -m sitewatch`: the command line."""

from sitewatch.cli import main

if __name__ == "__main__":
    main()
