"""Command line: ``python -m lib.evidence record|verify|sums [NAME=VALUE ...]``."""

from collections import Counter

from lib import params
from lib.evidence import archive, verify
from lib.figures.formatting import many
from lib.params.errors import InputError, run_command
from lib.params.files import shown, visible
from lib.params.given import only

TAKES = {
    "record": ("protocol", "runs", "results"), "verify": ("runs", "results", "data_root"),
    "sums": (),
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Raises `InputError` for an unknown command or a record that cannot be made."""
    command, *settings = arguments or [""]
    if command not in TAKES:
        raise InputError(f"{command!r} is not a command: write record, verify or sums.")
    given = params.from_words(settings)
    only(given, TAKES[command], command)
    name = given.pop("protocol", "") or "compact"
    p = params.load(name.partition("+")[0], **given)
    runs, root, results = (params.ROOT / name for name in (p.runs, p.data_root, p.results))
    if command == "record":
        for folder in archive.freeze_all(runs, results, name):
            size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
            print(f"{shown(folder)}  {size / 1024:,.0f} kB")
    elif command == "verify":
        wrong, skipped = list(verify.problems(results)), Counter[str]()
        for problem, table in verify.retest(results, runs, root) if not wrong else ():
            if problem.startswith("skipped:"):
                skipped[problem] += 1
            else:
                print(f"{table}: {problem or 'rebuilt and classified again'}")
                wrong += [problem] if problem else []
        for problem, tables in skipped.items():
            print(f"{many(tables, 'table')} {problem}")
        if wrong:
            raise InputError("\n".join(wrong))
        count = len(visible(results, "**/run.json"))
        print(f"verified: {count} folders of results, {len(verify.printed_sums())} printed tables")
    else:
        verify.write_sums()


if __name__ == "__main__":
    run_command(main)
