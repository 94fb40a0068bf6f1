# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's errors mean to an operator. Private to this collection; may change without notice."""

from __future__ import annotations

import re
import typing as t

# libpq names the address and then, after the last of these, the reason.
_PREFIX = re.compile(r"^(connection failed: )?(connection to server .*? failed: )?((FATAL|ERROR): +)?")

_REMEDIES: t.Mapping[str, str] = {
    "password": "Give the role's password by a password file (PGPASSFILE, ~/.pgpass) or by PGPASSWORD.",
    "certificate": "Check sslmode and sslrootcert in the URL, and the host's name in the server's certificate.",
    "SSL": "Check sslmode in the URL, and whether the server offers TLS.",
    "pg_hba.conf": "Allow this host, role and database in the server's pg_hba.conf.",
    "permission denied": "Grant the role what the README names for several control nodes.",
    "lock timeout": "Somebody has kept the catalog locked for more than 30 s; end that process, then try again.",
    "statement timeout": "The server is overloaded or hangs; look at it, then run the play again.",
    "No space left": "Free some space on the server, then run the play again; nothing was changed.",
    "could not extend": "Free some space on the server, then run the play again; nothing was changed.",
    "read-only transaction": "Name the primary server, or all with target_session_attrs=read-write, in the URL.",
    "during recovery": "Name the primary server, or all with target_session_attrs=read-write, in the URL.",
    "too many": "Raise max_connections: each run has one connection per fork, and one more.",
    "remaining connection slots": "Raise max_connections: each run has one connection per fork, and one more.",
    "does not exist": "Check the names in the URL.",
    "URI": "Use postgresql://user@host:5432/database?sslmode=verify-full.",
}


def describe_problem(error: Exception) -> str:
    """Return what happened in one line, without the server's details, which may hold values."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    text = str(primary or error).strip() or type(error).__name__
    return _PREFIX.sub("", text.splitlines()[0]).strip()


def find_remedy(error: Exception) -> str:
    """Return what to do about it."""
    for part, remedy in _REMEDIES.items():
        if part in str(error):
            return remedy
    return "Check that the server runs and can be reached from here."
