"""The command line.  It needs the extra ``cli``, except for ``disable`` and ``run``.

No other package imports this one.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command in ``sys.argv`` and exit with its code."""
    if "disable" in sys.argv[1:]:
        from chaospoint.cli.quick_disable import disable

        if (code := disable(sys.argv[1:])) is not None:
            sys.exit(code)
    try:
        from chaospoint.cli.app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "chaospoint":
            raise
        from chaospoint.cli.without_extra import run_command

        code = run_command(sys.argv[1:])
        sys.exit(_report_missing(package) if code is None else code)
    for stream in (sys.stdout, sys.stderr):
        # Names and messages may hold characters that this terminal cannot encode.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")
    app(prog_name="chaospoint")


def _report_missing(package: str) -> int:
    print(
        f"chaospoint: this command needs {package}, which is not installed: "
        "pip install 'chaospoint[cli]'",
        file=sys.stderr,
    )
    return 2
