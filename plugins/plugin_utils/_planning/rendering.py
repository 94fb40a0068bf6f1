# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Customization items made ready for one server. Pure; private to this collection.

Masters come from other sites too, so their templates must not be able to run lookups or reach the controller's
variables: a sandboxed Jinja2 with the inputs and the server's facts, and nothing else.
"""

from __future__ import annotations

import typing as t

import jinja2
import jinja2.sandbox

from ...module_utils._core.errors import InvalidRequest

Body = t.Mapping[str, t.Any]

RENDERED = {"template": ("content",), "firstboot": ("content",), "seed": ("content",), "regexp": ("replacement",)}


def render_items(master: Body, inputs: Body, server: Body) -> tuple[list[dict[str, t.Any]], dict[str, t.Any] | None]:
    """Return (the master's items with their texts rendered, the NoCloud seed of its ``seed`` item or None)."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    context = {**inputs, **server}
    secret = {entry["name"] for entry in master.get("inputs") or () if entry.get("secret")}
    items = [_render_item(environment, item, context, secret) for item in master.get("items") or ()]
    return items, _make_seed(items, server)


def _render_item(
    environment: jinja2.Environment, item: Body, context: Body, secret: t.Collection[str]
) -> dict[str, t.Any]:
    rendered = dict(item)
    for field in RENDERED.get(item["type"], ()):
        try:
            rendered[field] = environment.from_string(item.get(field) or "").render(context)
        except jinja2.TemplateError as exc:
            raise InvalidRequest(
                f"customization item {item['name']}",
                f"its {field} cannot be rendered: {exc.message}",
                remedy=f"It may use {', '.join(sorted(context))}.",
            ) from exc
    texts = " ".join(str(item.get(field) or "") for field in ("content", "replacement"))
    rendered["secret"] = any(name in texts for name in secret)
    if rendered["secret"]:
        # Options of their own, so that Ansible hides these texts and no others.
        for field in ("content", "replacement"):
            if field in rendered:
                rendered[f"secret_{field}"] = rendered.pop(field)
    return rendered


def _make_seed(items: t.Sequence[Body], server: Body) -> dict[str, t.Any] | None:
    user_data = next((item.get("secret_content") or item["content"] for item in items if item["type"] == "seed"), None)
    if user_data is None:
        return None
    name = server["server_name"]
    return {
        "meta_data": f"instance-id: {name}-{server['mac']}\nlocal-hostname: {name}\n",
        "user_data": user_data,
        "network_config": None,
    }
