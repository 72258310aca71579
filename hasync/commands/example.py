"""The settings file that `hasync init` writes: the needed fields, and those that most sites set."""

SETTINGS = """\
# One host of a warm standby. The meaning of each field: docs/hasync-settings.md
# The other site has a file of its own, with another name and its own keys.

site = "{site}"

[folders]
base = "{base}"

[signing]
key = "/etc/hasync/signing_key"  # private, mode 0600: ssh-keygen -t ed25519 -N '' -f FILE
allowed_signers = "/etc/hasync/allowed_signers"  # a line for each site: SITE ssh-ed25519 AAAA...

[database]  # leave out on a mediation server
socket = "/var/run/postgresql"
bin = "/usr/lib/postgresql/15/bin"  # of the newer of the two sites
data = "/var/lib/postgresql/15/main"
name = "ngp"

# [application]  # on a mediation server
# sqlite = ["ngp/bin/enum/config.db"]
# [[application.roots]]
# name = "ngp"
# path = "/opt/ngp"
# [[application.roots]]
# name = "m2"
# path = "/root/.m2"

[peer]
site = "{peer}"  # the only one whose sets are taken
ssh = ["ssh"]  # with options of your own: ["ssh", "-F", "/etc/hasync/ssh_config"]
agent = ["hasync", "agent"]

[service]  # a veto, never a reason
status = ["service", "ngp", "status"]
active = [0]
inactive = [3]

[retention]  # beside -b of pgsync and ngpsync, which counts
min_keep = 2
"""


def settings(site: str, peer: str, base: str) -> bytes:
    """Return an example for *site* and the other site *peer*, with all below the folder *base*."""
    return SETTINGS.format(site=site, peer=peer, base=base).encode()
