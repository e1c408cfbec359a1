"""The command line: the top floor, which nothing imports; it needs the extra ``cli``.

``disable`` and ``run`` work without the extra.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that ``sys.argv`` holds, and exit with its code."""
    if "disable" in sys.argv[1:]:
        from chaospoint.cli.stopping import disabled

        if (code := disabled(sys.argv[1:])) is not None:
            sys.exit(code)
    try:
        from chaospoint.cli.app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "chaospoint":
            raise
        from chaospoint.cli.bare import carried_out

        code = carried_out(sys.argv[1:])
        sys.exit(_missing(package) if code is None else code)
    for stream in (sys.stdout, sys.stderr):
        # What comes from outside may hold what this terminal cannot write.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")
    app(prog_name="chaospoint")


def _missing(package: str) -> int:
    print(
        f"chaospoint: the command line needs {package}, which is not installed: "
        "pip install 'chaospoint[cli]'",
        file=sys.stderr,
    )
    return 2
