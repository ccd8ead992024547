"""``python -m clstm`` prints what computes here; with ``config``, how C programs are built."""

import argparse
import shlex

from .info import compiler_arguments, get_cmake_dir, show_config

CONFIG = """\
Prints on one line what a C or C++ program that uses clstm is compiled and linked with:

    cc program.c $(python -m clstm config --cflags --libs)
    cmake -Dclstm_DIR="$(python -m clstm config --cmakedir)" ...

Where the package lies in a folder with spaces, its name is quoted for the shell, and a second
reading takes the quotes off:

    eval "cc program.c $(python -m clstm config --cflags --libs)"
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m clstm", description="Without a command: prints what computes here."
    )
    config = parser.add_subparsers(dest="command").add_parser(
        "config",
        help="print what C programs are compiled and linked with",
        description=CONFIG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config.add_argument("--cflags", action="store_true", help="where clstm.h is")
    config.add_argument("--libs", action="store_true", help="libclstm.a, and what it needs")
    config.add_argument(
        "--cmakedir", action="store_true", help="the folder of clstmConfig.cmake, never quoted"
    )
    arguments = parser.parse_args()
    if arguments.command is None:
        show_config()
        return
    fields = [f for f, wanted in (("Cflags", arguments.cflags), ("Libs", arguments.libs)) if wanted]
    if not fields and not arguments.cmakedir:
        config.error("which of --cflags, --libs and --cmakedir?")
    flags = [shlex.join(compiler_arguments(*fields))] if fields else []
    print(*flags, *([get_cmake_dir()] if arguments.cmakedir else []))


main()
