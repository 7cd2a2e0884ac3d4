"""How the command refuses: one line on stderr with a stable code, exit status 1."""

import click

from scheduler.errors import ConflictError, InvalidError, UnauthenticatedError, UnavailableError


class RefusedError(click.ClickException):
    """What is printed as `error: … [code]`; bad usage is click's own, with exit status 2."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code

    def show(self, file: object = None) -> None:
        del file  # always stderr
        click.echo(f"error: {self.message} [{self.code}]", err=True)


class NotLoggedInError(UnauthenticatedError):
    """The command found no token for the installation; `chancery login` gets one."""

    code = "not_logged_in"


class ServerUnreachableError(UnavailableError):
    """The installation's web process does not answer at its address."""

    code = "server_unreachable"


class AnswerUnreadableError(UnavailableError):
    """Something answers at the address, but not Chancery's API."""

    code = "answer_unreadable"


class AddressInvalidError(InvalidError):
    """No http or https address."""

    code = "address_invalid"


class AddressInsecureError(InvalidError):
    """A token would travel unencrypted to another machine."""

    code = "address_insecure"


class LoginFileError(InvalidError):
    """The file with the tokens is open to others or cannot be read."""

    code = "login_file_unusable"


class InstallationMissingError(UnavailableError):
    """There is no installation here yet; `chancery init` makes one."""

    code = "installation_missing"


class DatabaseOutdatedError(UnavailableError):
    """The database has another revision than this program; `chancery db upgrade` brings it up to date."""

    code = "database_outdated"


class KeyFileInsideDataError(InvalidError):
    """Whoever takes a copy of the data folder would take the keys with it."""

    code = "key_file_inside_data"


class AlreadyRunningError(ConflictError):
    """Another `chancery up` runs on the same data folder."""

    code = "already_running"


class WorkerRunningError(ConflictError):
    """On SQLite there is one worker; several need PostgreSQL."""

    code = "worker_running"


class FileNotTextError(InvalidError):
    """A file that should hold text has bytes that are not UTF-8."""

    code = "file_not_text"


class ProcessRefusedError(UnavailableError):
    """A process of the installation refused to start; it has said why itself."""

    code = "process_refused"


class AlertsNotConfiguredError(InvalidError):
    code = "alerts_not_configured"


class AlertTestFailedError(UnavailableError):
    """A test alert did not arrive; what came back is printed above."""

    code = "alert_test_failed"


class AddressTakenError(UnavailableError):
    """The web process cannot listen at `CHANCERY_LISTEN`."""

    code = "address_taken"


class RecordInvalidError(ConflictError):
    """The audit log, an export of it, or the database against it does not verify."""

    code = "record_invalid"


class UnhealthyError(UnavailableError):
    """`chancery doctor` found at least one check that fails."""

    code = "unhealthy"
