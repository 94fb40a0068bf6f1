# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is killed in the crash sweep: each operation with what has to be there before it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from unittest import mock

from tests.integration.site import POOL, SHARED, make_web
from tests.lab.controller import RunningPlaybook
from tests.trials.crash_site import EXTRA, CrashSite, make_next

# Nobody waits for a guest: what it boots is proven elsewhere, and a plug is pulled soon.
WEB = make_web(count=1, version=1, ready=None, stop_timeout_s=1)
DATA = [{"name": "db", "size_mib": 16, "filesystem": "ext4", "label": "data"}]


@dataclass(frozen=True)
class Call:
    """A run of ansible-playbook."""

    playbook: str | list[dict[str, t.Any]]
    variables: t.Mapping[str, t.Any] | t.Callable[[CrashSite], t.Mapping[str, t.Any]] = field(default_factory=dict)
    catalog: str = ""
    """The catalog's file on the control node, when it is another one than the configured one."""

    def start(self, site: CrashSite) -> RunningPlaybook:
        playbook = f"encompass.images.{self.playbook}" if isinstance(self.playbook, str) else self.playbook
        variables = self.variables(site) if callable(self.variables) else self.variables
        named = {"ENCOMPASS_CATALOG_URL": str(site.controller.directory / self.catalog)} if self.catalog else {}
        with mock.patch.dict(site.controller.environment, named):
            return site.controller.start(playbook, **variables)


@dataclass(frozen=True)
class Operation:
    """A call that is killed and made again, what comes before it, and how to get back to where records are read."""

    call: Call
    before: tuple[Call, ...] = ()
    settle: t.Callable[[CrashSite], None] = lambda _site: None
    again: Call | None = None
    """How it is made once more, when that is another call."""
    reset: t.Callable[[CrashSite], None] = lambda _site: None
    """Undoes before each round what a checkpoint does not."""
    workers: tuple[str, ...] = ("controller", "module")
    """Who changes something in it; a sweep that sees nothing of them proves nothing."""


def deploy(**changes: t.Any) -> Call:
    """Return a deployment of one server."""
    return Call("deploy", {"encompass_deployments": [{**WEB, **changes}]})


def migrate(*, live: bool) -> Call:
    """Return a migration of that server, away from the provider that new servers get first."""

    def choose(site: CrashSite) -> dict[str, t.Any]:
        return {"encompass_migrate": [{"machines": ["web-1"], "live": live, "to": site.lab.hosts[1].name}]}

    return Call("migrate", choose)


# What a killed run may have left: something staged by a process that is gone, and a domain that no record names.
_SPOIL = f"""
set -e
place={POOL}/.staging/clone~x~$(tr -d '\\n' </etc/machine-id | sha256sum | cut -c1-8)-0-1-1
virsh -q list --all --name | grep -qx web-1 || exit 0
mkdir $place
echo left >$place/root.qcow2
virsh -q dumpxml --inactive web-1 >/tmp/web-7.xml
sed -i 's/web-1/web-7/; s,/clones/,/x/,; s/52:54:00:/52:54:77:/; /<uuid>/d' /tmp/web-7.xml
virsh -q define /tmp/web-7.xml
"""
SPOIL = Call([{"hosts": "encompass_providers", "gather_facts": False, "tasks": [{"ansible.builtin.shell": _SPOIL}]}])
# Another pool of the providers' own, beside the two that they have.
POOLS = [{"name": "default", "path": POOL}, {"name": "shared", "path": SHARED, "shared": True}]
MORE_POOLS = Call("hypervisor", {"encompass_pools": [*POOLS, {"name": "extra", "path": EXTRA}]})
# A machine that is nobody's, and off: its disk is the image that the site's master is made of.
_DONOR = """
<domain type='qemu'><name>guest</name><memory unit='MiB'>96</memory><os><type arch='x86_64'>hvm</type></os>
<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='/srv/local/guest.qcow2'/>
<target dev='vda' bus='virtio'/></disk></devices></domain>
"""
_MAKE_DONOR = f"cp /srv/shared/web-server.qcow2 /srv/local/guest.qcow2; virsh define /dev/stdin <<'END'\n{_DONOR}END\n"
MAKE_DONOR = Call(
    [{"hosts": "encompass_providers", "gather_facts": False, "tasks": [{"ansible.builtin.shell": _MAKE_DONOR}]}]
)


def donate() -> Call:
    """Return the capture of that machine where the first provider has it."""
    donor = {"domain": "guest", "function": "donated", "min_memory_mib": 96}
    return Call("capture", lambda site: {"encompass_capture_donors": [{**donor, "provider": site.lab.hosts[0].name}]})


MAINTAIN = Call("maintain", {"encompass_maintain_clone": "web-1"})
UPDATE = Call("update", {"encompass_deployments": [WEB], "encompass_update_version": 2})
CAPTURE = Call("capture", {"encompass_capture": ["web-1"]})
RETIRE = Call("retire", {"encompass_retire": ["web"], "encompass_retire_data": True})
NEXT = Call(make_next())
OTHER = Call(make_next(function="night", version=1))
TARGET = {"encompass_catalog_target": "moved.sqlite"}
MOVE = Call("move_catalog", TARGET)
# Who still uses the old catalog is told to name the new one, also when it was on its way there.
MOVE_AGAIN = Call("move_catalog", {**TARGET, "encompass_catalog_source": "catalog.sqlite"}, "moved.sqlite")

OPERATIONS: t.Mapping[str, Operation] = {
    "add_master": Operation(NEXT),
    "deploy": Operation(deploy()),
    "update": Operation(UPDATE, (deploy(), NEXT)),
    "rollback": Operation(Call("rollback", {"encompass_rollback": ["web"]}), (deploy(), NEXT, UPDATE)),
    "reassign": Operation(
        Call("reassign", {"encompass_reassign": [{"machines": ["web-1"], "function": "night"}]}), (deploy(), OTHER)
    ),
    "migrate_live": Operation(migrate(live=True), (deploy(data=DATA),)),
    "migrate_cold": Operation(migrate(live=False), (deploy(data=DATA),)),
    "maintain": Operation(MAINTAIN, (deploy(),), workers=("controller",)),
    "capture": Operation(CAPTURE, (deploy(), MAINTAIN)),
    "prove": Operation(
        Call("capture", {"encompass_capture": ["web-1"], "encompass_capture_prove": True}), (deploy(), MAINTAIN)
    ),
    "donate": Operation(donate(), (MAKE_DONOR,)),
    "keep": Operation(Call(make_next(), {"encompass_masters_keep": 1})),
    "volume": Operation(deploy(data=DATA), (deploy(),)),
    "grow": Operation(deploy(data=[{**DATA[0], "size_mib": 24}]), (deploy(data=DATA),)),
    "hypervisor": Operation(MORE_POOLS, reset=CrashSite.forget_extra_pool, workers=("module",)),
    "retire": Operation(RETIRE, (deploy(data=DATA),)),
    "repair": Operation(Call("verify", {"encompass_verify_repair": True}), (deploy(), SPOIL), workers=("module",)),
    "move_catalog": Operation(MOVE, (deploy(),), CrashSite.bring_catalog_back, MOVE_AGAIN, workers=("controller",)),
}
