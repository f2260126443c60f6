#!/usr/bin/env python3
"""META.json by the rules of PGXN's meta spec 1.0.0, and by what is in the tree.

    python3 test/check_meta.py

Prints what is wrong, a line each; the exit status tells whether anything is.
"""
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$")
RANGE = re.compile(r"((==|!=|>=|<=|>|<)\s*)?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$")
TERM = re.compile(r"[^\s/\\\x00-\x1f]{2,}$")
LICENCES = {"agpl_3", "apache_1_1", "apache_2_0", "artistic_1", "artistic_2", "bsd", "freebsd", "gfdl_1_2",
            "gfdl_1_3", "gpl_1", "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit", "mozilla_1_0", "mozilla_1_1",
            "openssl", "perl_5", "postgresql", "qpl_1_0", "ssleay", "sun", "zlib", "open_source", "restricted",
            "unrestricted", "unknown"}
KEYS = {"name", "version", "abstract", "maintainer", "license", "provides", "meta-spec", "description",
        "generated_by", "tags", "no_index", "prereqs", "release_status", "resources"}
MANDATORY = {"name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"}
RESOURCES = {"homepage": None, "bugtracker": {"web", "mailto"}, "repository": {"url", "web", "type"}}

wrong = []


def check(good, words):
    """Notes what is wrong, unless it is good."""
    if not good:
        wrong.append(words)


def is_uri(text):
    """Whether a text is a URI with a scheme and a host or an address."""
    parts = urlsplit(text) if isinstance(text, str) else None
    return bool(parts and parts.scheme in ("http", "https", "git", "ssh") and parts.netloc)


def check_resources(resources):
    """homepage is a URI; the others have members of their own."""
    check(isinstance(resources, dict) and resources, "resources: an object with at least one member")
    for name, value in resources.items():
        if name.startswith("x_"):
            continue
        check(name in RESOURCES, f"resources.{name} is unknown")
        members = RESOURCES.get(name)
        if members is None:
            check(is_uri(value), f"resources.{name} is no URI")
            continue
        check(isinstance(value, dict) and value and set(value) <= members, f"resources.{name}: of {sorted(members)}")
        for member in ("web", "url"):
            check(member not in value or is_uri(value[member]), f"resources.{name}.{member} is no URI")
        check("type" not in value or value["type"].islower(), "resources.repository.type is not in lower case")


def check_provides(provides, version):
    """Each extension has its file, its document and the version of its control file."""
    check(isinstance(provides, dict) and provides, "provides: at least one extension")
    for name, extension in provides.items():
        check(TERM.match(name), f"provides: {name!r} is no term")
        check(SEMVER.match(extension.get("version", "")), f"provides.{name}.version is no semantic version")
        check(extension.get("version") == version, f"provides.{name}.version differs from the distribution's")
        for key in ("file", "docfile"):
            path = extension.get(key)
            check(key != "file" or path, f"provides.{name}.file is missing")
            check(not path or (ROOT / path).is_file(), f"provides.{name}.{key}: there is no {path}")
        control = (ROOT / f"{name}.control").read_text()
        short = re.search(r"default_version = '([^']*)'", control).group(1)
        check(version == short or version == short + ".0", f"{name}.control has version {short}, META.json {version}")
        check(extension.get("file", "").endswith(f"--{short}.sql"), f"provides.{name}.file is not that of version {short}")


def check_prereqs(prereqs):
    """phase → relation → name → range of versions."""
    for phase, relations in prereqs.items():
        check(phase in ("configure", "build", "test", "runtime", "develop"), f"prereqs.{phase} is unknown")
        for relation, names in relations.items():
            check(relation in ("requires", "recommends", "suggests", "conflicts"), f"prereqs.{phase}.{relation} is unknown")
            for name, versions in names.items():
                good = versions == 0 or all(RANGE.match(v.strip()) for v in str(versions).split(","))
                check(good, f"prereqs.{phase}.{relation}.{name}: {versions!r} is no range of versions")


def main():
    """Checks the file, prints what is wrong with it."""
    meta = json.loads((ROOT / "META.json").read_text(encoding="utf-8"))
    check(MANDATORY <= set(meta), f"missing: {sorted(MANDATORY - set(meta))}")
    unknown = {key for key in meta if key not in KEYS and not key.lower().startswith("x_")}
    check(not unknown, f"unknown: {sorted(unknown)}")
    check(TERM.match(meta["name"]), "name is no term")
    check(SEMVER.match(meta["version"]), "version is no semantic version")
    for key in ("abstract", "description", "generated_by"):
        check(key not in meta or (isinstance(meta[key], str) and meta[key].strip()), f"{key} is empty")
    people = meta["maintainer"] if isinstance(meta["maintainer"], list) else [meta["maintainer"]]
    check(people and all(isinstance(p, str) and p.strip() for p in people), "maintainer is empty")
    names = meta["license"] if isinstance(meta["license"], list) else [meta["license"]]
    check(isinstance(meta["license"], dict) or set(names) <= LICENCES, f"license {names} is unknown")
    check(meta.get("release_status") in (None, "stable", "testing", "unstable"), "release_status is unknown")
    for tag in meta.get("tags", []):
        check(0 < len(tag) < 256 and not re.search(r"[/\\\x00-\x1f]", tag), f"tag {tag!r}")
    spec = meta["meta-spec"]
    check(re.match(r"1\.\d+\.\d+$", spec.get("version", "")), "meta-spec.version is not 1.x")
    check(spec.get("url") in (None, "https://pgxn.org/meta/spec.txt", "http://pgxn.org/meta/spec.txt"), "meta-spec.url")
    check_provides(meta["provides"], meta["version"])
    check_prereqs(meta.get("prereqs", {}))
    check_resources(meta.get("resources", {}))
    print("\n".join(wrong) or "META.json is right")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
