"""Tells an sshd and the ssh that goes to it of each other, for tests: keys, known hosts, configurations."""

import os
from pathlib import Path

import pytest

from processes import do

_SERVER = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {pid_file}
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
StrictModes no
MaxStartups 1000
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""
_CLIENT = """\
Host {host}
  HostName {address}
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  IdentityAgent none
  HostKeyAlias {host}
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


def server_config(*, address: str, port: int, folder: str, pid_file: str, variables: dict[str, str]) -> str:
    """What sshd reads: one user's key logs in, at one address.

    Args:
        address: Where it listens.
        port: And at which port.
        folder: Where `host_key` and `authorized_keys` are.
        pid_file: What it writes once it listens.
        variables: Environment of what it starts.
    """
    text = _SERVER.format(address=address, port=port, folder=folder, pid_file=pid_file)
    # Of several such lines the first alone would count.
    return text + (f"SetEnv {' '.join(f'{name}={value}' for name, value in variables.items())}\n" if variables else "")


def write_client_files(folder: Path, *, host: str, address: str, port: int, user: str) -> Path:
    """Make the keys of both sides, and what ssh needs to know.

    Args:
        folder: Gets `key`, `host_key`, each with `.pub`, `known_hosts` and `ssh_config`.
        host: Name by which ssh will know the server.
        address: Where it listens.
        port: And at which port.
        user: Account over there.

    Returns:
        Path of `ssh_config`.
    """
    make_key(folder / "key")
    make_key(folder / "host_key")
    (folder / "known_hosts").write_text(f"{host} {(folder / 'host_key.pub').read_text()}")
    config = folder / "ssh_config"
    config.write_text(_CLIENT.format(host=host, address=address, port=port, user=user, folder=folder))
    return config


def make_key(path: Path) -> None:
    """Write a new private key, and its public half to `<path>.pub`."""
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path))


def skip_for(why: str) -> None:
    """Skip the test that asks where something is missing, and fail it where the machine is said to have all.

    Args:
        why: What is missing, as a sentence; nothing is, where it is empty.
    """
    if why and os.environ.get("SWEEPROUTE_EXPECT_WORKSTATION") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_WORKSTATION=1, and {why}")
    if why:
        pytest.skip(why)
