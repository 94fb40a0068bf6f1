# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime

import pytest
from ansible.parsing import vault
from ansible_collections.encompass.images.plugins.module_utils._core.errors import InvalidRequest
from ansible_collections.encompass.images.plugins.plugin_utils._catalog.json import from_text, to_plain, to_text

KEY = "correct horse"


class TaggedStr(str):
    pass


class TaggedInt(int):
    pass


class TaggedFloat(float):
    pass


def make_vaulted():
    """Return the values in which a secret reaches us, as far as this core has them."""
    secrets = [("default", vault.VaultSecret(KEY.encode()))]
    ciphertext = vault.VaultLib(secrets).encrypt("swordfish").decode()
    if not hasattr(vault, "VaultHelper"):
        from ansible.parsing.yaml.objects import AnsibleVaultEncryptedUnicode

        return [AnsibleVaultEncryptedUnicode(ciphertext.encode())]
    from ansible._internal._datatag._tags import VaultedValue

    return [vault.EncryptedString(ciphertext=ciphertext), VaultedValue(ciphertext=ciphertext).tag("swordfish")]


@pytest.mark.parametrize("secret", make_vaulted())
def test_a_vaulted_value_is_refused_by_the_path_of_its_key(secret):
    with pytest.raises(InvalidRequest) as refusal:
        to_plain({"inputs": [{"password": secret}]})

    assert refusal.value.subject == "inputs[0].password"
    assert "swordfish" not in str(refusal.value)


def test_values_become_exactly_the_plain_types():
    value = {TaggedStr("a"): [TaggedStr("b"), TaggedInt(1), TaggedFloat(0.5), True, None], 7: ("x",), "s": {"b", "a"}}

    plain = to_plain(value)

    assert plain == {"a": ["b", 1, 0.5, True, None], "7": ["x"], "s": ["a", "b"]}
    assert [type(item) for item in plain["a"]] == [str, int, float, bool, type(None)]
    assert {type(key) for key in plain} == {str}


def test_trust_is_dropped():
    template = pytest.importorskip("ansible.template")
    if not hasattr(template, "trust_as_template"):
        pytest.skip("core up to 2.18 trusts by default")

    plain = to_plain({"a": template.trust_as_template("{{ x }}")})

    assert [type(plain["a"])] == [str]
    assert not template.is_trusted_as_template(plain["a"])


def test_a_date_is_stored_as_text():
    assert to_plain({"day": datetime.date(2026, 1, 2)}) == {"day": "2026-01-02"}


@pytest.mark.parametrize("value", [object(), b"bytes", float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused_by_its_path(value):
    with pytest.raises(InvalidRequest) as refusal:
        to_plain({"a": {"b": value}})

    assert refusal.value.subject == "a.b"


def test_equal_values_have_equal_texts():
    assert to_text({"b": 1, "a": "ä"}) == to_text({"a": "ä", "b": 1}) == '{"a":"ä","b":1}'
    assert from_text(to_text({"a": [1, None]})) == {"a": [1, None]}
