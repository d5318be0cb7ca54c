"""What an import cannot go on with."""


class LegacyError(Exception):
    """The import cannot go on."""

    permanent = True  # the same call would end the same way

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")


class SourceUnreachableError(LegacyError):
    """The source cannot be opened."""

    permanent = False


class UnknownFormatError(LegacyError):
    """Nothing here looks like conversations; name the format with --format."""


class OptionError(LegacyError):
    """An option does not fit the source."""


class TakenOverError(LegacyError):
    """Another process goes on with this import; this one stops."""


class NoSuchImportError(LegacyError):
    """There is no such import."""


class WrittenSinceError(LegacyError):
    """People have written since; undo would have to tear their messages from what they answered."""


class WentBackError(LegacyError):
    """What was committed last is not in the database any more."""

    def __init__(self) -> None:
        super().__init__(
            "The database does not know what was written last: it was restored, or another server has taken over. "
            "Start the import again; it goes on from where the database is."
        )
