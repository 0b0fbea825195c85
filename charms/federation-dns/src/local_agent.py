"""What the charm has the agent on its machine say and do: over its port, and by its command."""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from dns_settings import Place, Settings

VERDICT_TIMEOUT_S = 1.0
COMMAND_TIMEOUT_S = 20
# Agents and servers are asked twice where they differ: 5 + 10 s each time, and 5 s between.
VERIFY_TIMEOUT_S = 45


class UnitError(Exception):
    """The machine was not brought to the wanted state; the text says why."""


class LocalAgent:
    """The agent of this unit.

    Args:
        python: the interpreter that has it.
        settings: the directory of its configuration and certificates.
        user: as whom it runs.
    """

    def __init__(self, python: Path, settings: Path, *, user: str):
        self.python = python
        self._settings = settings
        self._user = user

    def certificate(self) -> str:
        """Return the agent's certificate, or nothing."""
        return _text(self._settings / "agent.crt")

    def next_certificate(self) -> str:
        """Return the certificate that the agent will show next, or nothing."""
        return _text(self._settings / "next.crt")

    def verdict(
        self, settings: Settings, place: Place, timeout: float = VERDICT_TIMEOUT_S
    ) -> dict[str, Any]:
        """Ask the local agent for its verdict.

        Raises:
            UnitError: no answer within so many seconds.
        """
        from federation_dns import keys

        pinned = f"{self.certificate()}\n{self.next_certificate()}"
        context = keys.client_context(pinned, None, None)
        host = f"[{place.listen}]" if ":" in place.listen else place.listen
        url = f"https://{host}:{settings.port}/v1/verdict"
        # No proxy of the model lies on the way to one's own machine.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
        )
        try:
            with opener.open(url, timeout=timeout) as response:
                answer: dict[str, Any] = json.load(response)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UnitError(f"the agent does not answer: {reason}") from error
        return answer

    def force_region(self, region: str, verdict: str, *, who: str, until: str) -> str:
        """Give the agent the operator's word on a region, or take it back.

        Raises:
            UnitError: the agent's command refuses it.
        """
        return self._run("force-region", region, verdict, "--who", who, "--until", until)

    def delegation(self) -> dict[str, Any]:
        """Return what belongs into the parent of each zone, and what to know before.

        Raises:
            UnitError: the agent's command refuses it.
        """
        return self._answer("delegation")

    def cordon(self, region: str, *, who: str, until: str) -> dict[str, Any]:
        """Take a region out of this agent's answers; raises UnitError."""
        return self._answer("cordon", region, "--who", who, "--until", until)

    def uncordon(self, region: str) -> dict[str, Any]:
        """Let a region back into this agent's answers; raises UnitError."""
        return self._answer("uncordon", region)

    def verify(self) -> dict[str, Any]:
        """Ask every region's name server, and return what differs; raises UnitError."""
        words = ("verify", "--timeout", "10", "--format", "json")
        found: dict[str, Any] = json.loads(self._run(*words, differs=1, timeout=VERIFY_TIMEOUT_S))
        return found

    def _answer(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._run(*words, "--format", "json"))
        return found

    def _run(self, *words: str, differs: int = 0, timeout: float = COMMAND_TIMEOUT_S) -> str:
        """Run the agent's command; `differs` is an exit code that is an answer, too."""
        command = [str(self.python), "-m", "federation_dns.cli", *words]
        command += ["--config", str(self._settings / "agent.yaml")]
        try:
            done = subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=timeout,
                # As the agent, which has to read what the command writes.
                user=self._user,
                group=self._user,
            )
        except subprocess.CalledProcessError as error:
            if differs and error.returncode == differs:
                return str(error.stdout)
            raise UnitError(str(error.stderr).strip() or str(error)) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnitError(str(error)) from error
        return done.stdout


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
