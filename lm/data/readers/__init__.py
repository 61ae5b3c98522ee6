"""Readers: whatever the text lies in, one iterable of documents comes out.

Text goes through `open_documents`, token files made elsewhere through `tokens.open_token_documents`.
Ids count lines from 1, as editors do, and everything else (pieces, row groups, batches, rows) from 0.
"""

from lm.data.readers.base import Document, Documents
from lm.data.readers.files import FORMATS, open_documents

__all__ = ["FORMATS", "Document", "Documents", "open_documents"]
