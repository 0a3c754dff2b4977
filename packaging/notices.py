#!/usr/bin/env python3
"""Writes the licenses of every crate that is linked into `fer` for one target.

    packaging/notices.py TARGET > THIRD-PARTY.txt

Cargo says which crates they are; the texts come from the crates' own sources. The output depends
on Cargo.lock and the target alone. It is an error, with exit code 1 and every crate named, if a
crate's license expression can't be met by the licenses in ALLOWED, or if its text is nowhere.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause",
    "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "OFL-1.1", "Ubuntu-font-1.0",
    "Unicode-3.0", "Unlicense", "Zlib",
}
TEXT = re.compile(r"(un)?licen[sc]e|copying|copyright|notice", re.IGNORECASE)
# Texts under other names, by crate.
MORE_TEXTS = {"epaint_default_fonts": ["fonts/*.txt"]}
# Folders that are not part of the program.
OUTSIDE = {"benches", "examples", "test", "tests"}


def met(expression: str, allowed: set[str] = ALLOWED) -> bool:
    """Whether an SPDX expression can be met by the allowed licenses.

    >>> met("MIT"), met("MIT/Apache-2.0"), met("GPL-3.0-only")
    (True, True, False)
    >>> met("GPL-3.0-only OR MIT"), met("GPL-3.0-only AND MIT")
    (True, False)
    >>> met("(MIT OR GPL-3.0-only) AND OFL-1.1"), met("MIT OR GPL-3.0-only AND OFL-1.1")
    (True, True)
    >>> met("(GPL-3.0-only OR LGPL-3.0-only) AND MIT")
    False
    >>> met("Apache-2.0 WITH LLVM-exception"), met("MIT WITH Classpath-exception-2.0")
    (True, False)
    >>> met("MIT OR Apache-2.0", {"Apache-2.0"}), met("MIT AND Apache-2.0", {"Apache-2.0"})
    (True, False)
    >>> met("MIT OR")
    Traceback (most recent call last):
    ValueError: not a license expression: MIT OR
    """
    spaced = re.sub(r"\s+WITH\s+", "+WITH+", expression.replace("/", " OR "))
    words = re.findall(r"[()]|[^\s()]+", spaced)

    def term() -> bool:
        if not words or words[0] in ("AND", "OR", ")"):
            raise ValueError(f"not a license expression: {expression}")
        word = words.pop(0)
        if word != "(":
            return word.replace("+WITH+", " WITH ") in allowed
        value = alternatives()
        if not words or words.pop(0) != ")":
            raise ValueError(f"not a license expression: {expression}")
        return value

    def conjunction() -> bool:
        values = [term()]
        while words and words[0] == "AND":
            words.pop(0)
            values.append(term())
        return all(values)

    def alternatives() -> bool:
        values = [conjunction()]
        while words and words[0] == "OR":
            words.pop(0)
            values.append(conjunction())
        return any(values)

    value = alternatives()
    if words:
        raise ValueError(f"not a license expression: {expression}")
    return value


def cargo(*arguments: str) -> str:
    command = ["cargo", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target: str) -> list[dict]:
    """The crates from elsewhere whose code is in the program, sorted by name and version."""
    tree = cargo(
        "tree", "--locked", "--features", "shards", "--edges", "normal,no-proc-macro", "--target", target,
        "--prefix", "none", "--format", "{p}",
    )
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines()}
    packages = cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target)
    found = [
        package
        for package in json.loads(packages)["packages"]
        if package["source"] and (package["name"], "v" + package["version"]) in wanted
    ]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package: dict) -> list[str]:
    """The license texts in a crate's sources."""
    folder = Path(package["manifest_path"]).parent
    files = {
        path
        for path in folder.rglob("*")
        if TEXT.match(path.name)
        and path.suffix not in (".rs", ".py", ".json", ".toml")
        and path.is_file()
        and not OUTSIDE & set(path.relative_to(folder).parts)
    }
    if package["license_file"]:
        files.add(folder / package["license_file"])
    for pattern in MORE_TEXTS.get(package["name"], []):
        files.update(folder.glob(pattern))
    read = (path.read_text(encoding="utf-8", errors="replace") for path in sorted(files))
    return [re.sub(r"[ \t\r]+\n", "\n", text + "\n").strip("\n") for text in read]


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: packaging/notices.py TARGET", file=sys.stderr)
        return 2
    packages = linked(sys.argv[1])
    by_repository: dict[str, list[str]] = {}
    for package in packages:
        if package["repository"] and (own := texts(package)):
            by_repository.setdefault(package["repository"], own)
    standard = (ROOT / "LICENSE-APACHE").read_text(encoding="utf-8").strip("\n")

    faults, listed, users = [], [], {}
    for package in packages:
        name, expression = f"{package['name']} {package['version']}", package["license"]
        if not expression or not met(expression):
            faults.append(f"{name}: license {expression}")
            continue
        # A crate without a text has its repository's, or Apache's if it may be used under that.
        found = texts(package) or by_repository.get(package["repository"])
        if not found and met(expression, {"Apache-2.0"}):
            found = [standard]
        if not found:
            faults.append(f"{name}: no text of its license, {expression}")
            continue
        address = package["repository"] or "no address given"
        listed.append(f"{name}: {expression}\n    {address}")
        for text in found:
            users.setdefault(text, []).append(name)
    if faults:
        heading = "packaging/notices.py: these crates may not be in a package:"
        print(heading, *faults, sep="\n  ", file=sys.stderr)
        return 1

    rule = "\n\n" + "=" * 80 + "\n"
    print(f"fer contains code of these {len(listed)} crates, under the licenses named, whose texts")
    print("follow. Their sources are at the addresses given. The standard library of Rust is in it")
    print("too, under the Apache License 2.0 (https://github.com/rust-lang/rust).\n")
    print("\n".join(listed))
    for text, names in users.items():
        print(rule + "\n".join(names), "-" * 80, text, sep="\n", end="")
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
