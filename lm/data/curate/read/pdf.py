"""PDF: the text of its pages."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, whole

_HYPHENATED = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields the text of a PDF file, its pages set apart by empty lines, words that were hyphenated whole again."""
    raw = whole(file, options.max_record_bytes)
    yield raw if isinstance(raw, Refused) else pdf_text(raw)


def pdf_text(raw: bytes) -> Found | Refused:
    """Returns the text of a PDF file's bytes and what it says of its title and date."""
    try:
        import pypdf
    except ImportError as error:
        raise UserError("reading PDF needs pypdf; pip install 'lm[curate]'") from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # of damaged files it tells much; we tell it in one reason
    try:
        document = pypdf.PdfReader(io.BytesIO(raw))
        if document.is_encrypted and not document.decrypt(""):
            return Refused("an encrypted PDF", raw)
        pages = [page.extract_text().strip() for page in document.pages]
        meta = _meta(document.metadata)
    except Exception as error:  # what malformed files raise is of any kind
        return Refused(f"malformed PDF: {type(error).__name__}", raw)
    text = _HYPHENATED.sub("", "\n\n".join(page for page in pages if page))
    return Found(text, meta) if text else Refused("a PDF without text, such as a scan", raw)


def _meta(information: Any) -> dict[str, Any]:
    known = {"title": information.title, "date": str(information.creation_date or "")} if information else {}
    return {"content_type": "application/pdf"} | {name: value for name, value in known.items() if value}
