"""Every refusal of a picture, and every failure of the store, with its stable code."""

from scheduler.errors import InvalidError, NotFoundError, UnavailableError


class MediaUnreadableError(InvalidError):
    """Cut off, damaged, or only dressed up as a picture."""

    code = "media_unreadable"


class MediaTypeUnsupportedError(InvalidError):
    code = "media_type_unsupported"
    status = 415


class MediaMislabelledError(InvalidError):
    """The bytes are a picture, but not of the declared type."""

    code = "media_mislabelled"


class MediaTooLargeError(InvalidError):
    """More bytes, pixels or frames than allowed, as the file itself says."""

    code = "media_too_large"
    status = 413


class MediaBombError(InvalidError):
    """Costs far more to decode than its headers say, or more than the sandbox gives."""

    code = "media_bomb"


class MediaMetadataLeftError(InvalidError):
    """Something besides the picture is in the file, or cannot be shown to be gone."""

    code = "media_metadata_left"


class MediaDecoderError(UnavailableError):
    """The decoding process could not be started or did not answer in its own terms."""

    code = "media_decoder_unavailable"


class MediaMissingError(NotFoundError):
    code = "media_missing"


class MediaCorruptError(UnavailableError):
    """A stored file no longer has the bytes its name promises; restore it from a backup."""

    code = "media_corrupt"


class StorageFullError(UnavailableError):
    """Nothing was stored; make room in the data folder and try again."""

    code = "storage_full"
    status = 507
