"""What each command may load: start-up is a budget (docs/performance.rst), and each module of these lists is part of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.fakes.opennebula_answers import machine
from tests.fakes.scripted_opennebula import Clouds
from tests.harness import CHECKOUT, Shell

PROGRAM = """
import builtins, json, os, sys

compiled, usual = [], builtins.compile

def compile(source, *details, **named):
    if isinstance(source, str):  # modules that are not compiled yet are bytes
        compiled.append(source)
    return usual(source, *details, **named)

builtins.compile = compile
name = sys.argv.pop(1)
try:
    if name == "argparse":
        import argparse
        argparse.ArgumentParser().parse_args()
    from stratuslab.commands import run
    run(name)
finally:
    sys.stdout.flush()
    with open(os.environ["LOADED"], "w") as file:
        json.dump([sorted(sys.modules), compiled], file)
"""

HEAVY = {
    "ast": "dataclasses and inspect load it",
    "asyncio": "nothing here is asynchronous",
    "concurrent.futures": "threads are used directly",
    "configparser": "only if there is a configuration file",
    "csv": "only for --format csv",
    "dataclasses": "loads inspect; cheap types are NamedTuples and plain classes",
    "email": "http.client loads it; cloud/persistent_connection.py reads headers itself",
    "http.client": "loads email and ssl",
    "importlib.metadata": "the version is in stratuslab/version.py",
    "inspect": "dataclasses load it",
    "logging": "paramiko and requests load it; messages are output/messages.py",
    "lxml": "only for the Marketplace's entries",
    "paramiko": "only to log in without OpenSSH",
    "queue": "only for several instances at once",
    "requests": "only for the Marketplace",
    "shutil": "loads the compression modules",
    "signxml": "only for --verify-image, and to show a signed image",
    "sqlite3": "only for the embedded cloud",
    "ssl": "only for https",
    "subprocess": "only to run OpenSSH or QEMU",
    "tabulate": "only for tables that are not the user guide's",
    "tempfile": "loads shutil and random",
    "urllib.request": "loads http.client",
    "xmlrpc.client": "loads http.client",
}

HELP = """
commands commands.command_declaration commands.main commands.session commands.shared commands.shared.instance_argument
commands.shared.output_arguments
commands.standard_output environment errors known_settings opennebula opennebula.numeric_constants output output.result_columns
output.messages output.redaction output.safe_text output.terminal results suggestion url_credentials version
"""
LISTING = """
commands.shared.instance_rows commands.shared.parallel
"""
DESCRIBE_HELP = HELP + LISTING + "commands.describe_instance commands.shared.option_values"
KILL_HELP = (
    HELP + LISTING + "commands.kill_instance commands.shared.action_command commands.shared.terminal_questions context_input"
)
RUN_HELP = HELP + "byte_sizes commands.run_instance commands.shared.option_values instance_types"
OUTPUT = """
output.formatters output.user_guide_text output.output_options output.redraw output.table_layout settings settings_warnings
configuration_file private_files
"""
CLOUD = """
cloud cloud.bounded_parser cloud.client cloud.endpoint cloud.persistent_connection cloud.http_transport cloud.instance_actions
cloud.fast_pool_parser cloud.pool_documents cloud.reply cloud.rpc_caller cloud.delivery_failures cloud.version_differences
connections http_proxy opennebula.document_values opennebula.error_codes opennebula.history opennebula.instance opennebula.nic
opennebula.states opennebula.template_grammar deadline_reader
"""
COMMANDS = {
    "describe_instance --help": DESCRIBE_HELP,
    "kill_instance --help": KILL_HELP,
    "run_instance --help": RUN_HELP,
    "run_instance --list-types": RUN_HELP + OUTPUT,
    "describe_instance -n 1": DESCRIBE_HELP + OUTPUT + CLOUD,
    "describe_instance -n": DESCRIBE_HELP + OUTPUT + CLOUD,
    "kill_instance 1": KILL_HELP + OUTPUT + CLOUD,
}


def loaded(shell: Shell, command: str) -> tuple[set[str], list[str]]:
    """The modules that a command loads in a process of its own, and the texts that it has Python compile."""
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT), "LOADED": str(shell.home / "loaded")}
    words = [sys.executable, "-c", PROGRAM, *command.split()]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    modules, compiled = json.loads((shell.home / "loaded").read_text())
    return set(modules), compiled


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_loaded(shell: Shell, opennebula: Clouds, command: str) -> None:
    one = opennebula(machines={1: machine(1)}, actions=("terminate-hard",))
    shell.environ.update(STRATUSLAB_ENDPOINT=one.url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
    modules, compiled = loaded(shell, command)
    ours = {name.removeprefix("stratuslab.") for name in modules if name.startswith("stratuslab.")}
    # What is not in the list is loaded where it is used, or added to the list with a reason that is worth its time.
    assert ours - set(COMMANDS[command].split()) == set()
    unavoidable, _ = loaded(shell, "argparse --help")  # of this Python
    assert {name: HEAVY[name] for name in modules - unavoidable if name in HEAVY} == {}
    if "-n" not in command and not command.endswith("1"):  # no cloud is asked
        assert modules & {"pathlib", "urllib.parse", "unicodedata", "locale"} - unavoidable == set()
    # Annotations of a NamedTuple that are text: the module has "from __future__ import annotations", or quotes.
    assert compiled == []
