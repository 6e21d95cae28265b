"""Makes ``python -m honua_schema`` the same as ``honua-schema``."""

from honua_schema.cli import main

if __name__ == "__main__":
    main()
