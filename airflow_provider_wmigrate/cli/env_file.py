"""`.env`: variables in a file of the working directory, which is read only when a variable of it may count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from .failure import EnvFileError, UsageError

DEFAULT = Path(".env")


class EnvFile:
    """:param path: None: no file is read."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @classmethod
    def chosen(cls, named: str | None, *, switched_off: bool) -> EnvFile:
        """The file that was named, else `.env` where there is one.

        :raises UsageError: the named file is not there, or it was named and switched off.
        """
        if named is not None and switched_off:
            raise UsageError("--env-file and --no-env-file contradict each other", hint="leave one out")
        if named is not None and not Path(named).is_file():
            raise UsageError(f"{named}: there is no such file", hint="correct --env-file, or leave it out")
        path = Path(named) if named is not None else DEFAULT
        return cls(path if not switched_off and path.is_file() else None)  # a virtual environment may be called .env

    @cached_property
    def values(self) -> Mapping[str, str]:
        """What the file says, with `${NAME}` filled in.

        :raises EnvFileError: it cannot be read.
        """
        if self.path is None:
            return {}
        try:
            data = self.path.read_bytes()
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise EnvFileError(str(self.path), line, "is not UTF-8") from None
        except OSError as error:
            raise EnvFileError(str(self.path), None, f"cannot be read: {error.strerror}") from None
        return _parsed(text, str(self.path))

    def behind(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """The process's variables, and this file's where the process has none of that name."""
        return environ if self.path is None else _Behind(environ, self)


def _parsed(text: str, file: str) -> Mapping[str, str]:
    from io import StringIO

    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    for binding in parse_stream(StringIO(text)):
        if binding.error:
            said = binding.original
            line = said.line + said.string[: len(said.string) - len(said.string.lstrip())].count("\n")
            raise EnvFileError(file, line, "is not NAME=VALUE, or has a quote that is not closed")
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


class _Behind(Mapping[str, str]):
    def __init__(self, environ: Mapping[str, str], file: EnvFile) -> None:
        self._environ, self._file = environ, file

    def __getitem__(self, name: str) -> str:
        return self._environ[name] if name in self._environ else self._file.values[name]

    def __bool__(self) -> bool:
        return True  # whoever asks only this need not have the file read

    def __iter__(self) -> Iterator[str]:
        return iter({**self._file.values, **self._environ})

    def __len__(self) -> int:
        return len({**self._file.values, **self._environ})
