"""The start of a2py.pyz: find or unpack the parts for this interpreter, then be a2py.

Knows: the archive that contains it (tools/pyz.py fills in PARTS), the cache directory. Must not know: a2py.
Invariants: it can be read by any Python since 2.7, so that a wrong one gets a sentence; a directory is complete or not
there (renamed into place); nothing is loaded from a directory that another user owns or could write. A start with a
filled cache imports nothing but sys, os and _imp, and reads the archive's directory of seven entries: it takes as long
as the installed package, but for Python's own way into a zip (5 ms).
"""

import os
import sys

#: Suffix of extension modules (it names interpreter, version, processor and libc) -> name of the inner archive.
PARTS = {}
#: The inner archive of what all of them share.
COMMON = ""
#: Digest of the whole content, so that no other build uses the same cache directory.
DIGEST = ""
VERSIONS = ""


def fail(message):
    sys.stderr.write("a2py: " + message + "\n")
    raise SystemExit(1)


def suffix():
    try:
        import _imp

        return _imp.extension_suffixes()[0]
    except (ImportError, AttributeError, IndexError):
        return ""


def mine(path, mode):
    """Return whether `path` is a directory of this user that has none of the permissions `mode`."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & mode


def roots():
    """Return the folders that may hold the cache: systemd's CacheDirectory=, XDG's, the home folder's."""
    first = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if first:
        yield first
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")
    if os.path.isabs(base):
        yield os.path.join(base, "a2py")
    elif os.path.isabs(home):
        yield os.path.join(home, ".cache", "a2py")


def unpack(archive, part, into):
    from io import BytesIO
    from zipfile import ZipFile

    with ZipFile(archive) as outer:
        for name in (COMMON, part):
            with ZipFile(BytesIO(outer.read(name))) as inner:
                inner.extractall(into)


def place(archive, part):
    """Return the directory with the unpacked parts. Unpack them if necessary."""
    name = "pyz-" + DIGEST + "-" + part.split(".")[0]
    for root in roots():
        final = os.path.join(root, name)
        if mine(root, 0o002) and mine(final, 0o022):
            return final
        try:
            if not os.path.isdir(root):
                os.makedirs(root, 0o700)
            if not mine(root, 0o002):
                continue
            from shutil import rmtree
            from tempfile import mkdtemp

            new = mkdtemp(prefix=".new-", dir=root)
        except OSError:
            continue
        try:
            unpack(archive, part, new)
            os.rename(new, final)
            return final
        except OSError:
            rmtree(new, ignore_errors=True)
            if mine(final, 0o022):
                return final  # another start unpacked at the same time
    import atexit
    from shutil import rmtree
    from tempfile import mkdtemp

    new = mkdtemp(prefix="a2py-")  # no cache can be written: unpack for this run only
    atexit.register(rmtree, new, True)
    unpack(archive, part, new)
    return new


def begin():
    archive = os.path.dirname(os.path.abspath(__file__))
    part = PARTS.get(suffix())
    if part is None:
        here = "{}.{} ({})".format(sys.version_info[0], sys.version_info[1], suffix() or sys.platform)  # noqa: UP032  (older Pythons read this)
        fail(
            "this file holds CPython "
            + VERSIONS
            + "; this is "
            + here
            + ": start it with one of those, or pipx install a2py"
        )
    directory = place(archive, part)
    sys.path[0] = directory
    try:
        from a2py.cli import main

        return main()
    except ImportError as error:
        if "failed to map segment" not in str(error):
            raise
        return fail(
            directory
            + " lies on a file system from which nothing may be executed: set XDG_CACHE_HOME to another directory"
        )


if __name__ == "__main__":
    sys.exit(begin())
